//! Feature maps of kernelised attention, composed of Candle's ops.
//!
//! - elu(x) + 1 (Katharopoulos et al. 2020, equation 7), computed as max(x, 0) + exp(min(x, 0)).
//! - Positive: FAVOR+ (Choromanski et al. 2021, equation 5 with lemma 1):
//!   `f(x) = (exp(w x' - |x'|²/2 - c) + eps) / sqrt(m)`, `x' = x / width^(1/4)`, for m rows w
//!   of a random matrix. c keeps the exponential below 1 and cancels in the attention's ratio
//!   (up to eps): for queries the row's largest `w x'`, for keys the largest over the valid
//!   keys of the head. It is a constant to the gradient.
//! - Trigonometric: `exp(|x'|²/2 - c) [cos w x', sin w x'] / sqrt(m)` (the same paper's
//!   equation 4; Rahimi and Recht 2007), an estimate of the same kernel that may be negative.
//!   c is the query's own `|x'|²/2`, or the largest over the valid keys of the head.
//! - ReLU: `relu(w x') + eps`, the same paper's generalised attention.

use super::Kernelised;
use candle_core::{D, Result, Tensor};

/// A feature map.
#[derive(Debug, Clone)]
pub enum Features {
    /// elu(x) + 1; as many features as the head is wide.
    EluPlusOne,
    /// Of a random projection [m, width], shared by the heads; not trained.
    Random { kind: Kind, projection: Tensor, eps: f64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// m features.
    Positive,
    /// 2 m features, without eps.
    Trigonometric,
    /// m features.
    Relu,
}

/// Whose stabiliser is subtracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Query,
    Key,
}

/// `x` [b, n, heads * width] -> [b, n, heads * features].
pub fn features(x: &Tensor, how: &Kernelised, side: Side) -> Result<Tensor> {
    let (b, n, _) = x.dims3()?;
    let Features::Random { kind, projection, eps } = &how.features else {
        return x.relu()? + (x - x.relu()?)?.exp()?;
    };
    let (m, width) = projection.dims2()?;
    let projection = projection.to_dtype(x.dtype())?.to_device(x.device())?;
    let x = (x.reshape((b, n, how.heads, width))? * (width as f64).powf(-0.25))?;
    let dash = x.reshape(((), width))?.matmul(&projection.t()?)?;
    let dash = dash.reshape((b, n, how.heads, m))?;
    let norm = (m as f64).powf(-0.5);
    let half = (x.sqr()?.sum_keepdim(D::Minus1)? * 0.5)?;
    let valid = how.mask.tensor(x.dtype(), x.device())?.reshape((b, n, 1, 1))?;
    match kind {
        Kind::Relu => (dash.relu()? + *eps)?.reshape((b, n, ())),
        Kind::Positive => {
            let stabiliser = match side {
                Side::Query => dash.max_keepdim(D::Minus1)?,
                Side::Key => {
                    let hidden = ((valid.ones_like()? - &valid)? * -1e30)?;
                    dash.broadcast_add(&hidden)?.max_keepdim(3)?.max_keepdim(1)?
                }
            };
            let exponent = dash.broadcast_sub(&half)?.broadcast_sub(&stabiliser.detach())?;
            // Padded rows may lie above the stabiliser of the valid ones; they carry no weight.
            let exponent = exponent.minimum(80.0)?;
            ((exponent.exp()? + *eps)? * norm)?.reshape((b, n, ()))
        }
        Kind::Trigonometric => {
            let both = Tensor::cat(&[dash.cos()?, dash.sin()?], 3)?;
            let both = match side {
                Side::Query => both,
                Side::Key => {
                    let top = half.broadcast_mul(&valid)?.max_keepdim(1)?.detach();
                    both.broadcast_mul(&half.broadcast_sub(&top)?.minimum(80.0)?.exp()?)?
                }
            };
            (both * norm)?.reshape((b, n, ()))
        }
    }
}
