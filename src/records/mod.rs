//! What a run leaves: the record, and the folder that holds it.

mod load;
mod record;
pub mod statistics;

pub use load::*;
pub use record::*;
