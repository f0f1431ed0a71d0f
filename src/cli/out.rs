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

/// `text` on one line: control characters, as a file's name may have, are escaped.
pub fn line(text: &str) -> String {
    escaped(text, char::is_control)
}

/// `text` on its lines, with no other control characters in them.
pub fn lines(text: &str) -> String {
    escaped(text, |c| c.is_control() && c != '\n')
}

fn escaped(text: &str, which: impl Fn(char) -> bool) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut line, c| {
        if which(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
        line
    })
}
