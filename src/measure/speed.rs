//! The step timer: where the time of a run goes, and how fast its steps are.
//!
//! At every moment a run is in one phase. A timer starts in [`Phase::PrepareData`]; the
//! first [`Timer::resume`] begins training. Speed is counted on a clock that runs in
//! [`Phase::Train`] alone, in windows of 10 steps or half a second, whichever is over first,
//! after a warm-up of 10 steps or of three windows that agree within 5 %.
//!
//! Devices that work behind the program's back are synchronised at the edges of windows and
//! phases and nowhere else. So enter [`Phase::WaitData`] only when the next batch is not
//! there yet: the device first ends what it has, which is training, and what then remains is
//! waiting.
//!
//! A run too short for the five windows that a figure to be quoted needs still reports one:
//! `windows` says of how many, and `warmup_steps: 0` that the warm-up was never left and is
//! in it. Only a run without a step has none.

use super::windows::{Window, Windows};
use crate::error::Result;
use crate::records::{Speed, Wall};
use candle_core::Device;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    PrepareData,
    Train,
    WaitData,
    Evaluate,
    Checkpoint,
}

pub struct Timer {
    clock: Box<dyn Fn() -> Duration + Send>,
    synchronise: Box<dyn Fn() -> Result<()> + Send>,
    phase: Phase,
    /// When the phase began.
    since: Duration,
    wall: Wall,
    /// Time in training in this sitting, up to `since`.
    trained: Duration,
    windows: Windows,
    /// The window being filled and the value of the training clock at its start.
    window: Window,
    start: Duration,
}

impl Timer {
    /// On the monotonic clock, for steps on `device`, in the phase of preparing data.
    pub fn new(device: &Device) -> Self {
        let (origin, device) = (Instant::now(), device.clone());
        Self::with_clock(move || origin.elapsed(), move || Ok(device.synchronize()?))
    }

    /// On any clock that never runs backwards. `synchronise` returns once the device is idle.
    pub fn with_clock(
        clock: impl Fn() -> Duration + Send + 'static,
        synchronise: impl Fn() -> Result<()> + Send + 'static,
    ) -> Self {
        let since = clock();
        Self {
            clock: Box::new(clock),
            synchronise: Box::new(synchronise),
            phase: Phase::PrepareData,
            since,
            wall: Wall::default(),
            trained: Duration::ZERO,
            windows: Windows::default(),
            window: Window::default(),
            start: Duration::ZERO,
        }
    }

    /// Adds what earlier sittings of the run spent.
    pub fn include(&mut self, before: Wall) {
        self.wall = self.wall + before;
    }

    /// Counts a step that has just been given to the device.
    pub fn step(&mut self, examples: u64, tokens: u64) -> Result<()> {
        self.window.steps += 1;
        self.window.examples += examples;
        self.window.tokens += tokens;
        if self.window_until(self.training_clock()).is_full() {
            (self.synchronise)()?;
            let edge = self.training_clock();
            self.windows.push(self.window_until(edge));
            (self.window, self.start) = (Window::default(), edge);
        }
        Ok(())
    }

    /// Leaves the present phase for one that is not counted as training.
    pub fn pause(&mut self, phase: Phase) -> Result<()> {
        (self.synchronise)()?;
        self.enter(phase);
        Ok(())
    }

    /// Back to training.
    pub fn resume(&mut self) -> Result<()> {
        self.pause(Phase::Train)
    }

    /// Runs `work` as `phase`, then returns to the phase before, also after an error.
    pub fn during<T>(&mut self, phase: Phase, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let before = self.phase;
        self.pause(phase)?;
        let done = work();
        // A device that fails here has failed `work` too, whose error says more.
        let idle = (self.synchronise)();
        self.enter(before);
        done.and_then(|value| idle.map(|()| value))
    }

    fn enter(&mut self, phase: Phase) {
        let now = (self.clock)();
        let spent = now.saturating_sub(self.since);
        if self.phase == Phase::Train {
            self.trained += spent;
        }
        add(&mut self.wall, self.phase, spent);
        (self.phase, self.since) = (phase, now);
    }

    fn in_phase(&self) -> Duration {
        (self.clock)().saturating_sub(self.since)
    }

    /// Time spent training in this sitting.
    fn training_clock(&self) -> Duration {
        match self.phase {
            Phase::Train => self.trained + self.in_phase(),
            _ => self.trained,
        }
    }

    /// The window being filled, as it is if it ends at this time of the training clock.
    fn window_until(&self, edge: Duration) -> Window {
        Window { seconds: edge.saturating_sub(self.start).as_secs_f64(), ..self.window }
    }

    /// Steps per second of late, for a progress bar; costs nothing. `None` before the first
    /// window is full.
    pub fn rate(&self) -> Option<f64> {
        self.windows.recent()
    }

    /// The speed of this sitting so far; `None` before the first step.
    pub fn speed(&self) -> Result<Option<Speed>> {
        (self.synchronise)()?;
        Ok(self.windows.speed(self.window_until(self.training_clock())))
    }

    /// Seconds by phase up to now, over all sittings.
    pub fn wall(&self) -> Wall {
        let mut wall = self.wall;
        add(&mut wall, self.phase, self.in_phase());
        wall
    }
}

