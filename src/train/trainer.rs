//! The training loop.
//!
//! What happens at a step depends on the configuration and the step alone, and the
//! state is saved before anything is shown of it, so a run that is stopped anywhere and
//! given again ends in the same bytes as one that is not.

use super::checkpoint::{self, Checkpoint};
use super::optimiser::AdamW;
use super::state::State;
use super::step::step;
use super::{evaluate, save_weights};
use crate::config::RunConfig;
use crate::data::{Loader, Split};
use crate::error::{Error, Result};
use crate::layers::Weights;
use crate::measure::{self, Phase, Stop, Timer};
use crate::models::Classifier;
use crate::progress::{Bar, Progress};
use crate::records::{
    Evaluation, Event, Events, FinalMetrics, Memory, Metrics, RunFolder, Selection, Speed, Status,
    Wall,
};
use crate::tasks::Dataset;
use candle_core::Device;
use std::collections::BTreeMap;

/// Checkpoints kept beside the best one.
const KEEP: usize = 2;

/// Everything a training needs.
pub struct Job<'a> {
    pub config: &'a RunConfig,
    pub data: &'a Dataset,
    pub device: &'a Device,
    pub model: &'a Classifier,
    pub weights: &'a Weights,
    pub folder: &'a RunFolder,
    pub progress: &'a Progress,
    pub stop: &'a Stop,
    /// Started when the run was.
    pub timer: Timer,
}

/// How far a training came, whether it ended well or not.
#[derive(Debug, Default)]
pub struct Outcome {
    pub steps: u64,
    pub evaluations: Vec<Evaluation>,
    pub final_metrics: Option<FinalMetrics>,
    pub speed: Option<Speed>,
    pub memory: Memory,
    pub wall: Wall,
}

/// How a training ended, and why when not well.
pub(super) fn ended(result: &Result<()>) -> (Status, Option<String>) {
    match result {
        Ok(()) => (Status::Done, None),
        Err(error) => {
            let status = match error {
                Error::Interrupted(_) => Status::Interrupted,
                Error::Diverged { .. } => Status::Diverged,
                Error::OutOfMemory(_) => Status::OutOfMemory,
                _ => Status::Failed,
            };
            (status, Some(error.to_string()))
        }
    }
}

struct Trainer<'a> {
    job: Job<'a>,
    optimiser: AdamW,
    loader: Loader,
    events: Events,
    state: State,
    /// The step of the newest checkpoint.
    saved: Option<u64>,
}

/// Trains, or goes on training, and evaluates. The outcome is told in every case.
pub fn train(job: Job) -> (Outcome, Result<()>) {
    let mut trainer = match Trainer::start(job) {
        Ok(trainer) => trainer,
        Err(error) => return (Outcome::default(), Err(error)),
    };
    let (final_metrics, result) = match trainer.run() {
        Ok(metrics) => (Some(metrics), Ok(())),
        Err(error) => (None, Err(error)),
    };
    trainer.observe();
    let (status, reason) = ended(&result);
    let end = Event::End { at: measure::now(), status, reason };
    // What ended the run says more than a failure to note it.
    let noted = trainer.events.write(&end);
    let result = result.and(noted);
    let State { step, evaluations, speed, memory, wall, .. } = trainer.state;
    (Outcome { steps: step, evaluations, final_metrics, speed, memory, wall }, result)
}

impl<'a> Trainer<'a> {
    fn start(mut job: Job<'a>) -> Result<Self> {
        let optimiser = AdamW::new(job.weights.vars())?;
        let folder = job.folder.checkpoints();
        let device = job.device;
        let (found, warnings) = checkpoint::latest(&folder, device)?;
        warnings.iter().for_each(|line| job.progress.say(line));
        let saved = found.as_ref().map(|c| c.step);
        let state = match found {
            Some(found) => State::restore(found, job.weights, &optimiser, &folder)?,
            None => State::default(),
        };
        let evaluated = state.evaluations.last().map(|e| e.step);
        let mut events = job.folder.events(saved, evaluated)?;
        let (at, lra) = (measure::now(), measure::version());
        match saved {
            Some(from) => {
                job.progress.say(&format!("continuing after step {from}"));
                events.write(&Event::Resumed { at, lra, from })?;
            }
            None => events.write(&Event::Start { at, lra })?,
        }
        let RunConfig { run, model, train, .. } = job.config;
        let split = job.data.train.clone();
        let loader = Loader::new(split, run.seed, train.batch, model.length, train.pad);
        measure::reset_peaks(job.device);
        job.timer.include(state.wall);
        Ok(Self { job, optimiser, loader, events, state, saved })
    }

