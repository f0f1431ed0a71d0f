//! What a run leaves: the record, and the folder that holds it.

mod record;

pub use record::*;
