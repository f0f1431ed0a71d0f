//! Kernels, and the memory behind tensors.

use crate::ops::cpu::is_composed;
use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::cuda_backend::cudarc::driver::sys::CUfunction_attribute_enum as Attribute;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaModule, CudaStream, DevicePtr, LaunchConfig,
};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use candle_core::cuda_backend::{CudaDevice, CudaStorageSlice, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, DType, Device, Result, Shape, Storage, Tensor, bail};
use half::bf16;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Whether the CUDA face of an op serves this tensor.
pub(crate) fn serves(x: &Tensor) -> bool {
    !is_composed() && x.device().is_cuda() && matches!(x.dtype(), DType::F32 | DType::BF16)
}

/// A GPU, with one stream that everything runs on.
pub(crate) fn open(index: usize) -> Result<Device> {
    let device = Device::new_cuda_with_stream(index)?;
    // SAFETY: there is one stream, in whose order everything is made, used and freed.
    unsafe { device.as_cuda_device()?.disable_event_tracking() };
    Ok(device)
}

/// The compiled kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Module {
    /// In f32, and in bf16.
    Attention,
    AttentionBf16,
    Blocks,
    /// With pairs or distances.
    Extra,
    ExtraBf16,
    Few,
    Kernel,
    Rows,
    Optimiser,
    Sort,
}

impl Module {
    pub(super) fn attention(like: &Tensor, extra: bool) -> Self {
        match (like.dtype() == DType::BF16, extra) {
            (false, false) => Self::Attention,
            (true, false) => Self::AttentionBf16,
            (false, true) => Self::Extra,
            (true, true) => Self::ExtraBf16,
        }
    }

    fn image(self) -> &'static [u8] {
        match self {
            Self::Attention => include_bytes!(concat!(env!("OUT_DIR"), "/attention.fatbin")),
            Self::AttentionBf16 => {
                include_bytes!(concat!(env!("OUT_DIR"), "/attention_bf16.fatbin"))
            }
            Self::Blocks => include_bytes!(concat!(env!("OUT_DIR"), "/blocks.fatbin")),
            Self::Extra => include_bytes!(concat!(env!("OUT_DIR"), "/extra.fatbin")),
            Self::ExtraBf16 => include_bytes!(concat!(env!("OUT_DIR"), "/extra_bf16.fatbin")),
            Self::Few => include_bytes!(concat!(env!("OUT_DIR"), "/few.fatbin")),
            Self::Kernel => include_bytes!(concat!(env!("OUT_DIR"), "/kernel.fatbin")),
            Self::Rows => include_bytes!(concat!(env!("OUT_DIR"), "/rows.fatbin")),
            Self::Optimiser => include_bytes!(concat!(env!("OUT_DIR"), "/optimiser.fatbin")),
            Self::Sort => include_bytes!(concat!(env!("OUT_DIR"), "/sort.fatbin")),
        }
    }
}

/// What was loaded, by device and by name.
#[derive(Default)]
struct Loaded {
    modules: HashMap<(usize, Module), Arc<CudaModule>>,
    functions: HashMap<(usize, String), CudaFunction>,
}

static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

/// A kernel and the stream it runs on.
pub(super) struct Kernel {
    pub function: CudaFunction,
    pub stream: Arc<CudaStream>,
}

impl Kernel {
    pub(super) fn get(device: &CudaDevice, module: Module, name: &str) -> Result<Self> {
        let stream = device.cuda_stream();
        let ordinal = stream.context().ordinal();
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let Loaded { modules, functions } = loaded.get_or_insert_default();
        let key = (ordinal, name.to_owned());
        if let Some(function) = functions.get(&key) {
            return Ok(Self { function: function.clone(), stream });
        }
        let image = match modules.get(&(ordinal, module)) {
            Some(image) => image.clone(),
            None => {
                let image = Ptx::from_binary(module.image().to_vec());
                let image = stream.context().load_module(image).w()?;
                modules.insert((ordinal, module), image.clone());
                image
            }
        };
        let function = image.load_function(name).w()?;
        functions.insert(key, function.clone());
        Ok(Self { function, stream })
    }

    /// Lets a block have so much dynamic shared memory.
    pub(super) fn allow(&self, bytes: u32) -> Result<()> {
        let most = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        self.function.set_attribute(most, bytes as i32).w()
    }
}

/// Launch sizes: one block of 256 threads for each 256 of `count`.
pub(super) fn each(count: usize) -> LaunchConfig {
    blocks((count.div_ceil(256), 1, 1), (256, 1), 0)
}

/// Blocks, threads of a block, and bytes of its dynamic shared memory.
pub(super) fn blocks(
    (x, y, z): (usize, usize, usize),
    (width, height): (u32, u32),
    shared_mem_bytes: u32,
) -> LaunchConfig {
    let grid_dim = (x as u32, y as u32, z as u32);
    LaunchConfig { grid_dim, block_dim: (width, height, 1), shared_mem_bytes }
}

/// Launches a kernel with these arguments, which must be the kernel's own in type and order,
/// with all memory they name large enough.
macro_rules! launch {
    ($kernel:expr, $size:expr, $($argument:expr),+ $(,)?) => {{
        use candle_core::cuda_backend::WrapErr;
        use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
        let kernel = &$kernel;
        let mut call = kernel.stream.launch_builder(&kernel.function);
        launch!(@push call, $($argument),+);
        // SAFETY: the macro's caller has matched arguments and sizes to the kernel.
        unsafe { call.launch($size) }.w().map(|_| ())
    }};
    (@push $call:ident, $argument:expr $(, $rest:expr)*) => {
        let argument = $argument;
        $call.arg(&argument);
        launch!(@push $call $(, $rest)*);
    };
    (@push $call:ident) => {};
}
pub(super) use launch;

