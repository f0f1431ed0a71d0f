//! What a test says where it cannot be made.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Mutex;

/// Says so past the test runner, which keeps to itself what a passing test prints. Tests that
/// lack the same thing say it once.
pub fn skip(reason: impl std::fmt::Display) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let line = format!("skipped: {reason}\n");
    if SAID.lock().unwrap().insert(line.clone()) {
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}
