//! The whole model: embedding, encoder and head. Two documents go through one encoder, side
//! by side in the batch, and meet in the head.

use super::block::Block;
use super::embedding::Embedding;
use super::head::Head;
use crate::attention::{Attention, Build, Cost, Variant};
use crate::config::{ModelSection, Pooling, Sizes};
use crate::error::{Error, Result};
use crate::layers::{Context, Weights};
use crate::ops::Ids;
use candle_core::{DType, Device, Tensor};

/// Embedding, encoder layers and head. Weights live in the [`Weights`] it was built with.
pub struct Classifier {
    pub(super) embedding: Embedding,
    pub(super) blocks: Vec<Block>,
    head: Head,
    pub(super) section: ModelSection,
    pub(super) parts: usize,
    /// Whether the backward pass computes layers again instead of keeping what they were.
    pub(super) recompute: bool,
}

impl Classifier {
    pub fn new(
        section: &ModelSection,
        variant: &Variant,
        options: &toml::Table,
        sizes: Sizes,
        weights: &Weights,
        (dtype, device): (DType, &Device),
    ) -> Result<Self> {
        check(section, sizes)?;
        // Half the precision is enough for layers, not for sums of many small updates.
        let exact = if dtype == DType::BF16 { DType::F32 } else { dtype };
        // What reversible layers subtract again must be what they added.
        let stream = if section.reversible { exact } else { dtype };
        let vb = weights.builder(exact, device);
        let front = (variant.front)(options)?;
        let cls = usize::from(section.pooling == Pooling::Cls);
        let block = |layer| {
            let at = Build {
                width: section.width,
                qkv: section.qkv,
                heads: section.heads,
                dropout: section.attention_dropout,
                n: section.length + front.max(cls),
                layer,
                depth: section.layers,
                weights: vb.clone(),
                shared: vb.pp("shared"),
                options,
            };
            Block::new(section, variant.build, &at, (vb.pp(format!("layers.{layer}")), dtype))
        };
        Ok(Self {
            embedding: Embedding::new(
                section,
                sizes.vocabulary,
                (front, stream),
                vb.pp("embedding"),
            )?,
            blocks: (0..section.layers).map(block).collect::<Result<_>>()?,
            head: Head::new(section, sizes, vb.clone())?,
            section: section.clone(),
            parts: sizes.parts,
            recompute: false,
        })
    }

    /// The same model, whose backward pass computes layers again: less memory, more time, the
    /// same gradients.
    pub fn recomputing(self, recompute: bool) -> Self {
        Self { recompute, ..self }
    }

    /// Class scores [b, classes] of padded ids [b parts, n]; `cx.mask` says which are tokens.
    pub fn forward(&self, ids: &Ids, cx: &Context) -> candle_core::Result<Tensor> {
        let (x, inner) = self.embedding.forward(ids, cx)?;
        // What is only evaluated keeps no graph behind it.
        let keep = |x: Tensor| if cx.train { x } else { x.detach() };
        let (mut x1, mut x2) = (keep(x.clone()), keep(x));
        for (i, block) in self.blocks.iter().enumerate() {
            let cx = inner.enter("layer", i);
            if self.section.reversible {
                x1 = keep((x1 + block.attend(&x2, &cx, false)?)?);
                x2 = keep((x2 + block.feed(&x1, &cx, false)?)?);
            } else {
                x1 = keep(block.forward(&x1, &cx)?);
            }
        }
        let x = if self.section.reversible { ((x1 + x2)? * 0.5)? } else { x1 };
        self.classify(&x, cx)
    }

    /// Class scores of the encoder's output, [b parts, front + n, width]; `cx` as given to
    /// [`Self::forward`].
    pub(super) fn classify(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        let front = self.embedding.front();
        if self.section.pooling == Pooling::Cls || front == 0 {
            return self.head.forward(x, cx);
        }
        self.head.forward(&x.narrow(1, front, x.dim(1)? - front)?.contiguous()?, cx)
    }

    /// Cost of a forward pass over one example, of n tokens a part; embedding and head left out.
    pub fn cost(&self, n: usize) -> Cost {
        let n = n + self.embedding.front();
        let parts = self.blocks.iter().flat_map(|b| (0..self.parts).map(move |_| b.cost(n)));
        parts.fold(Cost::default(), |a, b| a + b)
    }

    /// The attention of each layer.
    pub fn attentions(&self) -> impl Iterator<Item = &dyn Attention> {
        self.blocks.iter().map(Block::attention)
    }

    /// Positions of an input of n tokens, those in front included.
    pub fn positions(&self, n: usize) -> usize {
        n + self.embedding.front()
    }
}

/// What a task with one document, or with two, cannot have.
fn check(section: &ModelSection, sizes: Sizes) -> Result<()> {
    match (sizes.parts, section.pooling, section.pair) {
        (1, _, Some(_)) => {
            Err(Error::config("model.pair", "this task has one document; expected no value"))
        }
        (2, Pooling::Cls, _) => Err(Error::config(
            "model.pooling",
            "cls has no place where two documents are compared; expected first or mean",
        )),
        (1 | 2, ..) => Ok(()),
        (parts, ..) => {
            let message = format!("{parts} documents in an example; expected 1 or 2");
            Err(Error::config("parts", message))
        }
    }
}
