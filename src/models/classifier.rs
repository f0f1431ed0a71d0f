//! The whole model: embedding, encoder and head. Two documents go through one encoder, side
//! by side in the batch, and meet in the head.

use super::block::Block;
use super::embedding::Embedding;
use super::head::Head;
use crate::attention::{Build, Cost, Variant};
use crate::config::{ModelSection, Pooling, Sizes};
use crate::error::{Error, Result};
use crate::layers::{Context, Weights};
use crate::ops::Ids;
use candle_core::{DType, Device, Tensor};

/// Embedding, encoder layers and head. Weights live in the [`Weights`] it was built with.
pub struct Classifier {
    embedding: Embedding,
    blocks: Vec<Block>,
    head: Head,
    section: ModelSection,
    parts: usize,
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
        let vb = weights.builder(dtype, device);
        let block = |layer| {
            let at = Build {
                width: section.width,
                qkv: section.qkv,
                heads: section.heads,
                dropout: section.attention_dropout,
                n: section.length + usize::from(section.pooling == Pooling::Cls),
                layer,
                depth: section.layers,
                weights: vb.clone(),
                shared: vb.pp("shared"),
                options,
            };
            Block::new(section, variant.build, &at, vb.pp(format!("layers.{layer}")))
        };
        Ok(Self {
            embedding: Embedding::new(section, sizes.vocabulary, vb.pp("embedding"))?,
            blocks: (0..section.layers).map(block).collect::<Result<_>>()?,
            head: Head::new(section, sizes, vb.clone())?,
            section: section.clone(),
            parts: sizes.parts,
        })
    }

    /// Class scores [b, classes] of padded ids [b parts, n]; `cx.mask` says which are tokens.
    pub fn forward(&self, ids: &Ids, cx: &Context) -> candle_core::Result<Tensor> {
        let (mut x, cx) = self.embedding.forward(ids, cx)?;
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, &cx.enter("layer", i))?;
        }
        self.head.forward(&x, &cx)
    }

    /// Cost of a forward pass over one example, of n tokens a part; embedding and head left out.
    pub fn cost(&self, n: usize) -> Cost {
        let n = n + usize::from(self.section.pooling == Pooling::Cls);
        let parts = self.blocks.iter().flat_map(|b| (0..self.parts).map(move |_| b.cost(n)));
        parts.fold(Cost::default(), |a, b| a + b)
    }

    /// The largest number of positions one output of the first layer depends on.
    pub fn receptive_field(&self, n: usize) -> usize {
        self.blocks.first().map_or(0, |b| b.receptive_field(n))
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
