//! What a run leaves: the record, the events on the way, and the folder that holds both.

mod difference;
mod events;
mod float;
mod folder;
mod lock;
mod record;

pub use events::{Event, Events, read_events};
pub use folder::{RunFolder, read_record};
pub use record::*;
