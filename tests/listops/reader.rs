//! The official TSV form: what is read, and what is refused where.

use lra::Error;
use lra::tasks::listops::{MAX_LINE, Reader, decode};
use std::io::Read;
use std::path::Path;

/// Expressions and labels of all rows, or the error.
fn rows(text: &[u8]) -> lra::Result<Vec<(String, u8)>> {
    let mut reader = Reader::new(text, Path::new("f.tsv"))?;
    let (mut symbols, mut rows) = (Vec::new(), Vec::new());
    while let Some(row) = reader.next(&mut symbols, 2000)? {
        assert_eq!(row.value, row.label);
        rows.push((decode(&symbols), row.label));
    }
    Ok(rows)
}

#[test]
fn every_accepted_form_reads_the_same() {
    let expected = vec![("[MAX 2 [MIN 9 4 ] ]".to_string(), 4), ("7".to_string(), 7)];
    let full = "( ( ( [MAX 2 ) ( ( ( [MIN 9 ) 4 ) ] ) ) ] )";
    for text in [
        format!("Source\tTarget\r\n{full}\t4\r\n7\t7\r\n"),
        format!("Source\tTarget\n{full}\t4\n7\t7\n"),
        format!("Source\tTarget\n{full}\t4\n7\t7"),
        format!("\u{feff}Source\tTarget\r\n{full}\t4\r\n7\t7\r\n"),
        "Source\tTarget\n[MAX 2 [MIN 9 4 ] ]\t4\n7\t7\n".to_string(),
        "Source\tTarget\n ([MAX  2 ( [MIN 9 4 ])])\t4\n\n\r\n7\t7\n\n".to_string(),
    ] {
        assert_eq!(rows(text.as_bytes()).unwrap(), expected, "{text:?}");
    }
    assert_eq!(rows(b"Source\tTarget\r\n").unwrap(), []);
}