    fn run(&mut self) -> Result<FinalMetrics> {
        let train = &self.job.config.train;
        self.job.timer.resume()?;
        let bar = self.job.progress.bar("train", "steps", train.steps);
        bar.start_at(self.state.step);
        loop {
            if let Some(signal) = self.job.stop.requested() {
                self.save()?;
                return Err(Error::Interrupted(signal));
            }
            let step = self.state.step;
            let ended = step == train.steps;
            let due = step > 0 && (ended || step.is_multiple_of(train.evaluate_every));
            if due && !self.state.evaluated(step) && !self.evaluate(&bar)? {
                continue; // asked to stop
            }
            let is_best = train.selection == Selection::BestValidation
                && self.state.best().is_some_and(|best| best.step == step);
            if step > 0 && (ended || is_best || step.is_multiple_of(train.checkpoint_every)) {
                self.save()?;
            }
            if ended {
                break;
            }
            if self.step()? {
                bar.advance(1);
                self.note(&bar);
            }
        }
        drop(bar);
        self.finish()
    }

    /// One update. `false` when asked to stop in the middle; nothing has changed then.
    fn step(&mut self) -> Result<bool> {
        let Job { config, model, stop, timer, .. } = &mut self.job;
        let at = self.state.step;
        let late = self.loader.is_late(at)?;
        let batch = match late {
            true => timer.during(Phase::WaitData, || self.loader.batch(at))?,
            false => self.loader.batch(at)?,
        };
        let asked = || stop.requested().is_some();
        let Some(done) = step(model, &mut self.optimiser, &batch, config, at, &asked)? else {
            return Ok(false);
        };
        self.state.step += 1;
        self.state.loss_sum += done.loss;
        self.state.loss_count += 1;
        self.job.timer.step(batch.len() as u64, batch.tokens() as u64)?;
        let step = self.state.step;
        self.events.write(&Event::Train {
            step,
            loss: done.loss,
            lr: done.rate,
            gradient_norm: done.gradient_norm,
        })?;
        Ok(true)
    }

    fn note(&self, bar: &Bar) {
        let mean = self.state.loss_sum / self.state.loss_count.max(1) as f64;
        let rate = self.job.timer.rate().map_or(String::new(), |r| format!(", {r:.2} steps/s"));
        let last = self.state.evaluations.last();
        let accuracy = last.map_or(String::new(), |e| {
            format!(", accuracy {:.1} %", e.validation.accuracy * 100.0)
        });
        bar.note(format!("loss {mean:.3}{accuracy}{rate}"));
    }

    /// Evaluates on the validation split. `false` when asked to stop meanwhile.
    fn evaluate(&mut self, bar: &Bar) -> Result<bool> {
        let split = self.job.data.validation.clone();
        let wanted = self.job.config.train.evaluate_examples;
        let examples = if wanted == 0 { split.len() } else { wanted.min(split.len()) };
        let Some(validation) = self.score(&split, examples, "validate")? else {
            return Ok(false);
        };
        let train_loss = self.state.loss_sum / self.state.loss_count.max(1) as f64;
        let step = self.state.step;
        (self.state.loss_sum, self.state.loss_count) = (0.0, 0);
        self.state.evaluations.push(Evaluation { step, train_loss, validation });
        let Metrics { loss, accuracy, examples } = validation;
        self.events.write(&Event::Evaluation { step, train_loss, loss, accuracy, examples })?;
        if let Some(Speed { steps_per_second, examples_per_second, tokens_per_second, .. }) =
            self.job.timer.speed()?
        {
            self.events.write(&Event::Speed {
                step,
                steps_per_second,
                examples_per_second,
                tokens_per_second,
            })?;
        }
        bar.say(&format!(
            "step {step}: train loss {train_loss:.3}, validation loss {loss:.3}, accuracy {:.1} %",
            accuracy * 100.0
        ));
        Ok(true)
    }

