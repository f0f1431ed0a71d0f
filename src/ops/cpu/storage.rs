//! Access to the memory behind Candle tensors.

use super::Real;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, WithDType, bail};
use std::cell::Cell;
use std::ops::Deref;

thread_local! {
    static COMPOSED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with the composed face of every op that this thread calls in it.
pub fn composed<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            COMPOSED.set(self.0);
        }
    }
    let _restore = Restore(COMPOSED.replace(true));
    f()
}

/// Whether this thread asked for composed faces.
#[cfg(feature = "cuda")]
pub(crate) fn is_composed() -> bool {
    COMPOSED.get()
}

/// Whether the fused CPU face of an op serves this tensor.
pub(crate) fn fused(x: &Tensor) -> bool {
    !COMPOSED.get() && x.device().is_cpu() && matches!(x.dtype(), DType::F32 | DType::F64)
}

/// The elements of a contiguous operand of a custom op.
pub(crate) fn contiguous<'a, T: WithDType>(
    storage: &'a CpuStorage,
    layout: &Layout,
) -> Result<&'a [T]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("fused ops take contiguous tensors, got {layout:?}")
    };
    Ok(&storage.as_slice::<T>()?[start..end])
}

pub(crate) fn to_storage<T: Real>(data: Vec<T>) -> CpuStorage {
    T::to_cpu_storage_owned(data)
}

/// The element type of a custom op's operand.
pub(crate) fn dtype(storage: &CpuStorage) -> DType {
    storage.dtype()
}

/// A contiguous CPU tensor held open for reading, for use in backward passes.
pub(crate) struct Host<G> {
    guard: G,
    start: usize,
    end: usize,
}

/// Opens a contiguous CPU tensor for reading.
pub(crate) fn read(tensor: &Tensor) -> Result<Host<impl Deref<Target = Storage> + '_>> {
    let (guard, layout) = tensor.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("fused ops take contiguous tensors, got {layout:?}")
    };
    Ok(Host { guard, start, end })
}

impl<G: Deref<Target = Storage>> Host<G> {
    pub(crate) fn slice<T: WithDType>(&self) -> Result<&[T]> {
        match &*self.guard {
            Storage::Cpu(storage) => Ok(&storage.as_slice::<T>()?[self.start..self.end]),
            _ => bail!("a fused CPU op was given a tensor of another device"),
        }
    }
}

/// The gradient of an operand: as many elements as it has, in its shape.
pub(crate) fn gradient<T: Real>(data: Vec<T>, of: &Tensor) -> Result<Option<Tensor>> {
    Tensor::from_vec(data, of.shape(), of.device()).map(Some)
}

/// Calls a generic function with the float type of `$dtype`, on an op's account of time:
/// `with_real!("op", dtype, T => f::<T>(x))`.
macro_rules! with_real {
    ($op:expr, $dtype:expr, $t:ident => $body:expr) => {{
        let _account = crate::ops::profile::account($op);
        match $dtype {
            candle_core::DType::F32 => {
                type $t = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $t = f64;
                $body
            }
            other => candle_core::bail!("fused CPU ops take f32 and f64, got {other:?}"),
        }
    }};
}
pub(crate) use with_real;
