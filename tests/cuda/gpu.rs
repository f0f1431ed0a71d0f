//! Where the tests of this program run.

use super::skip::skip;
use candle_core::Device;
use lra::progress::Progress;

/// The first GPU; without one, or without CUDA in this binary, a line that says so.
pub fn gpu() -> Option<Device> {
    match lra::device::open("cuda:0", &Progress::silent()) {
        Ok(device) => Some(device),
        Err(error) => {
            skip(error);
            None
        }
    }
}
