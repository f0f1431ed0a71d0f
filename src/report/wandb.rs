//! A run's history for Weights & Biases: one JSON object a line, which its Python package takes
//! in (`docs/CI.md`).
//!
//! The first line is the run (`_name`, `_config`), the last its `_summary`; each between holds
//! the figures of one step and its number, `_step`.

use crate::error::Result;
use crate::records::{EVENTS_FILE, RECORD_FILE, read_events, read_record, scalars};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The lines of a run that has ended.
pub fn history(folder: &Path) -> Result<Vec<Value>> {
    let record = read_record(&folder.join(RECORD_FILE))?;
    let mut steps: BTreeMap<u64, Map<String, Value>> = BTreeMap::new();
    for event in read_events(&folder.join(EVENTS_FILE))? {
        let Some((step, figures)) = scalars(&event) else { continue };
        // What is no number, JSON has no word for: that figure is left out.
        let figures = figures.into_iter().filter(|(_, value)| value.is_finite());
        let named = figures.map(|(name, value)| (name.to_owned(), json!(value)));
        steps.entry(step).or_default().extend(named);
    }
    let name = format!("{}-{}-{}-s{}", record.task, record.model, record.preset, record.seed);
    let mut lines = vec![json!({ "_name": name, "_config": record.config })];
    lines.extend(steps.into_iter().map(|(step, figures)| {
        let mut line = Map::from_iter([("_step".to_owned(), json!(step))]);
        line.extend(figures);
        Value::Object(line)
    }));
    lines.push(json!({ "_summary": {
        "status": record.status,
        "parameters": record.parameters,
        "test/accuracy": record.final_metrics.as_ref().map(|m| m.test.accuracy),
        "test/loss": record.final_metrics.as_ref().map(|m| m.test.loss),
        "validation/accuracy": record.final_metrics.as_ref().map(|m| m.validation.accuracy),
        "speed/steps_per_second": record.speed.as_ref().map(|s| s.steps_per_second),
        "memory/peak_live": record.memory.peak_live,
        "memory/peak_resident": record.memory.peak_resident,
        "environment": record.environment,
    }}));
    Ok(lines)
}
