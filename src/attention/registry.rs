//! Every attention by name.

use super::{
    Attention, Build, bigbird, linear, linformer, local, longformer, performer, reformer, sinkhorn,
    sparse, synthesizer, transformer, transformer_xl,
};
use crate::config::{Dtype, Request};
use crate::error::{Error, Result};

/// An entry of the registry: how a variant is called, explained and built.
#[derive(Clone, Copy)]
pub struct Variant {
    /// As in `--model`.
    pub name: &'static str,
    /// As printed in tables.
    pub title: &'static str,
    /// Authors, year and arXiv number.
    pub paper: &'static str,
    /// One line: what it computes and what it costs.
    pub summary: &'static str,
    /// Options of the `[attention]` table: key and meaning.
    pub keys: &'static [(&'static str, &'static str)],
    /// Checks an `[attention]` table and fills in the defaults.
    pub options: fn(&toml::Table) -> Result<toml::Table>,
    pub build: fn(&Build) -> Result<Box<dyn Attention>>,
    /// Whether the weights of each row sum to 1.
    pub normalised: bool,
    /// What its configuration has instead of a preset's base, as TOML: `model = { .. }`. The
    /// presets' differences for one attention win over it.
    pub prefers: &'static str,
    /// How many learned tokens it wants in front of the input, from an `[attention]` table; a
    /// CLS position is the first of them.
    pub front: fn(&toml::Table) -> Result<usize>,
}

impl Variant {
    /// A request for this attention: seed 0, one CPU, f32, nothing changed of the preset.
    pub fn request<'a>(&self, preset: &'a str) -> Request<'a> {
        Request {
            model: self.name,
            prefers: self.prefers,
            options: self.options,
            preset,
            seed: 0,
            device: "cpu",
            dtype: Dtype::F32,
            steps: None,
            micro_batch: None,
            recompute: false,
            sets: &[],
        }
    }

    /// What most variants are: without keys, wishes or tokens of their own. For the fields
    /// that a constant leaves out; it cannot be built.
    pub const PLAIN: Self = Self {
        name: "",
        title: "",
        paper: "",
        summary: "",
        keys: &[],
        options: |_| Err(Error::usage("this attention takes no options")),
        build: |_| Err(Error::usage("this attention cannot be built")),
        normalised: true,
        prefers: "",
        front: |_| Ok(0),
    };
}

/// The known attentions. Start from [`Registry::builtin`] and add your own.
#[derive(Clone)]
pub struct Registry {
    variants: Vec<Variant>,
}

impl Registry {
    /// The variants of this crate, in the order tables list them.
    pub fn builtin() -> Self {
        let variants = vec![
            transformer::VARIANT,
            local::VARIANT,
            transformer_xl::VARIANT,
            sparse::VARIANT,
            longformer::VARIANT,
            bigbird::VARIANT,
            reformer::VARIANT,
            linformer::VARIANT,
            linear::VARIANT,
            performer::VARIANT,
            sinkhorn::VARIANT,
            synthesizer::VARIANT,
        ];
        Self { variants }
    }

    /// Adds a variant; one of the same name is replaced.
    pub fn with(mut self, variant: Variant) -> Self {
        match self.variants.iter_mut().find(|v| v.name == variant.name) {
            Some(known) => *known = variant,
            None => self.variants.push(variant),
        }
        self
    }

    pub fn iter(&self) -> impl Iterator<Item = &Variant> {
        self.variants.iter()
    }

    /// The names that were given, or where `all` is among them, every one.
    pub fn names(&self, given: &[String]) -> Vec<String> {
        match given.iter().any(|name| name == "all") {
            true => self.iter().map(|variant| variant.name.to_owned()).collect(),
            false => given.to_vec(),
        }
    }

    pub fn get(&self, name: &str) -> Result<&Variant> {
        self.iter().find(|v| v.name == name).ok_or_else(|| {
            let names: Vec<_> = self.iter().map(|v| v.name).collect();
            Error::usage(format!("--model {name}: unknown; known are {}", names.join(", ")))
        })
    }
}
