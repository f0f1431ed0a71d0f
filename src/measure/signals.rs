//! Being asked to stop: SIGINT (Ctrl-C) and SIGTERM.
//!
//! The first one sets a flag; the training loop looks at it after each step, writes a
//! checkpoint and ends. A second Ctrl-C ends the process at once with code 130. A second
//! SIGTERM does not: supervisors such as `timeout` send it to the process and to its group,
//! so that one request arrives twice.

use crate::error::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// The number of the signal; 0 before one came.
    signal: Arc<AtomicUsize>,
    /// A signal ends the process at once.
    at_once: Arc<AtomicBool>,
}

impl Stop {
    /// Takes over the signals of this process. Also makes a file-size limit an error of the
    /// write that meets it (SIGXFSZ), which is reported, rather than the end of the process.
    pub fn install() -> Result<Self> {
        let stop = Self::default();
        let asked = Arc::new(AtomicBool::new(false));
        let register = || {
            // Actions run in the order of registration: this one must see the flag as it was
            // before the signal that is being handled.
            flag::register_conditional_shutdown(SIGINT, 128 + SIGINT, Arc::clone(&asked))?;
            for signal in [SIGINT, SIGTERM] {
                flag::register_conditional_shutdown(
                    signal,
                    128 + signal,
                    Arc::clone(&stop.at_once),
                )?;
                flag::register(signal, Arc::clone(&asked))?;
                flag::register_usize(signal, Arc::clone(&stop.signal), signal as usize)?;
            }
            #[cfg(unix)]
            flag::register(signal_hook::consts::SIGXFSZ, Arc::default())?;
            Ok(())
        };
        register().map_err(|source: std::io::Error| Error::Io {
            action: "take over the signals of",
            path: "this process".into(),
            source,
        })?;
        Ok(stop)
    }

    /// Does `work`, in which a signal ends the process at once: for work that takes long and
    /// leaves nothing half done in the place of something whole.
    pub fn at_once<T>(&self, work: impl FnOnce() -> T) -> T {
        self.at_once.store(true, SeqCst);
        let done = work();
        self.at_once.store(false, SeqCst);
        done
    }

    /// The latest signal that asked this process to end.
    pub fn requested(&self) -> Option<i32> {
        match self.signal.load(SeqCst) {
            0 => None,
            signal => i32::try_from(signal).ok(),
        }
    }

    /// Asks as a signal would. A default `Stop` hears nothing else: for tests and for those
    /// who use the library and keep their own signals.
    pub fn request(&self, signal: i32) {
        self.signal.store(usize::try_from(signal).unwrap_or(0), SeqCst);
    }
}
