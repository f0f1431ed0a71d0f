//! What a run leaves: the record, the events on the way, and the folder that holds both.

mod appended;
mod difference;
mod events;
mod float;
mod folder;
mod load;
mod lock;
mod metrics;
mod record;
pub mod statistics;
mod tensorboard;

pub use difference::{Difference, differences};
pub use events::{EVENTS_FILE, Event, Events, read_events};
pub use folder::{RunFolder, finish_draft, last_step};
pub use load::*;
pub use metrics::scalars;
pub use record::*;