/// Where a contiguous tensor's elements begin on the device.
pub(super) fn address(x: &Tensor) -> Result<u64> {
    let (storage, layout) = x.storage_and_layout();
    let Some((start, _)) = layout.contiguous_offsets() else {
        bail!("fused ops take contiguous tensors, got {layout:?}")
    };
    let Storage::Cuda(storage) = &*storage else {
        bail!("a fused CUDA op was given a tensor of another device")
    };
    let bytes = start * x.dtype().size_in_bytes();
    Ok(start_of(storage)? + bytes as u64)
}

fn start_of(storage: &CudaStorage) -> Result<u64> {
    let stream = storage.device.cuda_stream();
    // Uses are ordered by the one stream, so the address may outlive what guards it.
    let address = match &storage.slice {
        CudaStorageSlice::F32(x) => x.device_ptr(&stream).0,
        CudaStorageSlice::BF16(x) => x.device_ptr(&stream).0,
        CudaStorageSlice::F64(x) => x.device_ptr(&stream).0,
        CudaStorageSlice::U8(x) => x.device_ptr(&stream).0,
        CudaStorageSlice::U32(x) => x.device_ptr(&stream).0,
        CudaStorageSlice::I64(x) => x.device_ptr(&stream).0,
        _ => bail!("a fused CUDA op was given a tensor of an unknown type"),
    };
    Ok(address)
}

/// Memory that a kernel is about to fill, and where it begins.
pub(super) struct Fresh {
    storage: CudaStorage,
    shape: Shape,
    pub address: u64,
}

impl Fresh {
    /// Not initialised: a kernel must write every element.
    pub(super) fn new(shape: impl Into<Shape>, dtype: DType, device: &CudaDevice) -> Result<Self> {
        let shape = shape.into();
        let count = shape.elem_count();
        // SAFETY: the caller's kernel writes all of it before it is read.
        let slice = unsafe {
            match dtype {
                DType::F32 => CudaStorageSlice::F32(device.alloc::<f32>(count)?),
                DType::BF16 => CudaStorageSlice::BF16(device.alloc::<bf16>(count)?),
                DType::F64 => CudaStorageSlice::F64(device.alloc::<f64>(count)?),
                other => bail!("fused CUDA ops take f32 and bf16, got {other:?}"),
            }
        };
        let storage = CudaStorage { slice, device: device.clone() };
        let address = start_of(&storage)?;
        Ok(Self { storage, shape, address })
    }

    pub(super) fn zeros(
        shape: impl Into<Shape>,
        dtype: DType,
        device: &CudaDevice,
    ) -> Result<Self> {
        let shape = shape.into();
        let storage = device.zeros_impl(&shape, dtype)?;
        let address = start_of(&storage)?;
        Ok(Self { storage, shape, address })
    }

    /// `a b` [m, n], of [m, k] and [k, n] which may be views that are turned; or as many of them
    /// as the leading axis has, which may be the same one again and again.
    pub(super) fn product(a: &Tensor, b: &Tensor) -> Result<Self> {
        let (batch, m, k) = if a.rank() == 3 { a.dims3()? } else { (1, a.dim(0)?, a.dim(1)?) };
        let n = b.dim(b.rank() - 1)?;
        if b.dims()[..b.rank() - 1] != [&a.dims()[..a.rank() - 2], &[k]].concat() {
            bail!("product of {:?} and {:?}", a.shape(), b.shape());
        }
        let ((a, la), (b, lb)) = (a.storage_and_layout(), b.storage_and_layout());
        let (Storage::Cuda(a), Storage::Cuda(b)) = (&*a, &*b) else {
            bail!("a fused CUDA op was given tensors of another device")
        };
        let storage = a.matmul(b, (batch, m, n, k), la, lb)?;
        let address = start_of(&storage)?;
        let shape = if la.shape().rank() == 3 { (batch, m, n).into() } else { (m, n).into() };
        Ok(Self { storage, shape, address })
    }

    pub(super) fn shaped(self, shape: impl Into<Shape>) -> Self {
        Self { shape: shape.into(), ..self }
    }

    pub(super) fn into_storage(self) -> (CudaStorage, Shape) {
        (self.storage, self.shape)
    }

    /// A tensor that no graph leads to.
    pub(super) fn into_tensor(self) -> Tensor {
        let storage = Storage::Cuda(self.storage);
        Tensor::from_storage(storage, self.shape, BackpropOp::none(), false)
    }
}

/// The device of a CUDA tensor.
pub(super) fn device(x: &Tensor) -> Result<CudaDevice> {
    x.device().as_cuda_device().cloned()
}

/// `f32` or `bf16`, as kernels' names have it.
pub(super) fn suffix(x: &Tensor) -> &'static str {
    if x.dtype() == DType::BF16 { "bf16" } else { "f32" }
}

/// `x` as [rows, last axis].
pub(super) fn flat(x: &Tensor) -> Result<Tensor> {
    let last = x.dims().last().copied().unwrap_or(1);
    x.reshape((x.elem_count() / last.max(1), last))
}
