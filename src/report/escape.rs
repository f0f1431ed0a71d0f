//! Strings from records, made safe for where they are shown.
//!
//! Names come from configuration files and from other people's runs: they may hold newlines,
//! table separators, formulas or terminal escapes. None of them may act.

/// Longer names are cut where people read them.
const SHOWN: usize = 80;

/// One printable line: control and direction-changing characters become spaces.
pub fn line(text: &str) -> String {
    let harmless = |c: char| {
        let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || turns { ' ' } else { c }
    };
    text.chars().map(harmless).collect()
}

/// A cut, one-line form for people.
pub fn shown(text: &str) -> String {
    let line = line(text);
    match line.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

/// A name that Markdown shows as it is.
pub fn markdown(text: &str) -> String {
    paragraph(&shown(text))
}

/// Text that Markdown shows as it is, on one line of any length. Underscores within words are
/// left: they do nothing. So are brackets that no link can follow.
pub fn paragraph(text: &str) -> String {
    let mut escaped = String::new();
    let text = line(text);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let links = c == ']' && rest.peek().is_some_and(|next| "([:".contains(*next));
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            c if links || "\\|`*~$#!".contains(c) => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// Text of an XML element: one line of characters that XML allows.
pub fn xml(text: &str) -> String {
    let text = line(text).replace(['\u{fffe}', '\u{ffff}'], " ");
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Inline code; a backtick or a bar would end it, so they are replaced by a quote or a slash.
pub fn code(text: &str) -> String {
    format!("`{}`", shown(text).replace('`', "'").replace('|', "/"))
}

/// Text of a LaTeX document, in text mode. The signs tables use are told in LaTeX's own words;
/// other letters beyond ASCII are left to the document's encoding.
pub fn latex(text: &str) -> String {
    let mut escaped = String::new();
    for c in shown(text).chars() {
        match c {
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '|' => escaped.push_str("\\textbar{}"),
            '<' => escaped.push_str("\\textless{}"),
            '>' => escaped.push_str("\\textgreater{}"),
            // After `\\` this would be an optional argument.
            '[' => escaped.push_str("{[}"),
            ']' => escaped.push_str("{]}"),
            '±' => escaped.push_str("$\\pm$"),
            '×' => escaped.push_str("$\\times$"),
            '−' => escaped.push_str("$-$"),
            '–' => escaped.push_str("--"),
            '…' => escaped.push_str("\\ldots{}"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// A CSV field that no spreadsheet takes for a formula. The csv crate does the quoting.
pub fn csv(text: &str) -> String {
    let line = line(text);
    let acts = line.trim_start().starts_with(['=', '+', '-', '@']);
    let number = line.parse::<f64>().is_ok();
    if acts && !number { format!("'{line}") } else { line }
}

/// A file name made of a record's string.
pub fn file_name(text: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = text.chars().take(48).map(keep).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts() {
        assert_eq!(line("a\nb\u{1b}[31m\u{202e}c"), "a b [31m c");
        assert_eq!(markdown("a|b<i>*c*"), "a\\|b&lt;i&gt;\\*c\\*");
        assert_eq!(markdown("x [1] [a](b)[c]: d"), "x [1] [a\\](b)[c\\]: d");
        assert_eq!(latex("a_b%\\c{$^}"), "a\\_b\\%\\textbackslash{}c\\{\\$\\textasciicircum{}\\}");
        assert_eq!(latex("1 ± 2 [3]"), "1 $\\pm$ 2 {[}3{]}");
        assert_eq!(xml("<a>&\0\u{ffff}"), "&lt;a&gt;&amp;  ");
        assert_eq!(code("a`|b"), "`a'/b`");
        assert_eq!(csv("=1+1"), "'=1+1");
        assert_eq!(csv("-1.5"), "-1.5");
        assert_eq!(csv("\t=1+1"), "' =1+1");
        assert_eq!(file_name("../../etc/passwd"), "------etc-passwd");
        assert_eq!(shown(&"é".repeat(100)).chars().count(), SHOWN + 1);
    }
}
