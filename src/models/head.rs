//! From the encoder's output to class scores: pooling, final norm, and LRA's two-layer
//! head `output(relu(hidden x))`.

use crate::config::{ModelSection, Pooling};
use crate::error::Result;
use crate::layers::{Context, LayerNorm, Linear};
use candle_core::Tensor;
use candle_nn::VarBuilder;

pub(super) struct Head {
    norm: LayerNorm,
    pooling: Pooling,
    hidden: Linear,
    output: Linear,
}

impl Head {
    pub(super) fn new(model: &ModelSection, classes: usize, vb: VarBuilder) -> Result<Self> {
        let (d, hidden) = (model.width, model.feed_forward);
        Ok(Self {
            norm: LayerNorm::new(d, vb.pp("norm"))?,
            pooling: model.pooling,
            hidden: Linear::classifier(d, hidden, vb.pp("head.hidden"))?,
            output: Linear::classifier(hidden, classes, vb.pp("head.output"))?,
        })
    }

    /// [b, n, width] -> [b, classes].
    pub(super) fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        let pooled = match self.pooling {
            // The norm acts on each position alone, so only the pooled one needs it.
            Pooling::Cls => self.norm.forward(&x.narrow(1, 0, 1)?.contiguous()?)?.squeeze(1)?,
            Pooling::Mean => {
                let x = self.norm.forward(x)?;
                let valid = cx.mask.tensor(x.dtype(), x.device())?;
                let share = valid.broadcast_div(&valid.sum_keepdim(1)?.maximum(1.0)?)?;
                share.unsqueeze(1)?.matmul(&x)?.squeeze(1)?
            }
        };
        self.output.forward(&self.hidden.forward(&pooled)?.relu()?)
    }
}
