//! The whole model for tasks with one sequence.

use super::block::Block;
use super::embedding::Embedding;
use super::head::Head;
use crate::attention::{Build, Cost, Variant};
use crate::config::{ModelSection, Pooling};
use crate::error::Result;
use crate::layers::{Context, Weights};
use crate::ops::Ids;
use candle_core::{DType, Device, Tensor};

/// Embedding, encoder layers and head. Weights live in the [`Weights`] it was built with.
pub struct Classifier {
    embedding: Embedding,
    blocks: Vec<Block>,
    head: Head,
    section: ModelSection,
}

impl Classifier {
    pub fn new(
        section: &ModelSection,
        variant: &Variant,
        options: &toml::Table,
        (vocabulary, classes): (usize, usize),
        weights: &Weights,
        (dtype, device): (DType, &Device),
    ) -> Result<Self> {
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
            embedding: Embedding::new(section, vocabulary, vb.pp("embedding"))?,
            blocks: (0..section.layers).map(block).collect::<Result<_>>()?,
            head: Head::new(section, classes, vb.clone())?,
            section: section.clone(),
        })
    }

    /// Class scores [b, classes] of padded ids [b, n]; `cx.mask` says which are tokens.
    pub fn forward(&self, ids: &Ids, cx: &Context) -> candle_core::Result<Tensor> {
        let (mut x, cx) = self.embedding.forward(ids, cx)?;
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, &cx.enter("layer", i))?;
        }
        self.head.forward(&x, &cx)
    }

    /// Cost of a forward pass over one example of n tokens, embedding and head left out.
    pub fn cost(&self, n: usize) -> Cost {
        let n = n + usize::from(self.section.pooling == Pooling::Cls);
        self.blocks.iter().map(|b| b.cost(n)).fold(Cost::default(), |a, b| a + b)
    }

    /// The largest number of positions one output of the first layer depends on.
    pub fn receptive_field(&self, n: usize) -> usize {
        self.blocks.first().map_or(0, |b| b.receptive_field(n))
    }
}
