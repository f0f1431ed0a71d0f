//! The meters: speed, memory, where the time went and what machine it was.
//!
//! Speed is taken in windows after a warm-up, with evaluation, checkpoints and waiting for
//! data left out ([`Timer`]). Memory has two meters on a CPU: live heap bytes, exact and
//! repeatable ([`Counting`]), and what the kernel saw resident ([`peak_resident`]); on a GPU a
//! third, the pool that tensors come from ([`peak_pool`]).

mod alloc;
mod date;
mod environment;
mod gpu;
mod memory;
mod signals;
mod speed;
mod windows;

pub use alloc::{
    Counting, allocations, keep_freed_memory, live, on_exhaustion, peak_live, reset_peak_live,
};
pub use date::now;
pub use environment::{cpu_kind, finish, observe, version};
pub use gpu::{Gpu, free_gpu_memory, gpu, keep_freed_gpu_memory, peak_pool, reset_peak_pool};
pub use memory::{
    free_memory, peak_resident, reset_peak_resident, reset_peaks, resident, total_memory,
};
pub use signals::Stop;
pub use speed::{Phase, Timer};
