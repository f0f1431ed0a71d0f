//! A global allocator that counts: mimalloc, which keeps the large blocks that tensors free
//! and take again every step, with the live bytes, their high-water mark and
//! the number of blocks on top.
//!
//! The figures are of bytes asked for, so they depend on the program alone: the same run
//! gives the same peak, to the byte, on one thread. A binary turns it on with
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: lra::measure::Counting = lra::measure::Counting;
//! # assert!(lra::measure::live().is_some());
//! ```

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

pub struct Counting;

/// A counter on cache lines of its own (two: processors fetch neighbours in pairs), so that
/// writing the one does not slow reading the other.
#[repr(align(128))]
struct Line(AtomicUsize);

static LIVE: Line = Line(AtomicUsize::new(0));
static PEAK: Line = Line(AtomicUsize::new(0));
static BLOCKS: Line = Line(AtomicUsize::new(0));

#[inline]
fn grow(bytes: usize) {
    BLOCKS.0.fetch_add(1, Relaxed);
    // All changes of one atomic are in one order, so each caller sees a total that was
    // really reached and the greatest of them is exact.
    let live = LIVE.0.fetch_add(bytes, Relaxed).wrapping_add(bytes);
    if live > PEAK.0.load(Relaxed) {
        PEAK.0.fetch_max(live, Relaxed);
    }
}

#[inline]
fn shrink(bytes: usize) {
    LIVE.0.fetch_sub(bytes, Relaxed);
}

type LastWords = Box<dyn FnOnce(usize) + Send>;

/// What is still to be done when memory cannot be had.
static LAST_WORDS: Mutex<Option<LastWords>> = Mutex::new(None);

/// Does `words`, told how many bytes were asked for, when an allocation fails from now on, or
/// nothing more with `None`. It may allocate a little: what fails is a large block. The process
/// is aborted if it comes back, as it is without it.
pub fn on_exhaustion(words: Option<LastWords>) {
    if let Ok(mut place) = LAST_WORDS.lock() {
        *place = words;
    }
}

#[cold]
fn exhausted(bytes: usize) {
    // Taken, so that an allocation of its own that fails does not come here again.
    let words = LAST_WORDS.try_lock().ok().and_then(|mut place| place.take());
    if let Some(words) = words {
        words(bytes);
    }
}

/// Counts a block that was had, or says that it was not.
#[inline]
fn count(block: *mut u8, bytes: usize) {
    if block.is_null() {
        exhausted(bytes);
    } else {
        grow(bytes);
    }
}

// SAFETY: every call is handed to mimalloc unchanged; counting touches no memory of theirs
// and cannot panic or allocate. Last words may allocate: no call of mimalloc is under way then.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the one mimalloc asks for.
        let block = unsafe { MiMalloc.alloc(layout) };
        count(block, layout.size());
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let block = unsafe { MiMalloc.alloc_zeroed(layout) };
        count(block, layout.size());
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`; the block came from mimalloc.
        unsafe { MiMalloc.dealloc(block, layout) };
        shrink(layout.size());
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `dealloc`.
        let moved = unsafe { MiMalloc.realloc(block, layout, size) };
        if !moved.is_null() {
            match size.checked_sub(layout.size()) {
                Some(more) => grow(more),
                None => shrink(layout.size() - size),
            }
        } else {
            exhausted(size);
        }
        moved
    }
}

/// Rust's start-up code allocates, so a peak of zero means that nobody counts.
fn counting() -> bool {
    PEAK.0.load(Relaxed) > 0
}

/// `mi_option_purge_delay` of mimalloc 3 (`mimalloc.h`, enum `mi_option_e`), which the binding
/// does not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Keeps what is freed for the next step, instead of giving it back to the system after a
/// while: a step would have the kernel clear every page again, a twentieth of its time.
pub fn keep_freed_memory() {
    // SAFETY: sets one number inside mimalloc; any option and value is allowed.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) }
}

/// Live heap bytes; `None` when this binary does not count them.
pub fn live() -> Option<u64> {
    counting().then(|| LIVE.0.load(Relaxed) as u64)
}

/// The most live heap bytes since the start or the last [`reset_peak_live`].
pub fn peak_live() -> Option<u64> {
    counting().then(|| PEAK.0.load(Relaxed) as u64)
}

/// How often a block was taken or made larger, since the start.
pub fn allocations() -> Option<u64> {
    counting().then(|| BLOCKS.0.load(Relaxed) as u64)
}

/// Starts the high-water mark anew from what is live now.
pub fn reset_peak_live() {
    if counting() {
        PEAK.0.store(LIVE.0.load(Relaxed), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    /// The option's number is right: mimalloc's default delay is a second.
    #[test]
    fn the_delay_is_the_one_meant() {
        // SAFETY: reads one number.
        let delay = || unsafe { libmimalloc_sys::mi_option_get(super::PURGE_DELAY) };
        assert_eq!(delay(), 1000);
        super::keep_freed_memory();
        assert_eq!(delay(), -1);
    }

    /// The library's own test binary does not install the allocator.
    #[test]
    fn uninstalled_means_no_figure() {
        super::reset_peak_live();
        assert_eq!((super::live(), super::peak_live()), (None, None));
    }
}