fn add(wall: &mut Wall, phase: Phase, spent: Duration) {
    let seconds = spent.as_secs_f64();
    let field = match phase {
        Phase::PrepareData => &mut wall.prepare_data,
        Phase::Train => &mut wall.train,
        Phase::WaitData => &mut wall.wait_data,
        Phase::Evaluate => &mut wall.evaluate,
        Phase::Checkpoint => &mut wall.checkpoint,
    };
    *field += seconds;
    wall.total += seconds;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    /// A clock in milliseconds that moves when told to, and a count of synchronisations.
    #[derive(Default, Clone)]
    struct Fake(Arc<AtomicU64>, Arc<AtomicU64>);

    impl Fake {
        fn timer(&self) -> Timer {
            let (clock, idle) = (self.clone(), self.clone());
            Timer::with_clock(
                move || Duration::from_millis(clock.0.load(SeqCst)),
                move || {
                    idle.1.fetch_add(1, SeqCst);
                    Ok(())
                },
            )
        }

        fn pass(&self, milliseconds: u64) {
            self.0.fetch_add(milliseconds, SeqCst);
        }

        fn work(&self, milliseconds: u64) -> Result<()> {
            self.pass(milliseconds);
            Ok(())
        }
    }

    #[test]
    fn other_phases_are_kept_out_of_the_speed() {
        let fake = Fake::default();
        let mut timer = fake.timer();
        fake.pass(5_000);
        timer.resume().unwrap();
        for step in 0..70u64 {
            if step % 3 == 0 {
                timer.pause(Phase::WaitData).unwrap();
                fake.pass(40);
                timer.resume().unwrap();
            }
            // The first steps are slow, the rest take 20 ms.
            fake.pass(if step < 10 { 100 } else { 20 });
            timer.step(32, 3_200).unwrap();
            if step % 25 == 24 {
                timer.during(Phase::Evaluate, || fake.work(700)).unwrap();
                timer.during(Phase::Checkpoint, || fake.work(30)).unwrap();
            }
        }
        let speed = timer.speed().unwrap().unwrap();
        // Half a second is over before ten of the slow steps are.
        assert_eq!((speed.windows, speed.warmup_steps), (6, 10));
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9 * b.max(1.0), "{a} {b}");
        near(speed.steps_per_second, 50.0);
        near(speed.steps_per_second_min, 50.0);
        near(speed.examples_per_second, 1_600.0);
        near(speed.tokens_per_second, 160_000.0);
        near(timer.rate().unwrap(), 50.0);
        let wall = timer.wall();
        near(wall.prepare_data, 5.0);
        near(wall.train, 1.0 + 60.0 * 0.02);
        near(wall.wait_data, 24.0 * 0.04);
        near(wall.evaluate, 1.4);
        near(wall.checkpoint, 0.06);
        near(wall.total, 5.0 + 2.2 + 0.96 + 1.4 + 0.06);
    }

    #[test]
    fn the_device_is_waited_for_at_edges_only() {
        let fake = Fake::default();
        let mut timer = fake.timer();
        timer.resume().unwrap();
        for _ in 0..100 {
            fake.pass(1);
            timer.step(1, 1).unwrap();
        }
        assert_eq!(fake.1.load(SeqCst), 1 + 10);
    }

    #[test]
    fn sittings_add_up() {
        let fake = Fake::default();
        let before = Wall { train: 100.0, evaluate: 7.0, total: 107.0, ..Wall::default() };
        let mut timer = fake.timer();
        timer.include(before);
        timer.resume().unwrap();
        fake.pass(2_000);
        let wall = timer.wall();
        assert_eq!((wall.train, wall.evaluate, wall.total), (102.0, 7.0, 109.0));
        assert_eq!(timer.speed().unwrap(), None);
        timer.step(1, 1).unwrap();
        // The hundred seconds of the earlier sitting belong to no step of this one.
        assert_eq!(timer.speed().unwrap().unwrap().steps_per_second, 0.5);
    }

    #[test]
    fn a_window_stands_still_in_other_phases() {
        let fake = Fake::default();
        let mut timer = fake.timer();
        timer.resume().unwrap();
        fake.pass(200);
        timer.step(1, 1).unwrap();
        timer.pause(Phase::Checkpoint).unwrap();
        fake.pass(9_000);
        assert_eq!(timer.speed().unwrap().unwrap().steps_per_second, 5.0);
    }

    #[test]
    fn an_error_inside_a_phase_ends_the_phase() {
        let fake = Fake::default();
        let mut timer = fake.timer();
        timer.resume().unwrap();
        let failed = timer.during(Phase::Evaluate, || -> Result<()> {
            fake.pass(1_000);
            Err(Error::usage("no"))
        });
        assert!(failed.is_err());
        fake.pass(3_000);
        let wall = timer.wall();
        assert_eq!((wall.evaluate, wall.train), (1.0, 3.0));
    }

    #[test]
    fn a_clock_that_stands_still_gives_no_figure() {
        let mut timer = Fake::default().timer();
        timer.resume().unwrap();
        for _ in 0..50 {
            timer.step(1, 1).unwrap();
        }
        assert_eq!(timer.speed().unwrap(), None);
        assert_eq!(timer.rate(), None);
    }
}
