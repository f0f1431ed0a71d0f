//! The data room: examples, how they are kept, and where.
//!
//! A task fills [`Examples`], once; they are written as packed files, one per split,
//! into a folder of the cache; every later run maps them as [`Split`]s.
//!
//! - `examples`: examples in memory, while a task reads or generates them
//! - `packed`: the file format, and its verification
//! - `split`: read access, from a mapped file or from memory
//! - `prepared`: open what is prepared, or build it; what is known about it
//! - `batch`: the order of examples, and padded batches of them
//! - `places`: where official files are looked for and where the cache is

mod batch;
mod examples;
mod packed;
mod places;
mod prepared;
mod split;

pub use batch::{Batch, Order};
pub use examples::Examples;
pub use packed::PACKED_VERSION;
pub use places::{Places, places};
pub use prepared::{About, SPLITS, checksum, open_or_build, prepared, prepared_folder};
pub use split::Split;
