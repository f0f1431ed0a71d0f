//! What a person sees while something runs: bars on a terminal, plain lines elsewhere.
//!
//! Everything here goes to standard error; standard output carries results only.
//! `NO_COLOR` and `-q` are honoured, and a closed stream is not an error.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy)]
pub struct Progress {
    quiet: bool,
    terminal: bool,
    colour: bool,
}

impl Progress {
    pub fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self { quiet, terminal, colour }
    }

    /// Shows nothing: for tests and library use.
    pub fn silent() -> Self {
        Self { quiet: true, terminal: false, colour: false }
    }

    /// One line of information.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            // A closed stderr must not end the run.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// A bar over `total` units with rate and ETA.
    pub fn bar(&self, what: impl Into<Cow<'static, str>>, unit: &'static str, total: u64) -> Bar {
        self.made(what.into(), unit, total, true)
    }

    fn made(&self, what: Cow<'static, str>, unit: &'static str, total: u64, paced: bool) -> Bar {
        let bar = match self.draws() {
            true => ProgressBar::new(total),
            false => ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden()),
        };
        let lines = (!self.quiet && !self.terminal).then(|| Mutex::new(Instant::now()));
        self.dressed(Bar { bar, what, unit, total, paced, lines })
    }

    /// One bar over all, and others below it that come and go. What it counts is few and of
    /// every length, so it has no rate and no ETA.
    pub fn board(&self, what: &'static str, unit: &'static str, total: u64) -> Board {
        let all = MultiProgress::new();
        let mut top = self.made(what.into(), unit, total, false);
        if self.draws() {
            top.bar = all.add(top.bar.clone());
        }
        Board { progress: *self, all, top }
    }

    fn draws(&self) -> bool {
        !self.quiet && self.terminal
    }

    fn dressed(&self, made: Bar) -> Bar {
        let Bar { bar, what, unit, paced, .. } = &made;
        if self.draws() {
            let (blue, dim) = if self.colour { (".blue", ".dim") } else { ("", "") };
            let pace = if *paced { " {per_sec} ETA {eta}" } else { "" };
            let template = format!(
                "{{prefix:>10}} {{bar:24{blue}}} {{pos}}/{{len}} {unit}{pace} {{wide_msg:{dim}}}"
            )
            .replace("{wide_msg:}", "{wide_msg}");
            if let Ok(style) = ProgressStyle::with_template(&template) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        bar.set_prefix(what.clone());
        made
    }
}

/// Several bars at once. Where nothing can be redrawn, the top one alone says lines.
pub struct Board {
    progress: Progress,
    all: MultiProgress,
    pub top: Bar,
}

impl Board {
    /// A further bar, until it is dropped.
    pub fn bar(&self, what: String, unit: &'static str, total: u64) -> Bar {
        let bar = match self.progress.draws() {
            true => self.all.add(ProgressBar::new(total)),
            false => ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden()),
        };
        let what = what.into();
        self.progress.dressed(Bar { bar, what, unit, total, paced: true, lines: None })
    }
}

/// Where nothing can be redrawn, a line this often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Seconds of a year, beyond which an estimate is none.
const YEAR: u64 = 365 * 24 * 3600;

/// A running bar. Cheap to advance from several threads.
pub struct Bar {
    bar: ProgressBar,
    what: Cow<'static, str>,
    unit: &'static str,
    total: u64,
    /// Whether how fast it went says how long the rest takes.
    paced: bool,
    lines: Option<Mutex<Instant>>,
}

impl Bar {
    pub fn advance(&self, by: u64) {
        self.bar.inc(by);
        self.beat();
    }

    /// Says where it is, if it is time for a line.
    pub fn beat(&self) {
        let Some(last) = &self.lines else { return };
        let Ok(mut last) = last.try_lock() else { return };
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            self.line();
        }
    }

    /// Moves to an absolute position, e.g. when a run continues.
    pub fn start_at(&self, position: u64) {
        self.bar.set_position(position);
        // The jump must be seen before the estimate starts anew, or it counts as speed.
        self.bar.tick();
        self.bar.reset_eta();
    }

    /// Moves to an absolute position as work goes on.
    pub fn set(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// A short note shown behind the bar: loss, accuracy, speed.
    pub fn note(&self, note: impl Into<String>) {
        self.bar.set_message(note.into());
    }

    /// A full line above the bar.
    pub fn say(&self, line: &str) {
        if self.lines.is_some() {
            let _ = writeln!(std::io::stderr(), "{line}");
        } else {
            self.bar.println(line);
        }
    }

    fn line(&self) {
        let (at, note) = (self.bar.position(), self.bar.message());
        // Without a rate yet, or after long pauses, the bar's estimate is no time at all.
        let eta = match self.bar.eta().as_secs() {
            _ if !self.paced => String::new(),
            seconds if at > 0 && seconds < YEAR => format!(", ETA {seconds} s"),
            _ => ", ETA unknown".to_owned(),
        };
        let _ = writeln!(
            std::io::stderr(),
            "{}: {at}/{} {}{eta}{}{note}",
            self.what,
            self.total,
            self.unit,
            if note.is_empty() { "" } else { ", " }
        );
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