#[test]
fn every_fault_is_named_with_line_and_column() {
    const H: &str = "Source\tTarget\n";
    let cases: &[(&str, &str, u64, u64, &str)] = &[
        ("", "", 1, 1, "an empty file; expected `Source<TAB>Target`"),
        ("", "\u{feff}", 1, 1, "an empty file"),
        ("", "\n", 1, 1, "the header is ``; expected `Source<TAB>Target`"),
        ("", "Source,Target\n7,7\n", 1, 1, "the header is `Source,Target`"),
        ("", "Source\tTarget\tx\n", 1, 1, "the header is `Source\\tTarget\\tx`"),
        ("", "7\t7\n", 1, 1, "the header is `7\\t7`"),
        ("", "Source\tTarget\r7\t7\r", 1, 14, "a lone CR; expected lines to end LF or CR LF"),
        ("", "Sou\0rce\tTarget\n", 1, 4, "a NUL byte; expected text"),
        (H, "7\t7\n7 \0\t7\n", 3, 3, "a NUL byte"),
        (H, "7\t\0\n", 2, 3, "a NUL byte"),
        (H, "[MAX 1\0 2 ]\t2\n", 2, 7, "a NUL byte"),
        (H, "[MAX 1 2 ]\n", 2, 11, "without a `Target` column; expected a tab"),
        (H, "[MAX 1 2 ]\r\n", 2, 11, "without a `Target` column"),
        (H, "7\t7\n[MAX 1", 3, 7, "without a `Target` column"),
        ("Source\tTarget\r\n", "7\t7\r\n7\tx\r\n", 3, 3, "the label is `x`"),
        (H, "[MAX 1\r2 ]\t2\n", 2, 7, "a lone CR"),
        (H, "[MAX 1 2 ]\t2\r", 2, 13, "a lone CR"),
        (H, "[MAX 1 2 ]\t\n", 2, 12, "the label is ``; expected a digit 0 to 9"),
        (H, "[MAX 1 2 ]\t10\n", 2, 12, "the label is `10`"),
        (H, "[MAX 1 2 ]\t-1\n", 2, 12, "the label is `-1`"),
        (H, "[MAX 1 2 ]\t2.0\r\n", 2, 12, "the label is `2.0`"),
        (H, "[MAX 1 2 ]\t2\t2\n", 2, 13, "a third column"),
        (H, "( [MAX 1 2 MAX ] )\t2\n", 2, 12, "unknown token `MAX`; expected 0 to 9, [MIN"),
        (H, "[FIRST 1 2 ]\t1\n", 2, 1, "unknown token `[FIRST`"),
        (H, "[MAX 1 22 ]\t2\n", 2, 8, "unknown token `22`"),
        (H, "\"7\"\t7\n", 2, 1, "unknown token `\"7\"`"),
        (H, "[MAX 1 2 \u{2264} ]\t2\n", 2, 10, "unknown token `\\xe2\\x89\\xa4`"),
        (H, "[MAX 1 2\t2\n", 2, 9, "ends with 1 unclosed; expected `]`"),
        (H, "[MAX 1 2 ] ]\t2\n", 2, 12, "`]` after the end of the expression"),
        (H, "]\t2\n", 2, 1, "`]` without an open operator; unbalanced brackets"),
        (H, "1 2\t2\n", 2, 3, "`2` after the end"),
        (H, "( 1\t1\n", 2, 4, "1 `(` unclosed; unbalanced parentheses"),
        (H, "1 )\t1\n", 2, 3, "`)` without `(`"),
        (H, "[MED ]\t2\n", 2, 6, "`[MED` closed after 0 arguments; expected at least 2"),
        (H, "7\t7\n[SM 1 [MIN 4 ] ]\t5\n", 3, 14, "`[MIN` closed after 1 argument;"),
        (H, "\t2\n", 2, 1, "no expression; expected a digit or an operator"),
        (H, "( )\t2\n", 2, 4, "no expression"),
    ];
    for (header, body, line, column, part) in cases {
        let text = format!("{header}{body}");
        match rows(text.as_bytes()) {
            Err(Error::Data { place, message }) => {
                let at = (place.line, place.column);
                assert_eq!(at, (Some(*line), Some(*column)), "{text:?}: {message}");
                assert!(message.contains(part), "{text:?}: {message}");
                assert_eq!(place.path, Path::new("f.tsv"));
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }
    let shown = rows(b"Source\tTarget\n7\t77\n").unwrap_err();
    assert!(shown.to_string().starts_with("f.tsv:2:3: the label is"), "{shown}");
    assert_eq!(shown.exit_code(), 3);
}

/// Counts what is taken of an endless input.
struct Endless {
    head: &'static [u8],
    cycle: &'static [u8],
    taken: u64,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for byte in buffer.iter_mut() {
            let i = self.taken as usize;
            *byte = match self.head.get(i) {
                Some(byte) => *byte,
                None => self.cycle[(i - self.head.len()) % self.cycle.len()],
            };
            self.taken += 1;
        }
        Ok(buffer.len())
    }
}

/// Lines without end are refused after at most `MAX_LINE` bytes; what is kept of them
/// never exceeds the length asked for.
#[test]
fn endless_lines_end() {
    for (head, cycle, column, part) in [
        (&b"Source\tTarget\n[MAX"[..], &b" 1"[..], MAX_LINE + 1, "expected at most 16 MiB"),
        (b"Source\tTarget\n", b" ", MAX_LINE + 1, "expected at most 16 MiB"),
        (b"Source\tTarget\n", b"(", MAX_LINE + 1, "expected at most 16 MiB"),
        (b"Source\tTarget\n", b"[MAX ", 50_001, "more than 10000 operators open"),
        (b"Source\tTarget\n", b"1", 1, "unknown token `1111"),
        (b"Source\tTarget\n7\t", b"7", 3, "the label is `7777"),
        (b"Source", b"e", 1, "the header is `Sourceee"),
        (b"", b"\n", 1, "the header is ``"),
    ] {
        let mut input = Endless { head, cycle, taken: 0 };
        let mut symbols = Vec::new();
        let result = Reader::new(&mut input, Path::new("f.tsv"))
            .and_then(|mut reader| reader.next(&mut symbols, 100));
        match result {
            Err(Error::Data { place, message }) => {
                assert!(message.contains(part), "{message}");
                assert_eq!(place.column, Some(column), "{message}");
            }
            other => panic!("{other:?}"),
        }
        assert!(symbols.capacity() <= 256, "{}", symbols.capacity());
        assert!(input.taken < MAX_LINE + (1 << 17), "{}", input.taken);
    }
}

/// A cut expression keeps its first tokens, its whole value and its whole length.
#[test]
fn long_expressions_are_cut() {
    let text = "Source\tTarget\n[MIN 5 [MAX 1 2 ] 3 ]\t2\n";
    let mut reader = Reader::new(text.as_bytes(), Path::new("f.tsv")).unwrap();
    let mut symbols = Vec::new();
    let row = reader.next(&mut symbols, 4).unwrap().unwrap();
    assert_eq!(decode(&symbols), "[MIN 5 [MAX 1");
    assert_eq!((row.line, row.column, row.label, row.value, row.length), (2, 23, 2, 2, 8));
}
