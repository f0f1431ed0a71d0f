//! Records that no run made, and run folders that hold them.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use lra::records::*;
use std::fs;
use std::path::{Path, PathBuf};

pub fn record(task: &str, model: &str, seed: u64, percent: f64) -> Record {
    let metrics = Metrics { loss: 1.5, accuracy: percent / 100.0, examples: 2000 };
    Record {
        version: RECORD_VERSION,
        status: Status::Done,
        reason: None,
        task: task.into(),
        model: model.into(),
        preset: "quick".into(),
        seed,
        config: serde_json::json!({
            "run": {"task": task, "model": model, "preset": "quick", "seed": seed},
            "train": {"lr": 0.001},
        }),
        data: DataRecord {
            source: "generated".into(),
            version: 1,
            checksum: "ab".repeat(32),
            train: 960,
            validation: 100,
            test: 2000,
            classes: 10,
            majority: 0.17,
        },
        parameters: 12345,
        steps: 100,
        selection: Selection::Last,
        final_metrics: Some(FinalMetrics { step: 100, validation: metrics, test: metrics }),
        evaluations: vec![Evaluation { step: 100, train_loss: 2.0, validation: metrics }],
        speed: Some(Speed {
            steps_per_second: 2.0,
            steps_per_second_mad: 0.1,
            steps_per_second_min: 1.8,
            examples_per_second: 64.0,
            tokens_per_second: 64000.0,
            windows: 5,
            warmup_steps: 10,
        }),
        memory: Memory {
            peak_live: Some(400_000_000),
            peak_resident: Some(500_000_000),
            parameters: 49380,
            optimiser: 98760,
            peak_pool_used: None,
        },
        wall: Wall { train: 50.0, total: 60.0, ..Wall::default() },
        environment: Environment {
            lra: "0.1.0".into(),
            cpu: "Test CPU".into(),
            cores: 4,
            threads: 2,
            device: "cpu".into(),
            dtype: "f32".into(),
            started: "2026-01-01T00:00:00Z".into(),
            finished: "2026-01-01T00:01:00Z".into(),
            ..Environment::default()
        },
    }
}

/// Writes a run folder as a run would leave it.
pub fn save(root: &Path, name: &str, record: &Record) -> PathBuf {
    let folder = root.join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.json"), record.config.to_string()).unwrap();
    fs::write(folder.join("record.json"), serde_json::to_vec_pretty(record).unwrap()).unwrap();
    folder
}

pub fn save_all(root: &Path, records: &[Record]) {
    for (number, record) in records.iter().enumerate() {
        save(root, &format!("run-{number:04}"), record);
    }
}
