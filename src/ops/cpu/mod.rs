//! What the fused CPU faces are made of: bounds-checked matrix products, vector
//! functions compiled for the widest instruction set the machine has, and access to
//! Candle's storage.
//!
//! Work is split over threads along axes that do not enter any sum, and in pieces whose
//! size does not depend on the number of threads, so results are the same bytes for any
//! number of threads.

mod fill;
mod matrix;
mod real;
mod spread;
mod storage;

pub(crate) use fill::{filled, zeros};
pub(crate) use matrix::{
    Mat, MatMut, Shared, apart, gemm, gemm_in, laid, piece, product, product_of, right,
    transposed_product, turned,
};
pub(crate) use real::{Real, pair_sum, simd};
pub(crate) use spread::spread;
pub use storage::composed;
#[cfg(feature = "cuda")]
pub(crate) use storage::is_composed;
pub(crate) use storage::{contiguous, dtype, fused, gradient, read, to_storage, with_real};
