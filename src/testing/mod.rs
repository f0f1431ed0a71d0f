//! The proof that this crate's attentions are what they say, for yours as well:
//! [`battery`] panics, like an assertion, with what is wrong. Call it from a test:
//!
//! ```no_run
//! # let my_variant = *lra::attention::Registry::builtin().get("linear").unwrap();
//! lra::testing::battery(&my_variant, "eps = 1e-6");
//! ```

mod battery;
mod inputs;

pub use battery::{battery, memory_growth};
pub use inputs::{
    SIZES, batch, build, classifier, difference, flat, largest, layer, model, random, two_layers,
};
