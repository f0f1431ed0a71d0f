//! What a variant's constructor is given, and the projections most variants share.

use super::Cost;
use crate::error::{Error, Result};
use crate::layers::{EPS, LayerNorm, Linear};
use crate::measure::free_memory;
use crate::ops::{Dropout, Layer, Mixing, attention_layer};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use serde::de::DeserializeOwned;

/// The place of one attention layer in its model.
#[derive(Clone)]
pub struct Build<'a> {
    /// Width of the residual stream.
    pub width: usize,
    /// Width of queries, keys and values over all heads (LRA's `qkv_dim`).
    pub qkv: usize,
    pub heads: usize,
    /// Probability of dropping an attention weight.
    pub dropout: f64,
    /// Largest number of positions, a CLS position included.
    pub n: usize,
    /// Index of the layer, and how many there are.
    pub layer: usize,
    pub depth: usize,
    /// Weights of this layer's attention.
    pub weights: VarBuilder<'a>,
    /// Weights that layers share.
    pub shared: VarBuilder<'a>,
    /// The `[attention]` table of the configuration.
    pub options: &'a toml::Table,
}

impl Build<'_> {
    /// The variant's options as a struct with serde defaults. Derive `Deserialize` with
    /// `deny_unknown_fields`, so that a mistyped key is an error.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T> {
        crate::config::section("attention", self.options)
    }

    /// Width of one head of queries and keys.
    pub fn head_width(&self) -> usize {
        self.qkv / self.heads
    }

    /// An error unless an option is at least `least`.
    pub fn at_least(&self, key: &str, value: usize, least: usize) -> Result<()> {
        self.between(key, value, least, usize::MAX)
    }

    /// An error unless an option lies in `least..=most`.
    pub fn between(&self, key: &str, value: usize, least: usize, most: usize) -> Result<()> {
        match value {
            _ if (least..=most).contains(&value) => Ok(()),
            _ if most == usize::MAX => {
                Err(self.bad(key, format!("expected at least {least}, got {value}")))
            }
            _ => Err(self.bad(key, format!("expected {least} to {most}, got {value}"))),
        }
    }

    /// An error where this machine has no memory for draws of this shape, which are no weights
    /// and so in no plan.
    pub(super) fn has_room_for(&self, shape: [usize; 3]) -> Result<()> {
        let bytes = shape.iter().fold(12.0, |bytes, &size| bytes * size as f64);
        match free_memory() {
            Some(free) if bytes > free as f64 => Err(Error::OutOfMemory(format!(
                "fixed logits of shape {shape:?} take {:.1} GB, more than is free; lower \
                 model.length",
                bytes / 1e9
            ))),
            _ => Ok(()),
        }
    }

    /// An impossible value of one of the variant's options.
    pub fn bad(&self, key: &str, message: impl Into<String>) -> Error {
        Error::config(format!("attention.{key}"), message)
    }
}

/// Query, key, value and output projections without bias, as in LRA.
#[derive(Debug, Clone)]
pub struct Projections {
    query: Option<Linear>,
    key: Option<Linear>,
    value: Linear,
    output: Linear,
    width: usize,
    qkv: usize,
}

impl Projections {
    /// Weights `query`, `key`, `value` [qkv, width] and `output` [width, qkv].
    pub fn new(build: &Build) -> Result<Self> {
        let (d, a) = (build.width, build.qkv);
        let into = |name: &str| Linear::without_bias(d, a, build.weights.pp(name));
        Ok(Self { query: Some(into("query")?), key: Some(into("key")?), ..Self::of_values(build)? })
    }

    /// Weights `value` and `output` alone.
    pub fn of_values(build: &Build) -> Result<Self> {
        let (d, a) = (build.width, build.qkv);
        Ok(Self {
            query: None,
            key: None,
            value: Linear::without_bias(d, a, build.weights.pp("value"))?,
            output: Linear::without_bias(a, d, build.weights.pp("output"))?,
            width: d,
            qkv: a,
        })
    }

