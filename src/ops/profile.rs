//! Where the time of a step goes, by op: off unless someone asks for it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

static ON: AtomicBool = AtomicBool::new(false);
/// Floating point operations of matrix products since [`start`].
static FLOPS: AtomicU64 = AtomicU64::new(0);
static OPS: Mutex<BTreeMap<&'static str, Spent>> = Mutex::new(BTreeMap::new());

#[derive(Default, Clone, Copy)]
struct Spent {
    calls: u64,
    nanoseconds: u64,
    flops: u64,
}

/// One op's part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Share {
    pub op: String,
    pub calls: u64,
    pub seconds: f64,
    /// Of its matrix products.
    pub flops: f64,
}

/// Forgets everything, and starts to count or stops to.
pub fn start(on: bool) {
    ON.store(on, Relaxed);
    FLOPS.store(0, Relaxed);
    if let Ok(mut ops) = OPS.lock() {
        ops.clear();
    }
}

/// What was counted, the dearest op first. Counting ends.
pub fn finish() -> Vec<Share> {
    ON.store(false, Relaxed);
    let Ok(mut ops) = OPS.lock() else { return Vec::new() };
    let share = |(op, spent): (&'static str, Spent)| Share {
        op: op.to_owned(),
        calls: spent.calls,
        seconds: spent.nanoseconds as f64 / 1e9,
        flops: spent.flops as f64,
    };
    let mut shares: Vec<Share> = std::mem::take(&mut *ops).into_iter().map(share).collect();
    shares.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    shares
}

/// Time on the account of an op, until it is dropped.
pub(crate) struct Account {
    op: &'static str,
    started: Instant,
    flops: u64,
}

/// Opens an account where someone asked for it. Ops do not nest.
#[inline]
pub(crate) fn account(op: &'static str) -> Option<Account> {
    let open = || Account { op, started: Instant::now(), flops: FLOPS.load(Relaxed) };
    ON.load(Relaxed).then(open)
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Ok(mut ops) = OPS.lock() {
            let spent = ops.entry(self.op).or_default();
            spent.calls += 1;
            spent.nanoseconds += self.started.elapsed().as_nanos() as u64;
            spent.flops += FLOPS.load(Relaxed) - self.flops;
        }
    }
}

/// Counts a matrix product.
#[inline]
pub(crate) fn product(rows: usize, inner: usize, cols: usize) {
    if ON.load(Relaxed) {
        FLOPS.fetch_add(2 * (rows * inner * cols) as u64, Relaxed);
    }
}
