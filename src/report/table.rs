//! A Markdown table that is also aligned to be read in a terminal.

use unicode_width::UnicodeWidthStr;

/// The first column is text, flush left; the others are figures, flush right.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Cells are Markdown already: escape what comes from a record.
    pub fn new(header: Vec<String>) -> Self {
        Self { rows: vec![header] }
    }

    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, width) in widths.iter().enumerate() {
                let cell = row.get(column).map(String::as_str).unwrap_or_default();
                // format!'s own padding counts characters, not columns.
                let padding = " ".repeat(width.saturating_sub(cell.width()));
                let flush_left = column == 0;
                text.push_str("| ");
                text.push_str(if flush_left { cell } else { &padding });
                text.push_str(if flush_left { &padding } else { cell });
                text.push(' ');
            }
            text.push_str("|\n");
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(width + 1);
                    text.push_str(if column == 0 { "|:" } else { "|" });
                    text.push_str(&dashes);
                    text.push_str(if column == 0 { "" } else { ":" });
                }
                text.push_str("|\n");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_is_in_them() {
        let mut table = Table::new(vec!["model".into(), "n".into()]);
        table.push(vec!["日本".into(), "1 ± 2".into()]);
        table.push(vec!["short row".into()]);
        let expected = "\
| model     |     n |
|:----------|------:|
| 日本      | 1 ± 2 |
| short row |       |
";
        assert_eq!(table.text(), expected);
    }
}
