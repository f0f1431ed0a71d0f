//! The device that a run is on, by its name.

#[cfg(feature = "cuda")]
mod libraries;

use crate::error::{Error, Result};
use crate::progress::Progress;
use candle_core::Device;

/// `cpu`, `cuda:N`, or `auto`: the first GPU if there is one. Where a binary with CUDA finds
/// none, `auto` says why.
pub fn open(name: &str, progress: &Progress) -> Result<Device> {
    match name.strip_prefix("cuda:").map(str::parse::<usize>) {
        _ if name == "cpu" => Ok(Device::Cpu),
        _ if name == "auto" => Ok(cuda(0).unwrap_or_else(|why| {
            if cfg!(feature = "cuda") {
                progress.say(&format!("--device auto takes the CPU: {why}"));
            }
            Device::Cpu
        })),
        Some(Ok(index)) => {
            cuda(index).map_err(|why| Error::usage(format!("--device {name}: {why}")))
        }
        _ => Err(Error::usage(format!("--device {name}: expected cpu, cuda:N or auto"))),
    }
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Result<Device, String> {
    let opened = libraries::load()
        .and_then(|()| crate::ops::cuda::open(index).map_err(|error| error.to_string()));
    match opened {
        Ok(device) => {
            crate::measure::keep_freed_gpu_memory(&device);
            Ok(device)
        }
        Err(reason) => Err(format!(
            "no such GPU can be used here ({}); see what `nvidia-smi` lists, or give --device cpu",
            reason.lines().next().unwrap_or_default()
        )),
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize) -> Result<Device, String> {
    Err("this binary was built without CUDA; build it with `cargo build --release --features \
         cuda`"
        .to_owned())
}
