//! The paper's Table 2 from results of `lra bench`: speed and memory by length.

use super::super::bench::{File, growth, speed};
use super::Titled;

/// A table for each task and preset of each file, and how time and memory grow.
pub fn measured(files: &[File]) -> Vec<Titled> {
    let mut all = Vec::new();
    for file in files {
        let drift = file.drift();
        for ((task, preset), rows) in file.groups() {
            let of = format!("{task}, preset {preset}; {}; {}", file.machine(), file.name);
            let failures = rows.iter().flat_map(|row| {
                let of = format!("{} at {}", row.model, row.length);
                row.failures.iter().map(move |failure| format!("{of}: {failure}"))
            });
            all.push(Titled {
                title: format!("Training steps per second and peak memory by length: {of}"),
                table: speed(&rows),
                notes: failures.chain(drift.clone()).collect(),
            });
            if let Some(table) = growth(&rows) {
                let title = format!("Growth with length, fitted: {of}");
                all.push(Titled { title, table, notes: Vec::new() });
            }
        }
    }
    all
}
