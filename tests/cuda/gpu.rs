//! Where the tests of this program run.

use candle_core::Device;

/// The first GPU; without one, or without CUDA in this binary, a line that says so.
pub fn gpu() -> Option<Device> {
    match lra::device::open("cuda:0") {
        Ok(device) => Some(device),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}
