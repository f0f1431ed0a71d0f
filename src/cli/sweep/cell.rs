//! One cell of a sweep: its folder, its process, and what becomes of both.

use super::SweepArgs;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::printable;
use crate::records::{RECORD_FILE, Record, RunKey, Status, finish_draft, last_step, read_record};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

pub(super) struct Cell {
    pub run: RunKey,
    pub folder: PathBuf,
    pub config: RunConfig,
}

/// Of a log, what its last line is looked for in: a run that failed may have said much.
const TAIL: u64 = 1 << 16;

impl Cell {
    pub(super) fn name(&self) -> String {
        format!("{} on {}, seed {}", self.run.model, self.run.task, self.run.seed)
    }

    /// The record, once the run has ended.
    pub(super) fn record(&self) -> Option<Record> {
        read_record(&self.folder.join(RECORD_FILE)).ok()
    }

    /// The record of a run that is not to be run again.
    pub(super) fn ended(&self) -> Option<Record> {
        self.record().filter(|r| matches!(r.status, Status::Done | Status::Diverged))
    }

    /// How far the run is.
    pub(super) fn step(&self) -> Option<u64> {
        last_step(&self.folder)
    }

    pub(super) fn start(&self, args: &SweepArgs) -> Result<Child> {
        let io = |source| Error::Io { action: "start", path: "lra run".into(), source };
        let program = std::env::current_exe().map_err(io)?;
        std::fs::create_dir_all(&args.out).map_err(io)?;
        let log = std::fs::File::create(self.log()).map_err(io)?;
        let RunKey { preset, task, model, seed } = &self.run;
        let mut command = Command::new(program);
        command.args(["run", "--model", model, "--task", task, "--preset", preset]);
        command.args(["--seed", &seed.to_string()]).arg("--out").arg(&self.folder);
        command.args(["--device", &args.device, "--dtype", args.dtype.name()]);
        args.set.iter().for_each(|set| {
            command.args(["--set", set]);
        });
        if let Some(steps) = args.steps {
            command.args(["--steps", &steps.to_string()]);
        }
        if let Some(examples) = args.micro_batch {
            command.args(["--micro-batch", &examples.to_string()]);
        }
        if let Some(threads) = args.threads {
            command.args(["--threads", &threads.to_string()]);
        }
        if args.tensorboard {
            command.arg("--tensorboard");
        }
        if let Some(dir) = &args.data_dir {
            command.arg("--data-dir").arg(dir);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(io)?).stderr(log);
        // In a group of its own: a Ctrl-C at the terminal reaches the sweep alone, which passes
        // it on.
        command.process_group(0).spawn().map_err(io)
    }

    /// A failure in the run's own words. What the system killed could not write its record.
    pub(super) fn failure(&self, status: ExitStatus) -> String {
        let name = self.name();
        if status.signal() == Some(Signal::KILL.as_raw()) {
            let reason = "killed by SIGKILL, as the system does where memory is short; a smaller \
                          --micro-batch needs less";
            return match finish_draft(&self.folder, Status::OutOfMemory, reason) {
                Ok(_) => format!("{name}: {reason}"),
                Err(error) => format!("{name}: {reason}; no record of it: {error}"),
            };
        }
        format!("{name}: {status}: {}", printable::line(&self.last_words()))
    }

    /// The last line of the log that says something.
    fn last_words(&self) -> String {
        let mut tail = Vec::new();
        let read = std::fs::File::open(self.log()).and_then(|mut log| {
            let length = log.metadata()?.len();
            log.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
            log.take(TAIL).read_to_end(&mut tail)
        });
        let text = String::from_utf8_lossy(&tail);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        match (read, last) {
            (Err(error), _) => format!("{}: {error}", self.log().display()),
            (_, last) => last.unwrap_or("it said nothing").to_owned(),
        }
    }

    /// Where a cell's lines go, beside its folder.
    fn log(&self) -> PathBuf {
        self.folder.with_extension("log")
    }
}

/// A run that has just ended hears nothing, and needs not.
pub(super) fn ask_to_stop(child: &Child) {
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
}
