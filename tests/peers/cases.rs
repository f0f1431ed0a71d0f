//! Small models of every attention.

use lra::config::{ModelSection, Pair, Pooling, Positions, Sizes};

pub struct Case {
    pub model: &'static str,
    /// Of the `[attention]` table.
    pub options: &'static str,
    length: usize,
    pooling: Pooling,
    positions: Positions,
    pair: Option<Pair>,
}

impl Case {
    const fn new(model: &'static str, options: &'static str, length: usize) -> Self {
        let (pooling, positions) = (Pooling::Mean, Positions::Learned);
        Self { model, options, length, pooling, positions, pair: None }
    }

    /// With a CLS position: a length that no block divides.
    const fn cls(self) -> Self {
        Self { pooling: Pooling::Cls, positions: Positions::Sinusoid, ..self }
    }

    const fn pair(self, pair: Pair) -> Self {
        Self { pooling: Pooling::First, pair: Some(pair), ..self }
    }

    const fn without_positions(self) -> Self {
        Self { positions: Positions::None, ..self }
    }

    pub fn section(&self) -> ModelSection {
        ModelSection {
            length: self.length,
            layers: 2,
            width: 32,
            qkv: 24,
            heads: 4,
            feed_forward: 40,
            dropout: 0.0,
            attention_dropout: 0.0,
            positions: self.positions,
            pooling: self.pooling,
            pair: self.pair,
            reversible: self.model == "reformer",
            feed_forward_chunks: 1,
        }
    }

    pub fn sizes(&self) -> Sizes {
        Sizes { vocabulary: 17, classes: 10, parts: if self.pair.is_some() { 2 } else { 1 } }
    }
}

/// The options of the presets, smaller; then others that the peers know.
pub const CASES: &[Case] = &[
    Case::new("transformer", "", 64),
    Case::new("transformer", "", 64).cls(),
    Case::new("transformer", "", 32).pair(Pair::Interaction),
    Case::new("transformer", "", 32).pair(Pair::Concatenate),
    Case::new("local", "block = 16", 64),
    Case::new("local", "block = 10", 64).cls(),
    Case::new("transformer-xl", "segment = 16\nmemory = 16", 64).without_positions(),
    Case::new("transformer-xl", "segment = 16\nmemory = 24", 70).without_positions(),
    Case::new("transformer-xl", "segment = 16\nmemory = 8\ncausal = true\ntied = false", 60)
        .without_positions(),
    Case::new("sparse-transformer", "stride = 8\nsummary = 2", 64),
    Case::new("sparse-transformer", "stride = 10\nsummary = 3", 64).cls(),
    Case::new("sparse-transformer", "pattern = \"strided\"\nstride = 8\nsummary = 1", 64).cls(),
    Case::new("sparse-transformer", "stride = 8\nsummary = 2\ncombine = \"heads\"", 64),
    Case::new("longformer", "window = 16", 64).cls(),
    Case::new("longformer", "window = [8, 24]\nglobal = 3", 64),
    Case::new("longformer", "window = 16\nglobal = 0", 70),
    Case::new("bigbird", "block = 8\nrandom = 2", 96),
    Case::new("bigbird", "block = 8\nrandom = 3", 64).cls(),
    Case::new("reformer", "chunk = 8", 64),
    Case::new("reformer", "chunk = 8\nrounds = 3\nbuckets = 130", 64).cls(),
    Case::new("linformer", "k = 8", 64),
    Case::new("linformer", "k = 8\nsharing = \"none\"", 64).cls(),
    Case::new("linformer", "k = 8\nsharing = \"headwise\"", 64),
    Case::new("linformer", "k = 8\nsharing = \"layerwise\"", 64),
    Case::new("linear", "", 64).cls(),
    Case::new("performer", "features = 16", 64),
    Case::new("performer", "features = 10\nkernel = \"relu\"", 64).cls(),
    Case::new("sinkhorn", "block = 8\ngumbel = false", 64),
    Case::new("sinkhorn", "block = 10\ngumbel = false", 64).cls(),
    Case::new("synthesizer", "", 64).cls(),
    Case::new("synthesizer", "kinds = [\"dense\"]\ndot = false", 64),
    Case::new(
        "synthesizer",
        "kinds = [\"factorised-random\", \"factorised-dense\"]\nweighted = true",
        50,
    ),
];
