//! The data room: examples, how they are kept, and where.
//!
//! A task writes its examples, once, as packed files, one per split, into a folder of the
//! cache; every later run maps them as [`Split`]s.
//!
//! - `examples`: examples in memory
//! - `packed`, `pack`: the file format with its verification, and its writer
//! - `split`: read access, from a mapped file or from memory
//! - `prepared`: open what is prepared, or build it; what is known about it
//! - `order`, `batch`: the order of examples, and padded batches of them
//! - `loader`: batches made ahead, on a thread of their own
//! - `source`, `archive`: a task's official files, in a folder or in an archive
//! - `fetch`: the official archive, from where it is published
//! - `places`: where official files are looked for and where the cache is

mod archive;
mod batch;
mod examples;
mod fetch;
mod loader;
mod order;
mod pack;
mod packed;
mod places;
mod prepared;
mod source;
mod split;

pub use batch::Batch;
pub use examples::Examples;
pub use fetch::{Remote, fetch};
pub use loader::Loader;
pub use order::{Order, deal};
pub use pack::PackWriter;
pub use packed::PACKED_VERSION;
pub use places::{Places, places};
pub use prepared::{
    About, SPLITS, Workshop, checksum, last_official, open_or_build, prepared, prepared_folder,
};
pub use source::{Published, Source, full_name, identity};
pub use split::Split;
