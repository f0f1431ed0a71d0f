//! Gradient norm, clipping and AdamW over all weights: see kernels/optimiser.cu.

use super::device::{Fresh, Kernel, Module, address, blocks, device, launch};
use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{DType, Result, Tensor, bail};

/// A weight, its two moments and its gradient; all f32 and contiguous.
pub(crate) type Weight = [Tensor; 4];

/// The rule of one update; `clip` of zero clips nothing.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Adam {
    pub clip: f32,
    pub rate: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    /// What is left of a weight by its decay.
    pub kept: f32,
    pub correct1: f32,
    pub correct2: f32,
}

// SAFETY: laid out as `Rule` of kernels/optimiser.cu.
unsafe impl DeviceRepr for Adam {}

/// Elements of one block.
const CHUNK: usize = 4096;

impl Adam {
    /// Updates all weights where the gradients' norm is finite; the norm, an f64 on the device.
    pub(crate) fn update(&self, weights: &[Weight]) -> Result<Tensor> {
        let Some([first, ..]) = weights.first() else { bail!("AdamW: no weights") };
        let (mut table, mut chunks) = (Vec::new(), Vec::new());
        for (i, weight) in weights.iter().enumerate() {
            let count = weight[0].elem_count();
            for x in weight {
                if x.dtype() != DType::F32 || x.elem_count() != count {
                    bail!("AdamW: {:?} {:?} beside {count} values", x.dtype(), x.shape());
                }
                table.push(address(x)? as i64);
            }
            table.push(count as i64);
            chunks.extend((0..count.div_ceil(CHUNK)).flat_map(|chunk| [i as u32, chunk as u32]));
        }
        let (at, dev) = (first.device(), device(first)?);
        let count = chunks.len() / 2;
        let (rows, columns) = (table.len(), chunks.len());
        let table = Tensor::from_vec(table, rows, at)?;
        let chunks = Tensor::from_vec(chunks, columns, at)?;
        let squares = Fresh::new(count, DType::F64, &dev)?;
        let norm = Fresh::new((), DType::F64, &dev)?;
        let (weights, chunks_) = (address(&table)?, address(&chunks)?);
        let size = blocks((count, 1, 1), (256, 1), 0);
        let kernel = |name| Kernel::get(&dev, Module::Optimiser, name);
        launch!(kernel("gradient_squares")?, size, weights, chunks_, squares.address)?;
        let one = blocks((1, 1, 1), (256, 1), 0);
        launch!(kernel("gradient_norm")?, one, squares.address, norm.address, count as i32)?;
        launch!(kernel("adam")?, size, weights, chunks_, norm.address, *self)?;
        Ok(norm.into_tensor())
    }
}
