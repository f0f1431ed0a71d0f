//! The one JSON document a run leaves behind, `record.json`.
//!
//! Reports and checks read these and nothing else, so everything they show is here.

use super::float::or_nan;
use serde::{Deserialize, Serialize};

/// Raised when a field changes meaning; a reader refuses a newer one.
pub const RECORD_VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub version: u32,
    pub status: Status,
    /// Why, when `status` is not `done`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub task: String,
    pub model: String,
    pub preset: String,
    pub seed: u64,
    /// The resolved configuration, as in `config.json`.
    pub config: serde_json::Value,
    pub data: DataRecord,
    /// Trainable parameters.
    pub parameters: u64,
    /// Steps trained (the configured number when `done`).
    pub steps: u64,
    /// Which checkpoint the final metrics are of.
    pub selection: Selection,
    /// Metrics of the selected checkpoint; `None` when the run did not get there.
    #[serde(default)]
    pub final_metrics: Option<FinalMetrics>,
    /// Every evaluation on the validation split, in order.
    pub evaluations: Vec<Evaluation>,
    pub speed: Option<Speed>,
    pub memory: Memory,
    pub wall: Wall,
    pub environment: Environment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Done,
    Diverged,
    OutOfMemory,
    Interrupted,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// The last checkpoint (the LRA paper's rule).
    Last,
    /// The checkpoint with the best validation accuracy (the Nystromformer protocol's rule).
    BestValidation,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataRecord {
    /// `generated`, or the path the official files were read from.
    pub source: String,
    /// Version of the task's loader or generator; changes whenever the examples do.
    pub version: u32,
    /// SHA-256 over the prepared examples of all splits.
    pub checksum: String,
    pub train: u64,
    pub validation: u64,
    pub test: u64,
    pub classes: u32,
    /// Share of the most frequent class of the test split, 0 to 1.
    pub majority: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FinalMetrics {
    /// The step the selected checkpoint was taken at.
    pub step: u64,
    pub validation: Metrics,
    pub test: Metrics,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean cross-entropy in nats.
    #[serde(deserialize_with = "or_nan")]
    pub loss: f64,
    /// Share of correct answers, 0 to 1.
    pub accuracy: f64,
    pub examples: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub step: u64,
    /// Mean training loss since the previous evaluation, in nats.
    #[serde(deserialize_with = "or_nan")]
    pub train_loss: f64,
    pub validation: Metrics,
}

/// Training speed, over windows of steps after warm-up; evaluation, checkpoints and
/// waiting for data are left out (see `Wall`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Median over windows.
    pub steps_per_second: f64,
    /// Median absolute deviation over windows.
    pub steps_per_second_mad: f64,
    pub steps_per_second_min: f64,
    pub examples_per_second: f64,
    /// Real (unpadded) tokens.
    pub tokens_per_second: f64,
    pub windows: u32,
    pub warmup_steps: u64,
}

/// Peak memory by each meter, in bytes. `None`: the meter does not exist here.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// High-water mark of live heap bytes while training (counting allocator).
    pub peak_live: Option<u64>,
    /// `VmHWM` while training, reset after set-up where the kernel allows it.
    pub peak_resident: Option<u64>,
    pub parameters: u64,
    pub optimiser: u64,
    /// CUDA: high-water mark of the stream-ordered pool, used bytes.
    pub peak_pool_used: Option<u64>,
}

/// Wall-clock seconds by phase, over all sittings of the run.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Wall {
    pub prepare_data: f64,
    pub train: f64,
    /// Part of no other phase: the trainer waited for a batch.
    pub wait_data: f64,
    pub evaluate: f64,
    pub checkpoint: f64,
    pub total: f64,
}

impl std::ops::Add for Wall {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            prepare_data: self.prepare_data + other.prepare_data,
            train: self.train + other.train,
            wait_data: self.wait_data + other.wait_data,
            evaluate: self.evaluate + other.evaluate,
            checkpoint: self.checkpoint + other.checkpoint,
            total: self.total + other.total,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Environment {
    /// `lra`'s version, with the git hash of its source when built from a checkout.
    pub lra: String,
    pub git: Option<String>,
    pub os: String,
    pub cpu: String,
    /// The widest vector instructions that kernels are written for; processors of one name
    /// differ in it. `None` in records older than this.
    #[serde(default)]
    pub instructions: Option<String>,
    pub cores: u32,
    /// Threads used.
    pub threads: u32,
    /// One-minute load average at the start.
    pub load: Option<f64>,
    pub memory_bytes: Option<u64>,
    /// `cpu`, or `cuda:0` and so on.
    pub device: String,
    pub gpu: Option<String>,
    pub gpu_driver: Option<String>,
    /// Whether f32 matrix products may use TF32; `None` on a CPU.
    pub tf32: Option<bool>,
    pub dtype: String,
    /// RFC 3339, UTC.
    pub started: String,
    pub finished: String,
}

impl Environment {
    /// The GPU, or else the CPU with its vector instructions where they are known.
    pub fn processor(&self) -> String {
        match (&self.gpu, &self.instructions) {
            (Some(gpu), _) => gpu.clone(),
            (None, Some(instructions)) => format!("{} with {instructions}", self.cpu),
            (None, None) => self.cpu.clone(),
        }
    }
}
