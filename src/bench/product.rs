//! A matrix product: what the machine can do, to compare with.

use crate::error::Result;
use crate::ops::cpu::{Mat, product_of};
use candle_core::{DType, Device, Tensor};
use std::time::Instant;

pub(super) struct Product {
    a: Tensor,
    b: Tensor,
}

impl Product {
    fn new(m: usize, k: usize, n: usize) -> Result<Self> {
        let ones = |rows, columns| Tensor::ones((rows, columns), DType::F32, &Device::Cpu);
        Ok(Self { a: ones(m, k)?, b: ones(k, n)? })
    }

    /// Half a millisecond of one thread: many of them fit a short window.
    pub fn small() -> Result<Self> {
        Self::new(256, 256, 256)
    }

    pub fn run(&self) -> Result<()> {
        self.a.matmul(&self.b)?;
        Ok(())
    }
}

/// GFLOP/s of a large f32 product on all threads, the best of several: in pieces, as the ops
/// divide theirs, which is ahead of Candle's own.
pub fn ceiling() -> f64 {
    let (m, k, n) = (4096, 512, 2048);
    let (a, b) = (vec![1f32; m * k], vec![1f32; k * n]);
    let mut best = f64::INFINITY;
    for _ in 0..10 {
        let started = Instant::now();
        std::hint::black_box(product_of(1.0, Mat::rows(&a, m, k, k), Mat::rows(&b, k, n, n)));
        best = best.min(started.elapsed().as_secs_f64());
    }
    2.0 * (m * k * n) as f64 / best / 1e9
}
