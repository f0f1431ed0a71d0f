//! What each layer of a model looks at.

use super::Classifier;
use crate::layers::Context;
use crate::ops::{Ids, recorded};
use candle_core::{Result, Tensor};

impl Classifier {
    /// For each layer the attention weights over the positions of the first example, [heads,
    /// n, n] with the rows in front; quadratic memory. A layer's global rows, where it attends
    /// to them apart, are its first ones.
    pub fn maps(&self, ids: &Ids, cx: &Context) -> Result<Vec<Tensor>> {
        let (x, inner) = self.embedding.forward(ids, cx)?;
        let (mut x1, mut x2) = (x.clone(), x);
        let mut maps = Vec::new();
        for (i, block) in self.blocks.iter().enumerate() {
            let cx = inner.enter("layer", i);
            let reversible = self.section.reversible;
            let input = block.attention_input(if reversible { &x2 } else { &x1 })?;
            let attention = block.attention();
            let (_, weights) = recorded(|| attention.forward(&input, &cx))?;
            let mut map: Option<Tensor> = None;
            for weights in weights {
                let weights = attention.spread(&weights, &input, &cx)?.get(0)?;
                let (rows, n) = (weights.dim(1)?, input.dim(1)?);
                map = Some(match map {
                    Some(map) if rows < n => {
                        Tensor::cat(&[weights, map.narrow(1, rows, n - rows)?], 1)?
                    }
                    _ => weights,
                });
            }
            maps.extend(map);
            if reversible {
                x1 = (x1 + block.attend(&x2, &cx, false)?)?.detach();
                x2 = (x2 + block.feed(&x1, &cx, false)?)?.detach();
            } else {
                x1 = block.forward(&x1, &cx)?.detach();
            }
        }
        Ok(maps)
    }
}
