//! The process of a cell, seen from outside.

use super::cell::{Cell, Counted, Memory, Ready, Window};
use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A process that answers commands. Dropped, it is stopped.
pub struct Worker {
    name: String,
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// What it says beside its answers: a file, since a full pipe would stop it.
    said: File,
    pub ready: Ready,
}

impl Worker {
    /// This program on a cell.
    pub fn own(cell: &Cell) -> Result<Self> {
        let program = std::env::current_exe().map_err(|source| Error::Io {
            action: "find",
            path: "this program".into(),
            source,
        })?;
        Self::lra(&program, cell)
    }

    /// An `lra`, this version or another, on a cell.
    pub fn lra(program: &Path, cell: &Cell) -> Result<Self> {
        Self::start("lra", program, &[OsStr::new("bench"), OsStr::new("--cell")], &[], cell)
    }

    /// A peer in Python: `script` run by `python`, in a mode.
    pub fn peer(python: &Path, script: &Path, mode: &str, cell: &Cell) -> Result<Self> {
        let before = [script.as_os_str(), OsStr::new("--cell")];
        let after = [OsStr::new("--mode"), OsStr::new(mode)];
        Self::start(&format!("torch {mode}"), python, &before, &after, cell)
    }

    fn start(
        name: &str,
        program: &Path,
        before: &[&OsStr],
        after: &[&OsStr],
        cell: &Cell,
    ) -> Result<Self> {
        let json = serde_json::to_string(cell).map_err(candle_core::Error::wrap)?;
        let io = |source| Error::Io { action: "start", path: program.to_path_buf(), source };
        let said = tempfile::tempfile().map_err(io)?;
        let mut command = Command::new(program);
        command.args(before).arg(json).args(after).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(said.try_clone().map_err(io)?);
        let mut child = command.spawn().map_err(io)?;
        let (Some(commands), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io(std::io::ErrorKind::BrokenPipe.into()));
        };
        let answers = BufReader::new(answers);
        let ready = Ready { ready: false, parameters: 0, torch: None, mode: None, attention: None };
        let mut worker = Self { name: name.to_owned(), child, commands, answers, said, ready };
        worker.ready = worker.answer()?;
        Ok(worker)
    }

    /// Trains for at least so many seconds.
    pub fn train(&mut self, seconds: f64) -> Result<Window> {
        self.ask(&format!("window {seconds}"))
    }

    /// Scores for at least so many seconds.
    pub fn evaluate(&mut self, seconds: f64) -> Result<Window> {
        self.ask(&format!("evaluate {seconds}"))
    }

    /// Trains so many steps and tells what they counted.
    pub fn steps(&mut self, steps: u64) -> Result<Counted> {
        self.ask(&format!("steps {steps}"))
    }

    /// Multiplies matrices for at least so many seconds.
    pub fn calibrate(&mut self, seconds: f64) -> Result<Window> {
        self.ask(&format!("calibrate {seconds}"))
    }

    /// Seconds that its threads have computed, as the kernel counts them: what others have
    /// taken of the machine is not in it. `None` where it is not told.
    pub fn computed(&self) -> Option<f64> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()?;
        let mut nanoseconds = 0;
        for task in tasks.flatten() {
            // A thread may end between the two.
            let Ok(text) = std::fs::read_to_string(task.path().join("schedstat")) else { continue };
            nanoseconds += text.split_whitespace().next()?.parse::<u64>().ok()?;
        }
        (nanoseconds > 0).then(|| nanoseconds as f64 / 1e9)
    }

    pub fn end(mut self) -> Result<Memory> {
        self.ask("end")
    }

    fn ask<T: DeserializeOwned>(&mut self, command: &str) -> Result<T> {
        let sent = writeln!(self.commands, "{command}").and_then(|()| self.commands.flush());
        match sent {
            Ok(()) => self.answer(),
            Err(_) => Err(self.failed("it no longer listens")),
        }
    }

    fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(count) if count > 0 => {}
            _ => return Err(self.failed("it ended without an answer")),
        }
        serde_json::from_str(&line).map_err(|_| self.failed(&format!("it answered `{line}`")))
    }

    /// What the process said of its end.
    fn failed(&mut self, what: &str) -> Error {
        let mut ended = None;
        // What has closed its output is about to end; what has not is stopped.
        for _ in 0..20 {
            ended = self.child.try_wait().ok().flatten();
            if ended.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        // The kernel ends what takes more memory than there is.
        let killed =
            ended.is_some_and(|status| status.signal() == Some(9) || status.code() == Some(6));
        let mut said = String::new();
        let _ = self.said.rewind();
        let _ = (&self.said).take(1 << 20).read_to_string(&mut said);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let message = format!("the process of {}: {what}; {last}", self.name);
        if killed { Error::OutOfMemory(message) } else { Error::usage(message) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
