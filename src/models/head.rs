//! From the encoder's output to class scores: pooling, final norm, and LRA's head: two layers
//! `output(relu(hidden x))`, and for two documents three.

use crate::config::{ModelSection, Pair, Pooling, Sizes};
use crate::error::Result;
use crate::layers::{Context, LayerNorm, Linear};
use candle_core::Tensor;
use candle_nn::VarBuilder;

pub(super) struct Head {
    norm: LayerNorm,
    pooling: Pooling,
    /// How two documents are joined, where there are two.
    pair: Option<Pair>,
    hidden: Linear,
    /// Between hidden and output, where there are two documents.
    middle: Option<Linear>,
    output: Linear,
}

impl Head {
    pub(super) fn new(model: &ModelSection, sizes: Sizes, vb: VarBuilder) -> Result<Self> {
        let (d, hidden) = (model.width, model.feed_forward);
        let pair = (sizes.parts == 2).then(|| model.pair.unwrap_or(Pair::Concatenate));
        let features = match pair {
            None => d,
            Some(Pair::Concatenate) => 2 * d,
            Some(Pair::Interaction) => 4 * d,
        };
        let (middle, last) = match pair {
            None => (None, hidden),
            Some(_) => {
                let half = (hidden / 2).max(1);
                (Some(Linear::classifier(hidden, half, vb.pp("head.middle"))?), half)
            }
        };
        Ok(Self {
            norm: LayerNorm::new(d, vb.pp("norm"))?,
            pooling: model.pooling,
            pair,
            hidden: Linear::classifier(features, hidden, vb.pp("head.hidden"))?,
            middle,
            output: Linear::classifier(last, sizes.classes, vb.pp("head.output"))?,
        })
    }

    /// [rows, n, width] -> [b, classes]; two rows to an example of two documents.
    pub(super) fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        let pooled = match self.pooling {
            // The norm acts on each position alone, so only the pooled one needs it.
            Pooling::Cls | Pooling::First => {
                self.norm.forward(&x.narrow(1, 0, 1)?.contiguous()?)?.squeeze(1)?
            }
            Pooling::Mean => {
                let x = self.norm.forward(x)?;
                let valid = cx.mask.tensor(x.dtype(), x.device())?;
                let share = valid.broadcast_div(&valid.sum_keepdim(1)?.maximum(1.0)?)?;
                share.unsqueeze(1)?.matmul(&x)?.squeeze(1)?
            }
        };
        // As the weights are: what is pooled is small.
        let pooled = pooled.to_dtype(self.hidden.weight().dtype())?;
        let joined = match self.pair {
            None => pooled,
            Some(pair) => join(&pooled, pair)?,
        };
        let mut x = self.hidden.forward(&joined)?.relu()?;
        if let Some(middle) = &self.middle {
            x = middle.forward(&x)?.relu()?;
        }
        self.output.forward(&x)
    }
}

/// [2 b, width], an example's documents one after the other -> [b, features].
fn join(pooled: &Tensor, pair: Pair) -> candle_core::Result<Tensor> {
    let (rows, d) = pooled.dims2()?;
    let both = pooled.reshape((rows / 2, 2 * d))?;
    match pair {
        Pair::Concatenate => Ok(both),
        Pair::Interaction => {
            let (x, y) = (both.narrow(1, 0, d)?, both.narrow(1, d, d)?);
            Tensor::cat(&[&both, &(&x * &y)?, &(x - y)?], 1)
        }
    }
}
