//! `lra bench`: training steps per second and peak memory over models and lengths, and beside
//! a peer, as the paper's Table 2 has them.
//!
//! - `cell`: one measured cell, in a process of its own
//! - `worker`: that process, seen from outside
//! - `product`: a matrix product, to compare with
//! - `runner`: which cells, in what order, in turns with the peer
//! - `results`: what was measured, and its file; `report::bench` makes tables of it

mod cell;
mod product;
mod results;
mod runner;
mod worker;

pub use cell::{Cell, Counted, Memory, Window, batch, serve};
pub use results::{Results, Row, Side};
pub use runner::{Batch, Peer, Plan, run};
pub use worker::Worker;
