//! Where a document has its parts.

use std::ops::Range;

/// A part: the words of its marker, the marker's line, and what stands below it.
#[derive(Debug, PartialEq, Eq)]
pub struct Marked {
    pub words: Vec<String>,
    pub line: u64,
    pub body: Range<usize>,
}

const CLOSING: &str = "<!-- /lra -->";

/// All parts, in order, or the line of a marker that is wrong and what is wrong with it.
pub fn marked(text: &str) -> Result<Vec<Marked>, (u64, String)> {
    let (mut parts, mut open): (Vec<Marked>, Option<Marked>) = (Vec::new(), None);
    let (mut at, mut fence): (usize, Option<&str>) = (0, None);
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let (start, words) = (at, line.trim());
        at += line.len();
        if open.is_none() && is_fenced(words, &mut fence) {
            continue;
        }
        if let Some(opening) = opening(words) {
            if let Some(before) = open {
                let what = format!("a marker inside that of line {}; {}", before.line, missing());
                return Err((number, what));
            }
            open = Some(Marked { words: opening, line: number, body: at..at });
        } else if words == CLOSING {
            let Some(part) = open.take() else {
                let what = format!("`{CLOSING}` closes nothing; take it away, or open a part");
                return Err((number, what));
            };
            parts.push(Marked { body: part.body.start..start, ..part });
        } else if words.starts_with("<!-- lra:") || words.starts_with("<!-- /lra") {
            let form = format!("`<!-- lra:NAME ... -->` or `{CLOSING}` on a line of its own");
            return Err((number, format!("a damaged marker; expected {form}")));
        }
    }
    match open {
        Some(part) => Err((part.line, format!("this marker is not closed; {}", missing()))),
        None => Ok(parts),
    }
}

fn missing() -> String {
    format!("expected `{CLOSING}` below it, on a line of its own")
}

fn opening(line: &str) -> Option<Vec<String>> {
    let words = line.strip_prefix("<!-- lra:")?.strip_suffix("-->")?;
    Some(words.split_whitespace().map(str::to_owned).collect())
}

/// Whether the line is of a fenced block, its fences included.
fn is_fenced<'a>(line: &'a str, fence: &mut Option<&'a str>) -> bool {
    let own = ["```", "~~~"].into_iter().find(|mark| line.starts_with(mark));
    match (*fence, own) {
        (None, Some(mark)) => *fence = Some(mark),
        (Some(open), _) if line.starts_with(open) => *fence = None,
        (Some(_), _) => {}
        (None, None) => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_outside_fences() {
        let text =
            "a\n```text\n<!-- lra:x -->\n```\n<!-- lra:accuracy quick -->\nold\n<!-- /lra -->\n";
        let [part] = marked(text).unwrap().try_into().unwrap();
        assert_eq!((part.words, part.line), (vec!["accuracy".into(), "quick".into()], 5));
        assert_eq!(&text[part.body], "old\n");
    }

    #[test]
    fn wrong_markers_are_told_with_their_line() {
        let line = |text: &str| marked(text).unwrap_err();
        let (at, what) = line("a\n<!-- lra:x -->\nb\n");
        assert!(at == 2 && what.contains("not closed"), "{at}: {what}");
        let (at, what) = line("<!-- lra:x -->\n<!-- lra:y -->\n<!-- /lra -->\n");
        assert!(at == 2 && what.contains("inside that of line 1"), "{at}: {what}");
        let (at, what) = line("\n\n<!-- /lra -->\n");
        assert!(at == 3 && what.contains("closes nothing"), "{at}: {what}");
        let (at, what) = line("<!-- lra:x\n-->\n<!-- /lra -->\n");
        assert!(at == 1 && what.contains("damaged"), "{at}: {what}");
    }
}
