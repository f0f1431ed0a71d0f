//! The report as one HTML file: charts to choose axes for, tables to sort and filter, learning
//! curves of chosen runs. It needs no network and no server, and asks for none: its policy
//! forbids every request.
//!
//! The figures are those of the other exporters, put together here; the script lays them out
//! and computes none of its own.

mod charts;
mod data;

use super::aggregate::Report;
use crate::error::Result;

const HTML: &str = include_str!("page.html");
const CSS: &str = include_str!("page.css");
/// In the order they need each other.
const SCRIPTS: [&str; 7] = [
    include_str!("base.js"),
    include_str!("scale.js"),
    include_str!("labels.js"),
    include_str!("bubble.js"),
    include_str!("curves.js"),
    include_str!("tables.js"),
    include_str!("main.js"),
];

pub fn page(report: &Report) -> Result<String> {
    let json = serde_json::to_string(&data::Data::of(report)).map_err(candle_core::Error::wrap)?;
    // Each mark is replaced in the shell alone: what is put in may hold any text.
    let parts: [(&str, &str); 3] =
        [("/*css*/", CSS), ("/*data*/", &escaped(&json)), ("/*script*/", &SCRIPTS.concat())];
    let mut rest = HTML;
    let mut page = String::with_capacity(json.len() + (1 << 16));
    for (mark, part) in parts {
        let (before, after) = rest.split_once(mark).unwrap_or((rest, ""));
        page.push_str(before);
        page.push_str(part);
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}

/// JSON that no HTML parser takes for markup, whatever its strings hold.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_end_its_element() {
        let text = "</script><!-- \u{2028} & \"'\n🦀";
        let json = escaped(&serde_json::to_string(text).unwrap());
        assert!(!json.contains(['<', '>', '&', '\u{2028}', '\n']), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn every_mark_is_there_once() {
        for mark in ["/*css*/", "/*data*/", "/*script*/"] {
            assert_eq!(HTML.matches(mark).count(), 1, "{mark}");
        }
        for part in SCRIPTS.iter().chain([&CSS]) {
            assert!(!part.contains("</"), "would end its element");
        }
    }
}
