//! What a run leaves: the record, the events on the way, and the folder that holds both.

mod difference;
mod events;
mod float;
mod folder;
mod load;
mod lock;
mod record;
pub mod statistics;

pub use events::{Event, Events, read_events};
pub use folder::{RunFolder, finish_draft, last_step};
pub use load::*;
pub use record::*;
