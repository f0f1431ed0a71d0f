//! Several measurements beside a peer in one table: speed and memory against PyTorch's.

use super::super::tables::Table;
use super::tables::machine;
use crate::bench::{Results, Row};
use crate::records::statistics::{geometric_mean, median};

/// A column: what was measured; on a GPU, where there are several types and not every mode was
/// measured everywhere, also in which type and beside what.
fn column(results: &Results, row: &Row) -> String {
    let name = format!("{} {} {} x {}", row.task, row.preset, row.length, row.batch);
    if results.environment.gpu.is_none() {
        return name;
    }
    let modes = row.peers.iter().map(|side| side.name.trim_start_matches("torch "));
    let modes = modes.collect::<Vec<_>>().join(", ");
    format!("{name} {} ({modes})", results.environment.dtype)
}

/// A row for each model: own steps per second over the faster of PyTorch's modes, and own
/// memory over the leaner one's. Markdown; `None` where nothing was measured beside a peer.
pub fn ratios(all: &[Results]) -> Option<String> {
    let each = all.iter().flat_map(|results| results.rows.iter().map(move |row| (results, row)));
    let rows: Vec<(&Results, &Row)> =
        each.filter(|(_, row)| !row.repeated && !row.ratios().is_empty()).collect();
    if rows.is_empty() {
        return None;
    }
    let (mut columns, mut models): (Vec<String>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut how: Vec<String> = Vec::new();
    for (results, row) in &rows {
        let name = column(results, row);
        if !columns.contains(&name) {
            let modes: Vec<&str> = row.peers.iter().map(|side| side.name.as_str()).collect();
            how.push(format!("- {name}: {}; {}", modes.join(", "), machine(results)));
            columns.push(name);
        }
        if !models.contains(&row.model.as_str()) {
            models.push(&row.model);
        }
    }
    let mut table = Table::new([vec!["Model".to_owned()], columns.clone()].concat());
    let (mut speeds, mut memories) = (vec![Vec::new(); columns.len()], Vec::new());
    for model in models {
        let mut cells = vec![model.to_owned()];
        for (i, name) in columns.iter().enumerate() {
            let row = rows
                .iter()
                .find(|(results, row)| row.model == model && column(results, row) == *name);
            cells.push(
                match row.and_then(|(_, row)| Some((median(&row.ratios())?, row.memory_ratio()?))) {
                    Some((speed, memory)) => {
                        speeds[i].push(speed);
                        memories.push(memory);
                        format!("{speed:.2}x ({memory:.2}x)")
                    }
                    None => "-".to_owned(),
                },
            );
        }
        table.push(cells);
    }
    let mean = |values: &[f64]| geometric_mean(values).map_or("-".into(), |m| format!("{m:.2}x"));
    let means = speeds.iter().map(|values| mean(values));
    table.push(std::iter::once("(geometric mean)".to_owned()).chain(means).collect());
    let every: Vec<f64> = speeds.concat();
    let least = every.iter().copied().fold(f64::INFINITY, f64::min);
    let most = memories.iter().copied().fold(0.0, f64::max);
    Some(format!(
        "Steps per second over PyTorch's, and in brackets peak memory over PyTorch's.\n\n{}\n\
         All {} cells: speed {} in the geometric mean, {least:.2}x at least; memory {}, {most:.2}x \
         at most. PyTorch's modes, and the machine, of each column:\n\n{}\n",
        table.markdown(),
        every.len(),
        mean(&every),
        mean(&memories),
        how.join("\n"),
    ))
}
