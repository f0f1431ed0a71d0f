//! The battery over the registry, and each variant's own invariants.

#[path = "../common/mod.rs"]
mod common;

mod battery;
mod identities;
mod linformer;
mod mixed;
mod patterns;
mod performer;
mod wiring;
