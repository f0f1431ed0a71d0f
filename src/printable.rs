//! Text of others, such as a file's name, in what people read: escaped, so that it neither
//! moves the cursor nor breaks a line.

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
