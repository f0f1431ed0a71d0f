//! Output buffers that are written once, without being filled with zeros first.

use super::Real;
use std::mem::MaybeUninit;

/// A buffer that `write` fills wholly.
///
/// # Safety
/// `write` must have initialised every element when it returns.
pub(crate) unsafe fn filled<T: Real>(
    len: usize,
    write: impl FnOnce(&mut [MaybeUninit<T>]),
) -> Vec<T> {
    let mut data = Vec::with_capacity(len);
    write(&mut data.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is there, and the caller promises that all elements are written.
    unsafe { data.set_len(len) };
    data
}