    /// [b, n, width] -> [b, n, qkv].
    pub fn queries(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        project(&self.query, x)
    }

    /// As [`Self::queries`].
    pub fn keys(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        project(&self.key, x)
    }

    /// As [`Self::queries`].
    pub fn values(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        self.value.forward(x)
    }

    /// Queries, keys and values, [b, n, qkv] each, heads interleaved in the last axis.
    pub fn split(&self, x: &Tensor) -> candle_core::Result<(Tensor, Tensor, Tensor)> {
        Ok((self.queries(x)?, self.keys(x)?, self.values(x)?))
    }

    /// The weight of the queries, [qkv, width].
    pub fn query(&self) -> candle_core::Result<&Tensor> {
        Ok(self.into()?[0])
    }

    fn into(&self) -> candle_core::Result<[&Tensor; 3]> {
        let (Some(q), Some(k)) = (&self.query, &self.key) else {
            candle_core::bail!("this attention projects values alone")
        };
        Ok([q.weight(), k.weight(), self.value.weight()])
    }

    /// Queries, keys and values of one product, side by side: [b, n, 3 qkv].
    pub fn joined(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        crate::ops::linear(x, &Tensor::cat(&self.into()?, 0)?, None)
    }

    /// Keys and values of one product, side by side: [b, n, 2 qkv].
    pub fn keys_and_values(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let [_, key, value] = self.into()?;
        crate::ops::linear(x, &Tensor::cat(&[key, value], 0)?, None)
    }

    /// The whole layer around what mixes the joined projections, in one op, with `norm` before
    /// it, `drop` behind it and `x` added or not.
    pub fn layer(
        &self,
        x: &Tensor,
        mixing: Mixing,
        norm: &LayerNorm,
        drop: Dropout,
        residual: bool,
    ) -> candle_core::Result<Tensor> {
        let (into, out) = (self.into()?, self.output.weight());
        let layer = Layer { norm: norm.weights(), eps: EPS, into, out, mixing, drop, residual };
        attention_layer(x, &layer)
    }

    /// Of the residual stream.
    pub fn width(&self) -> usize {
        self.width
    }

    /// [b, n, qkv] -> [b, n, width].
    pub fn merge(&self, heads: &Tensor) -> candle_core::Result<Tensor> {
        self.output.forward(heads)
    }

    /// A product for each of them; q, k, v and the heads' output are kept.
    pub fn cost(&self, n: usize) -> Cost {
        let (n, d, a) = (n as f64, self.width as f64, self.qkv as f64);
        let count = if self.query.is_some() { 4.0 } else { 2.0 };
        Cost { flops: 2.0 * count * n * d * a, saved: count * n * a, ..Cost::default() }
    }

    /// What the layer holds as one op: in passing the slopes of its output, of what was
    /// attended, and of q, k and v.
    pub(super) fn as_one_op(&self, n: usize) -> Cost {
        let (n, d, a) = (n as f64, self.width as f64, self.qkv as f64);
        Cost { passing: n * (d + 4.0 * a), ..Cost::default() }
    }

    /// What it holds as several ops: what comes in and goes out is kept too; in passing there
    /// are the slopes of the residual and of what was attended, and of the operands. Candle
    /// adds a first slope to zeros, so the largest, of so many values, is there three times.
    pub(super) fn as_several_ops(&self, n: usize, largest: f64, others: f64) -> Cost {
        let (n, d, a) = (n as f64, self.width as f64, self.qkv as f64);
        let passing = n * (d + a) + 3.0 * largest + others;
        Cost { saved: 2.0 * n * d, passing, ..Cost::default() }
    }
}

fn project(by: &Option<Linear>, x: &Tensor) -> candle_core::Result<Tensor> {
    match by {
        Some(linear) => linear.forward(x),
        None => candle_core::bail!("this attention projects values alone"),
    }
}
