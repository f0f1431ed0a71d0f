//! One run from a resolved configuration to its record: data, model, folder, training.

use super::plan::{check_memory, plan};
use super::trainer::{Job, Outcome, ended, train};
use crate::attention::Variant;
use crate::config::{Card, RunConfig, Sizes};
use crate::error::{Error, Result};
use crate::layers::Weights;
use crate::measure::{self, Stop, Timer};
use crate::models::Classifier;
use crate::progress::Progress;
use crate::records::{
    DataRecord, Memory, RECORD_VERSION, Record, RunFolder, Status, Wall, finish_draft,
};
use crate::tasks::{Dataset, Places, Task};
use candle_core::Device;
use std::io::Write;
use std::path::Path;

/// What a run is given beside its configuration; none of it changes its numbers.
pub struct Setting<'a> {
    pub task: &'a dyn Task,
    pub variant: &'a Variant,
    pub places: &'a Places,
    pub folder: &'a Path,
    pub device: &'a Device,
    pub progress: &'a Progress,
    pub stop: &'a Stop,
    /// Whether the run is shown in TensorBoard too.
    pub tensorboard: bool,
}

/// Autograd walks and drops its graph by recursion.
const STACK: usize = 1 << 30;

/// Runs `work` on a thread whose stack an autograd graph of any depth fits, and which is one of
/// those that its parallel ops run on: a thread beside them would sleep through each op, and be
/// woken for what little is done between two.
pub fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let cannot = |source| Error::Io { action: "start", path: "the training thread".into(), source };
    let threads = rayon::current_num_threads();
    let here = move || {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread();
        let pool = pool.build().map_err(|error| cannot(std::io::Error::other(error)))?;
        // What a thread reserves when it begins is gone before anyone asks what memory is left.
        pool.broadcast(|_| ());
        work()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("train".into()).stack_size(STACK);
        let started = thread.spawn_scoped(scope, here).map_err(cannot)?;
        started.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs, or goes on with, the training that `folder` belongs to. The record is written
/// whatever happened once training had begun.
pub fn run(config: &RunConfig, setting: &Setting) -> Result<Record> {
    on_large_stack(|| run_here(config, setting))
}

fn run_here(config: &RunConfig, setting: &Setting) -> Result<Record> {
    let Setting { task, variant, places, progress, .. } = *setting;
    let json = serde_json::to_value(config).map_err(candle_core::Error::wrap)?;
    let environment =
        measure::observe(setting.device, config.run.dtype.candle(), rayon::current_num_threads());
    let timer = Timer::new(setting.device);
    // Before the data are made, which may take an hour.
    check_memory(config, variant, Card::of(task)?.sizes(), setting.device)?;
    let data = setting.stop.at_once(|| task.load(&config.data, places, progress))?;
    if config.model.length > data.max_length {
        let message = format!(
            "{} is above the maximum of {} tokens that task {} has",
            config.model.length, data.max_length, config.run.task
        );
        return Err(Error::config("model.length", message));
    }
    let (model, weights) = build(config, variant, data.sizes(), setting.device)?;
    // Only now: a configuration that cannot be run leaves no folder behind.
    let folder = RunFolder::open(setting.folder, &json)?;
    if setting.tensorboard {
        folder.show_board()?;
    }
    if let Some(record) = folder.read_record()?
        && matches!(record.status, Status::Done | Status::Diverged)
    {
        progress.say("this run has ended before; remove its folder to run it again");
        return Ok(record);
    }
    let draft = Record {
        version: RECORD_VERSION,
        status: Status::Interrupted,
        reason: None,
        task: config.run.task.clone(),
        model: config.run.model.clone(),
        preset: config.run.preset.clone(),
        seed: config.run.seed,
        config: json,
        data: describe(&data),
        parameters: weights.count() as u64,
        steps: 0,
        selection: config.train.selection,
        final_metrics: None,
        evaluations: Vec::new(),
        speed: None,
        memory: Memory::default(),
        wall: Wall::default(),
        environment,
    };
    folder.write_draft(&draft)?;
    let path = setting.folder.to_path_buf();
    measure::on_exhaustion(Some(Box::new(move |bytes| end_without_memory(&path, bytes))));
    let job = Job {
        config,
        data: &data,
        device: setting.device,
        model: &model,
        weights: &weights,
        folder: &folder,
        progress,
        stop: setting.stop,
        timer,
    };
    let (outcome, result) = train(job);
    measure::on_exhaustion(None);
    let (status, reason) = ended(&result);
    let Outcome { steps, evaluations, final_metrics, speed, memory, wall } = outcome;
    let mut environment = draft.environment.clone();
    measure::finish(&mut environment);
    let record = Record {
        status,
        reason,
        steps,
        evaluations,
        final_metrics,
        speed,
        memory,
        wall,
        environment,
        ..draft
    };
    let written = folder.write_record(&record);
    // What ended the run says more than a failure to note it.
    result?;
    written?;
    Ok(record)
}

/// The last a process does whose memory cannot be had: its checkpoints stand, and the record
/// says why there are no more.
fn end_without_memory(folder: &Path, bytes: usize) {
    let error = Error::OutOfMemory(format!(
        "{bytes} bytes more cannot be had; a smaller --micro-batch, or --recompute, needs less"
    ));
    let _ = finish_draft(folder, Status::OutOfMemory, &error.to_string());
    let _ = writeln!(std::io::stderr(), "error: {error}");
    std::process::exit(error.exit_code().into());
}

/// The model of a configuration and its weights, drawn from the run's seed.
pub fn build(
    config: &RunConfig,
    variant: &Variant,
    sizes: Sizes,
    device: &Device,
) -> Result<(Classifier, Weights)> {
    let weights = Weights::new(config.run.seed);
    let kind = (config.run.dtype.candle(), device);
    let model = Classifier::new(&config.model, variant, &config.attention, sizes, &weights, kind)?;
    Ok((model.recomputing(config.run.recompute), weights))
}

fn describe(data: &Dataset) -> DataRecord {
    let mut counts = vec![0u64; data.classes];
    for i in 0..data.test.len() {
        if let Some(count) = counts.get_mut(data.test.label(i) as usize) {
            *count += 1;
        }
    }
    let most = counts.iter().copied().max().unwrap_or(0);
    DataRecord {
        source: data.source.clone(),
        version: data.version,
        checksum: data.checksum.clone(),
        train: data.train.len() as u64,
        validation: data.validation.len() as u64,
        test: data.test.len() as u64,
        classes: data.classes as u32,
        majority: most as f64 / data.test.len().max(1) as f64,
    }
}

/// Examples per forward pass when none are asked for: as many as cost no more than about
/// a second of two CPU cores, so that a stop is heard soon and memory stays small. A
/// function of the configuration alone, so that every machine takes the same.
pub fn micro_batch(
    config: &RunConfig,
    variant: &Variant,
    sizes: Sizes,
    device: &Device,
) -> Result<usize> {
    const FLOPS: f64 = 1e11;
    if !device.is_cpu() {
        return Ok(config.train.batch);
    }
    let example = 3.0 * plan(config, variant, sizes)?.forward;
    Ok(((FLOPS / example.max(1.0)) as usize).clamp(1, config.train.batch))
}
