//! From token ids to vectors: embedding, not scaled, plus positions, plus learned rows in
//! front, then dropout (LRA's input layer). The rows in front are CLS, if it is pooled, and
//! what the attention asks for.

use crate::config::{ModelSection, Pooling, Positions};
use crate::error::{Error, Result};
use crate::layers::Context;
use crate::ops::{Ids, dropout, embed, sinusoid, sinusoid_2d};
use candle_core::{DType, Tensor};
use candle_nn::{Init, VarBuilder};

pub(super) struct Embedding {
    tokens: Tensor,
    positions: Tensor,
    cls: Option<Tensor>,
    /// The attention's rows, behind CLS: [rows, width], without positions.
    front: Option<Tensor>,
    dropout: f64,
    /// Of the layers behind it.
    dtype: DType,
}

impl Embedding {
    /// `front` rows of the attention's, CLS among them where there is one.
    pub(super) fn new(
        model: &ModelSection,
        vocabulary: usize,
        (front, dtype): (usize, DType),
        vb: VarBuilder,
    ) -> Result<Self> {
        let d = model.width;
        let normal = |stdev| Init::Randn { mean: 0.0, stdev };
        let cls = match model.pooling {
            Pooling::Cls => Some(vb.get_with_hints((1, d), "cls", Init::Const(0.0))?),
            Pooling::First | Pooling::Mean => None,
        };
        let front = match front.saturating_sub(usize::from(cls.is_some())) {
            0 => None,
            rows => Some(vb.get_with_hints((rows, d), "front", normal(1.0))?),
        };
        let n = model.length + usize::from(cls.is_some());
        let like = (vb.dtype(), vb.device());
        let positions = match model.positions {
            Positions::Sinusoid => sinusoid(n, d, like)?,
            Positions::Sinusoid2d => {
                let pixels = sinusoid_2d(side(model.length)?, d, like)?;
                // CLS is no pixel.
                pixels.pad_with_zeros(0, n - model.length, 0)?
            }
            Positions::Learned => vb.get_with_hints((n, d), "positions", normal(0.02))?,
            Positions::None => Tensor::zeros((n, d), vb.dtype(), vb.device())?,
        };
        let tokens = vb.get_with_hints((vocabulary, d), "tokens", normal(1.0))?;
        Ok(Self { tokens, positions, cls, front, dropout: model.dropout, dtype })
    }

    /// Rows in front of the tokens.
    pub(super) fn front(&self) -> usize {
        let own = self.front.as_ref().map_or(0, |rows| rows.dims()[0]);
        usize::from(self.cls.is_some()) + own
    }

    /// [b, n] ids -> [b, front + n, width], and the context whose mask covers them.
    pub(super) fn forward(
        &self,
        ids: &Ids,
        cx: &Context,
    ) -> candle_core::Result<(Tensor, Context)> {
        let cx = match self.front() {
            0 => cx.clone(),
            front => cx.with_mask(cx.mask.prepend_valid(front)?),
        };
        let mut x = embed(ids, &self.tokens, &self.positions, self.cls.as_ref())?;
        if let Some(front) = &self.front {
            let (b, n, d) = x.dims3()?;
            let cls = usize::from(self.cls.is_some());
            let front = front.unsqueeze(0)?.broadcast_as((b, front.dim(0)?, d))?.contiguous()?;
            let tokens = x.narrow(1, cls, n - cls)?;
            x = match cls {
                0 => Tensor::cat(&[front, tokens], 1)?,
                _ => Tensor::cat(&[x.narrow(1, 0, cls)?, front, tokens], 1)?,
            };
        }
        let x = x.to_dtype(self.dtype)?;
        Ok((dropout(&x, cx.dropout("embedding", self.dropout))?, cx))
    }
}

/// Pixels of a side of a square picture of so many.
fn side(length: usize) -> Result<usize> {
    let side = length.isqrt();
    if side * side == length {
        return Ok(side);
    }
    let message =
        format!("sinusoid-2d is for square pictures; model.length is {length}, no square");
    Err(Error::config("model.positions", message))
}
