//! Every attention by name.

use super::{Attention, Build, linear, local, performer, transformer};
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
}

/// The known attentions. Start from [`Registry::builtin`] and add your own.
#[derive(Clone)]
pub struct Registry {
    variants: Vec<Variant>,
}

impl Registry {
    /// The variants of this crate, in the order tables list them.
    pub fn builtin() -> Self {
        let variants =
            vec![transformer::VARIANT, local::VARIANT, linear::VARIANT, performer::VARIANT];
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

    pub fn get(&self, name: &str) -> Result<&Variant> {
        self.iter().find(|v| v.name == name).ok_or_else(|| {
            let names: Vec<_> = self.iter().map(|v| v.name).collect();
            Error::usage(format!("--model {name}: unknown; known are {}", names.join(", ")))
        })
    }
}
