//! From token ids to vectors: embedding, not scaled, plus positions, plus an optional
//! learned CLS row in front, then dropout (LRA's input layer).

use crate::config::{ModelSection, Pooling, Positions};
use crate::error::Result;
use crate::layers::Context;
use crate::ops::{Ids, dropout, embed, sinusoid};
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};

pub(super) struct Embedding {
    tokens: Tensor,
    positions: Tensor,
    cls: Option<Tensor>,
    dropout: f64,
}

impl Embedding {
    pub(super) fn new(model: &ModelSection, vocabulary: usize, vb: VarBuilder) -> Result<Self> {
        let d = model.width;
        let normal = |stdev| Init::Randn { mean: 0.0, stdev };
        let cls = match model.pooling {
            Pooling::Cls => Some(vb.get_with_hints((1, d), "cls", Init::Const(0.0))?),
            Pooling::First | Pooling::Mean => None,
        };
        let n = model.length + usize::from(cls.is_some());
        let positions = match model.positions {
            Positions::Sinusoid => sinusoid(n, d, (vb.dtype(), vb.device()))?,
            Positions::Learned => vb.get_with_hints((n, d), "positions", normal(0.02))?,
        };
        let tokens = vb.get_with_hints((vocabulary, d), "tokens", normal(1.0))?;
        Ok(Self { tokens, positions, cls, dropout: model.dropout })
    }

    /// [b, n] ids -> [b, n (+ 1), width], and the context whose mask covers them.
    pub(super) fn forward(
        &self,
        ids: &Ids,
        cx: &Context,
    ) -> candle_core::Result<(Tensor, Context)> {
        let cx = match self.cls {
            Some(_) => cx.with_mask(cx.mask.prepend_valid()?),
            None => cx.clone(),
        };
        let x = embed(ids, &self.tokens, &self.positions, self.cls.as_ref())?;
        Ok((dropout(&x, cx.dropout("embedding", self.dropout))?, cx))
    }
}
