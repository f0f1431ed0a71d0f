//! Output buffers that are written once, without being filled with zeros first.

use super::Real;
use rayon::prelude::*;
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

/// A buffer of zeros, written by all threads: first use of large memory is what takes time.
pub(crate) fn zeros<T: Real>(len: usize) -> Vec<T> {
    const BLOCK: usize = 1 << 16;
    // SAFETY: the chunks are all of the buffer.
    unsafe {
        filled(len, |out| {
            out.par_chunks_mut(BLOCK).for_each(|out| {
                out.iter_mut().for_each(|x| {
                    x.write(T::ZERO);
                });
            });
        })
    }
}
