//! Buckets, and orders of positions by bucket: see kernels/sort.cu.

use super::device::{Kernel, Module, address, blocks, device, launch, suffix};
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

/// As [`crate::ops::nearest_direction`].
pub(in crate::ops) fn nearest_direction(x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (lead, width) = (&x.dims()[..x.rank() - 1], x.dim(x.rank() - 1)?);
    let found = Tensor::zeros(lead, DType::U32, x.device())?;
    let rows = found.elem_count();
    let name = format!("nearest_direction_{}", suffix(&x));
    let kernel = Kernel::get(&device(&x)?, Module::Sort, &name)?;
    let size = blocks((rows.div_ceil(8), 1, 1), (256, 1), 0);
    launch!(kernel, size, address(&x)?, address(&found)?, rows as i64, width as i32)?;
    Ok(found)
}
