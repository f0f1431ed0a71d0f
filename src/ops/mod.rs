//! Differentiable operations: few, coarse, each with two faces that agree.
//!
//! `reference` is composed of Candle's differentiable ops: any device, any float type.
//! The fused faces (CPU in f32 and f64, CUDA in f32 and bf16) have hand-written backward passes. Device and type
//! choose; tests hold the faces against each other, and the fused one against finite
//! differences in f64. No model contains device code.
//!
//! Candle's own `layer_norm` and `softmax_last_dim` are constants to its autograd: they
//! must not be used in training.

pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;

pub mod attention;
mod direction;
pub mod dropout;
pub mod embedding;
pub mod feed_forward;
mod gelu;
pub mod kernel;
pub mod layer;
pub mod layer_norm;
pub mod linear;
mod mask;
pub mod mix;
pub mod profile;
mod recorder;
pub mod sort;
pub mod unit;

pub use attention::{
    Attend, Blocks, Extra, attention, attention_joined, attention_kv, attention_with,
};
pub use cpu::composed;
pub use direction::nearest_direction;
pub use dropout::{Dropout, add_dropout, dropout};
pub use embedding::{Ids, embed, sinusoid, sinusoid_2d};
pub use feed_forward::{FeedForward, feed_forward};
pub use kernel::{Features, Kernelised, kernel_attention};
pub use layer::{Layer, Mixing, attention_layer};
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use mask::Mask;
pub use mix::mix;
pub use recorder::recorded;
pub use sort::sort_blocks;
pub use unit::unit_heads;
