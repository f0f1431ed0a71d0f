//! Standard output: results only, and a reader that has seen enough is no error.

use crate::error::{Error, Result};
use std::io::{self, BufWriter, ErrorKind, Write};

/// Lets `write` fill standard output. A closed pipe ends it quietly.
pub fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = write(&mut out).and_then(|()| out.flush());
    // What could not be written must not be tried again when the buffer is dropped.
    let _ = out.into_parts();
    match result {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Io { action: "write to", path: "standard output".into(), source: e })
        }
        _ => Ok(()),
    }
}