    /// `None` when asked to stop meanwhile.
    fn score(
        &mut self,
        split: &Split,
        examples: usize,
        what: &'static str,
    ) -> Result<Option<Metrics>> {
        let Job { config, model, progress, stop, timer, .. } = &mut self.job;
        let bar = progress.bar(what, "examples", examples as u64);
        let asked = || stop.requested().is_some();
        let step = self.state.step;
        let found = timer.during(Phase::Evaluate, || {
            evaluate(model, config, split, examples, step, &bar, &asked)
        })?;
        match found {
            // Before anything is made of it: no checkpoint, no result.
            Some(Metrics { loss, .. }) if !loss.is_finite() => {
                let what = format!("`loss` of an evaluation ({what}) is {loss}");
                Err(Error::Diverged { step, what })
            }
            found => Ok(found),
        }
    }

    /// Writes a checkpoint of the present step, unless there is one.
    fn save(&mut self) -> Result<()> {
        if self.saved == Some(self.state.step) {
            return Ok(());
        }
        self.observe();
        self.events.sync()?;
        let folder = self.job.folder.checkpoints();
        let checkpoint: Checkpoint = self.state.checkpoint(&self.optimiser)?;
        let keep: Vec<u64> = self.state.best().map(|best| best.step).into_iter().collect();
        self.job.timer.during(Phase::Checkpoint, || {
            checkpoint.save(&folder)?;
            checkpoint::prune(&folder, KEEP, &keep)
        })?;
        self.saved = Some(self.state.step);
        self.events.write(&Event::Checkpoint { step: self.state.step })
    }

    /// Brings times and peaks of the state up to now.
    fn observe(&mut self) {
        let state = &mut self.state;
        state.wall = self.job.timer.wall();
        state.take_speed(self.job.timer.speed().ok().flatten());
        let memory = &mut state.memory;
        memory.peak_live = memory.peak_live.max(measure::peak_live());
        memory.peak_pool_used = memory.peak_pool_used.max(measure::peak_pool(self.job.device));
        memory.peak_resident = memory.peak_resident.max(measure::peak_resident());
        let bytes = |v: &candle_core::Var| v.elem_count() * v.dtype().size_in_bytes();
        memory.parameters = self.optimiser.vars().values().map(bytes).sum::<usize>() as u64;
        memory.optimiser = 2 * memory.parameters;
    }

    /// Metrics of the selected weights on all of validation and test.
    fn finish(&mut self) -> Result<FinalMetrics> {
        let data = self.job.data;
        let selected = match self.job.config.train.selection {
            Selection::Last => self.state.step,
            Selection::BestValidation => self.state.best().map_or(self.state.step, |e| e.step),
        };
        if selected != self.state.step {
            let path = checkpoint::path(&self.job.folder.checkpoints(), selected);
            let found = checkpoint::load(&path, self.job.device)?;
            State::restore(found, self.job.weights, &self.optimiser, &path)?;
        }
        let mut of = |split: &Split, what| -> Result<Metrics> {
            match self.score(split, split.len(), what)? {
                Some(metrics) => Ok(metrics),
                None => Err(Error::Interrupted(self.job.stop.requested().unwrap_or(2))),
            }
        };
        let (validation, test) = (of(&data.validation, "validate")?, of(&data.test, "test")?);
        let tensors = self.job.weights.vars();
        let tensors = tensors.iter().map(|(name, v)| (name.clone(), v.as_tensor().clone()));
        let run = &self.job.config.run;
        let metadata = BTreeMap::from([
            ("task".to_string(), run.task.clone()),
            ("model".to_string(), run.model.clone()),
            ("step".to_string(), selected.to_string()),
        ]);
        save_weights(&self.job.folder.model(), &tensors.collect(), &metadata)?;
        Ok(FinalMetrics { step: selected, validation, test })
    }
}
