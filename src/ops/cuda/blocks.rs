//! Mixtures of blocks: see kernels/blocks.cu.

use super::device::{Fresh, Kernel, Module, address, blocks, device, launch, suffix};
use super::node::node;
use crate::ops::Mask;
use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{DType, Result, Tensor};

/// Blocks that one axis of a launch may have.
const MOST_HEADS: usize = 65_535;
/// Columns of a tile of a mixture, and rows and columns of one of the slope of P.
const WIDE: usize = 128;
const SIDE: usize = 64;

/// Whether the kernels take `x`, of so many heads in all its parts.
pub(in crate::ops) fn sorts_blocks(x: &Tensor, heads: usize) -> bool {
    let unit = 16 / x.dtype().size_in_bytes();
    let (b, columns) = (x.dims()[0], x.dims().last().copied().unwrap_or(0));
    super::serves(x)
        && (1..=MOST_HEADS).contains(&(b * heads))
        && columns.is_multiple_of(heads * unit)
        && columns > 0
}

/// `Call` of kernels/blocks.cu.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Call {
    x: u64,
    p: u64,
    share: u64,
    y: u64,
    g: u64,
    slope: u64,
    dx: u64,
    dp: u64,
    valid: u64,
    b: i32,
    n: i32,
    nb: i32,
    size: i32,
    heads: i32,
    parts: i32,
    w: i32,
}

// SAFETY: laid out as `Call` of kernels/blocks.cu.
unsafe impl DeviceRepr for Call {}

impl Call {
    /// `block_mix` or `block_mix_backward`.
    fn mix(self, like: &Tensor, name: &str) -> Result<()> {
        let [b, nb, size] = [self.b, self.nb, self.size].map(|x| x as usize);
        let [heads, parts, w] = [self.heads, self.parts, self.w].map(|x| x as usize);
        // Blocks of 64 rows read less; of 32, few rows are for nothing.
        let tiles = nb.div_ceil(32);
        let tall = if tiles.is_multiple_of(2) || tiles > 8 { 2 } else { 1 };
        let name = format!("{name}_{}_{tall}", suffix(like));
        let kernel = Kernel::get(&device(like)?, Module::Blocks, &name)?;
        let grid = ((size * w).div_ceil(WIDE), tiles.div_ceil(tall), b * heads * parts);
        launch!(kernel, blocks(grid, (128 * tall as u32, 1), 0), self)
    }

    /// A kernel with a warp for each of `count` rows.
    fn warps(self, like: &Tensor, name: &str, count: usize) -> Result<()> {
        let name = format!("{name}_{}", suffix(like));
        let kernel = Kernel::get(&device(like)?, Module::Blocks, &name)?;
        launch!(kernel, blocks((count.div_ceil(8), 1, 1), (256, 1), 0), self)
    }
}

/// As [`crate::ops::sort_blocks`], where P is f32; so is its slope.
pub(in crate::ops) fn sort_blocks(
    x: &Tensor,
    parts: usize,
    p: &Tensor,
    size: usize,
    mask: &Mask,
) -> Result<Tensor> {
    let (x, p) = (x.contiguous()?, p.contiguous()?);
    let ((b, n, columns), (_, heads, nb, _)) = (x.dims3()?, p.dims4()?);
    let (dev, valid) = (device(&x)?, mask.bytes(x.device())?);
    let y = Fresh::new((b, nb * size + n, columns), x.dtype(), &dev)?;
    let share = Fresh::new((b, heads, nb, size), DType::F32, &dev)?;
    let call = Call {
        x: address(&x)?,
        p: address(&p)?,
        share: share.address,
        y: y.address,
        valid: address(&valid)?,
        b: b as i32,
        n: n as i32,
        nb: nb as i32,
        size: size as i32,
        heads: heads as i32,
        parts: parts as i32,
        w: (columns / (parts * heads)) as i32,
        ..Call::default()
    };
    call.warps(&x, "block_shares", b * heads * nb)?;
    call.mix(&x, "block_mix")?;

    // What the slopes read lives as long as they may be asked for.
    let held = (x.detach(), p.detach(), share.into_tensor(), valid);
    node("sort-blocks", &[&x, &p], y, move |y, g| {
        let (x, p, share, valid) = &held;
        let slope = Fresh::new(share.shape(), DType::F32, &dev)?;
        let dx = Fresh::new(x.shape(), x.dtype(), &dev)?;
        let dp = Fresh::new(p.shape(), DType::F32, &dev)?;
        let call = Call {
            x: address(x)?,
            p: address(p)?,
            share: address(share)?,
            y: address(y)?,
            g: address(g)?,
            slope: slope.address,
            dx: dx.address,
            dp: dp.address,
            valid: address(valid)?,
            ..call
        };
        call.warps(x, "block_slopes", b * heads * nb * size)?;
        call.mix(x, "block_mix_backward")?;
        let kernel = Kernel::get(&dev, Module::Blocks, &format!("block_weights_{}", suffix(x)))?;
        let grid = (nb.div_ceil(SIDE), nb.div_ceil(SIDE), b * heads);
        launch!(kernel, blocks(grid, (128, 1), 0), call)?;
        Ok(vec![Some(dx.into_tensor()), Some(dp.into_tensor())])
    })
}
