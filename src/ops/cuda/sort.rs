//! Orders of positions by bucket: see kernels/sort.cu.

use super::device::{Kernel, Module, address, blocks, device, launch};
use crate::ops::Mask;
use candle_core::{DType, Result, Tensor};

/// `buckets` [rounds, b, heads, n] below `count`, u32 -> positions of each row sorted by
/// (bucket, position), padding behind, of the same shape.
pub(in crate::ops) fn sort_buckets(buckets: &Tensor, count: usize, mask: &Mask) -> Result<Tensor> {
    let (rounds, b, heads, n) = buckets.dims4()?;
    let positions = Tensor::zeros(buckets.shape(), DType::U32, buckets.device())?;
    let kernel = Kernel::get(&device(buckets)?, Module::Sort, "sort_buckets")?;
    let shared = ((count + 1) * 4) as u32;
    kernel.allow(shared)?;
    let (from, to) = (address(buckets)?, address(&positions)?);
    let valid = address(&mask.bytes(buckets.device())?)?;
    let size = blocks((rounds * b * heads, 1, 1), (256, 1), shared);
    let [n, count, b, heads] = [n, count, b, heads].map(|x| x as i32);
    launch!(kernel, size, from, valid, to, n, count, b, heads)?;
    Ok(positions)
}
