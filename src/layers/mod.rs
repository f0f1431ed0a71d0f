//! Ops with weights: what attentions and models are built of.
//!
//! Constructors take a `VarBuilder` whose prefix becomes the weight's name; weights
//! follow PyTorch's orientation [out, in] and names, so checkpoints load there.

mod context;
mod feed_forward;
mod linear;
mod norm;
mod weights;

pub use context::Context;
pub use feed_forward::FeedForward;
pub use linear::Linear;
pub(crate) use linear::xavier;
pub(crate) use norm::EPS;
pub use norm::LayerNorm;
pub use weights::Weights;
pub(crate) use weights::normal;
