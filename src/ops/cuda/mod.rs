//! The CUDA face of the coarse ops: kernels of our own (`kernels/`, compiled by nvcc when the
//! program is built) between cuBLAS products, forward and backward, in f32 and in bf16 with
//! f32 weights. Weights come in f32 whatever the type of `x`; so do their gradients.
//!
//! What each op means is said where its other faces are. Nothing here waits for the device.

mod adam;
mod attention;
mod blocks;
mod call;
mod device;
mod feed_forward;
mod few;
mod kernel;
mod layer;
mod lists;
mod mix;
mod node;
mod rows;
mod sort;

pub(crate) use adam::Adam;
pub(super) use attention::{Parts, attends, attention};
pub(super) use blocks::{sort_blocks, sorts_blocks};
pub(crate) use device::{open, serves};
pub(super) use feed_forward::feed_forward;
pub(super) use few::{attention_of_few, few};
pub(super) use kernel::{kernel_attention, kernelises};
pub(super) use layer::attention_layer;
pub(super) use mix::mix;
pub(super) use rows::{add_dropout, embed, embeds, layer_norm, linear, norms};
pub(super) use sort::{nearest_direction, sort_buckets};
