//! Writes the official TSV form: what Python's csv writer makes of the arena's trees.
//!
//! An operator with its arguments is a left-nested chain of pairs, the closing bracket
//! the last: `( ( ( [MAX 2 ) 9 ) ] )`. Lines end with CR LF.

use super::reader::HEADER;
use super::vocabulary::{CLOSE, Operator, TOKENS};
use std::io::{self, Write};

pub fn write_header(out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{HEADER}\r\n")
}

/// Writes one row. `symbols` is a whole expression; `text` is a buffer.
pub fn write_row(
    out: &mut dyn Write,
    symbols: &[u8],
    label: u32,
    text: &mut String,
) -> io::Result<()> {
    text.clear();
    parenthesise(symbols, text);
    write!(out, "{text}\t{label}\r\n")
}

/// Appends the parenthesised form of a whole expression.
pub fn parenthesise(symbols: &[u8], text: &mut String) {
    let mut arguments = arguments(symbols).into_iter();
    let mut open = 0usize;
    for &symbol in symbols {
        if open > 0 {
            text.push(' ');
        }
        let token = TOKENS.get(usize::from(symbol)).copied().unwrap_or("?");
        if Operator::from_symbol(symbol).is_some() {
            // One pair for each argument and one for the closing bracket.
            for _ in 0..=arguments.next().unwrap_or_default() {
                text.push_str("( ");
            }
            text.push_str(token);
            open += 1;
            continue;
        }
        text.push_str(token);
        if symbol == CLOSE {
            text.push_str(" )");
            open = open.saturating_sub(1);
        }
        // A digit or a whole application ends a pair of the operator around it.
        if open > 0 {
            text.push_str(" )");
        }
    }
}

/// The number of arguments of each operator, in the order the operators appear.
fn arguments(symbols: &[u8]) -> Vec<u32> {
    let mut counts = Vec::new();
    let mut open = Vec::new();
    for &symbol in symbols {
        if symbol == CLOSE {
            open.pop();
            continue;
        }
        if let Some(&operator) = open.last() {
            counts[operator] += 1;
        }
        if Operator::from_symbol(symbol).is_some() {
            open.push(counts.len());
            counts.push(0u32);
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn official_shape() {
        for (symbols, expected) in [
            (&[7][..], "7"),
            (&[11, 2, 9, 14], "( ( ( [MAX 2 ) 9 ) ] )"),
            (&[11, 2, 9, 0, 14], "( ( ( ( [MAX 2 ) 9 ) 0 ) ] )"),
            (&[10, 13, 1, 2, 14, 3, 14], "( ( ( [MIN ( ( ( [SM 1 ) 2 ) ] ) ) 3 ) ] )"),
            (&[10, 3, 12, 1, 2, 14, 14], "( ( ( [MIN 3 ) ( ( ( [MED 1 ) 2 ) ] ) ) ] )"),
        ] {
            let mut text = String::new();
            parenthesise(symbols, &mut text);
            assert_eq!(text, expected);
            // A tree of n tokens has n - 1 pairs.
            assert_eq!(text.split(' ').count(), 3 * symbols.len() - 2);
        }
    }
}
