//! The device that a run is on, by its name.

use crate::error::{Error, Result};
use candle_core::Device;

/// `cpu`, `cuda:N`, or `auto`: the first GPU if there is one.
pub fn open(name: &str) -> Result<Device> {
    match name.strip_prefix("cuda:").map(str::parse::<usize>) {
        _ if name == "cpu" => Ok(Device::Cpu),
        _ if name == "auto" => Ok(cuda(name, 0).unwrap_or(Device::Cpu)),
        Some(Ok(index)) => cuda(name, index),
        _ => Err(Error::usage(format!("--device {name}: expected cpu, cuda:N or auto"))),
    }
}

#[cfg(feature = "cuda")]
fn cuda(name: &str, index: usize) -> Result<Device> {
    let reason = match crate::ops::cuda::open(index) {
        Ok(device) => {
            crate::measure::keep_freed_gpu_memory(&device);
            return Ok(device);
        }
        Err(error) => error.to_string(),
    };
    let reason = reason.lines().next().unwrap_or_default();
    Err(Error::usage(format!(
        "--device {name}: no such GPU can be used here ({reason}); see what `nvidia-smi` lists, or \
         give --device cpu"
    )))
}

#[cfg(not(feature = "cuda"))]
fn cuda(name: &str, _: usize) -> Result<Device> {
    Err(Error::usage(format!(
        "--device {name}: this binary was built without CUDA; build it with `cargo build --release \
         --features cuda`"
    )))
}
