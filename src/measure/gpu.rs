//! What a GPU's driver says: its name, its memory, and the pool that tensors come from.
//!
//! Candle allocates from the device's stream-ordered pool. The pool's high-water mark of used
//! bytes is what PyTorch calls `max_memory_allocated`; what the driver itself and the program's
//! code take on the card is in neither.

/// What is known of a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    pub name: String,
    pub driver: String,
}

#[cfg(feature = "cuda")]
mod driver {
    use super::Gpu;
    use candle_core::cuda_backend::cudarc::driver::{result, sys};
    use candle_core::{CudaDevice, Device};
    use std::ffi::c_void;

    fn cuda(device: &Device) -> Option<&CudaDevice> {
        device.as_cuda_device().ok()
    }

    fn ordinal(device: &CudaDevice) -> Option<sys::CUdevice> {
        result::device::get(device.cuda_stream().context().ordinal() as i32).ok()
    }

    /// Name and driver; `None` on a CPU.
    pub fn gpu(device: &Device) -> Option<Gpu> {
        let device = cuda(device)?;
        let name = device.cuda_stream().context().name().ok()?;
        let version = std::fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
        // NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 ..
        let number =
            |word: &&str| word.contains('.') && word.split('.').all(|x| x.parse::<u32>().is_ok());
        let driver = version.lines().next().and_then(|line| line.split_whitespace().find(number));
        let driver = driver.map_or_else(|| cuda_version().unwrap_or_default(), str::to_owned);
        Some(Gpu { name, driver })
    }

    /// Where the system does not tell the driver's own version.
    fn cuda_version() -> Option<String> {
        let mut version = 0;
        // SAFETY: the pointer is to a variable of this function.
        unsafe { sys::cuDriverGetVersion(&mut version) }.result().ok()?;
        Some(format!("CUDA {}.{}", version / 1000, version % 1000 / 10))
    }

    /// Bytes of the device's own memory that can be had; `None` on a CPU.
    pub fn free_gpu_memory(device: &Device) -> Option<u64> {
        cuda(device)?.cuda_stream().context().bind_to_thread().ok()?;
        result::mem_get_info().ok().map(|(free, _)| free as u64)
    }

    fn pool(device: &Device) -> Option<sys::CUmemoryPool> {
        let device = ordinal(cuda(device)?)?;
        let mut pool = std::ptr::null_mut();
        // SAFETY: the pointer is to a variable of this function, the device is a valid one.
        unsafe { sys::cuDeviceGetDefaultMemPool(&mut pool, device) }.result().ok()?;
        Some(pool)
    }

    fn set(device: &Device, attribute: sys::CUmemPool_attribute, mut value: u64) -> Option<()> {
        let value = (&raw mut value).cast::<c_void>();
        // SAFETY: these attributes are u64 values, which the driver copies.
        unsafe { sys::cuMemPoolSetAttribute(pool(device)?, attribute, value) }.result().ok()
    }

    /// Lets the pool keep what is freed: by default it gives it back to the driver whenever the
    /// device is waited for.
    pub fn keep_freed_gpu_memory(device: &Device) {
        let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        // What cannot be set costs time alone.
        let _ = set(device, threshold, u64::MAX);
    }

    /// Starts the pool's high-water mark anew, from what is in use.
    pub fn reset_peak_pool(device: &Device) {
        let high = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
        let _ = set(device, high, 0);
    }

    /// The most bytes of the pool in use since the last [`reset_peak_pool`]; `None` on a CPU.
    pub fn peak_pool(device: &Device) -> Option<u64> {
        let high = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
        let mut value = 0u64;
        let to = (&raw mut value).cast::<c_void>();
        // SAFETY: this attribute is a u64, to which the pointer leads.
        unsafe { sys::cuMemPoolGetAttribute(pool(device)?, high, to) }.result().ok()?;
        Some(value)
    }
}

/// Without CUDA there is no GPU.
#[cfg(not(feature = "cuda"))]
mod driver {
    use super::Gpu;
    use candle_core::Device;

    pub fn gpu(_: &Device) -> Option<Gpu> {
        None
    }

    pub fn free_gpu_memory(_: &Device) -> Option<u64> {
        None
    }

    pub fn keep_freed_gpu_memory(_: &Device) {}

    pub fn reset_peak_pool(_: &Device) {}

    pub fn peak_pool(_: &Device) -> Option<u64> {
        None
    }
}

pub use driver::{free_gpu_memory, gpu, keep_freed_gpu_memory, peak_pool, reset_peak_pool};
