//! A table of plain texts, written as Markdown that also reads well in a terminal, or as LaTeX.

use super::super::escape;
use unicode_width::UnicodeWidthStr;

/// The first column is text, flush left; the others are figures, flush right.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    rows: Vec<Vec<String>>,
    /// Whether long cells are cut, as names from elsewhere are.
    is_cut: bool,
}

impl Table {
    pub fn new(header: Vec<String>) -> Self {
        Self { rows: vec![header], is_cut: true }
    }

    /// The same with cells of any length, for sentences of our own.
    pub fn whole(self) -> Self {
        Self { is_cut: false, ..self }
    }

    /// Cells are plain text: each form escapes what would act in it.
    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// The header first.
    pub fn into_rows(self) -> Vec<Vec<String>> {
        self.rows
    }

    fn columns(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(0)
    }

    pub fn markdown(&self) -> String {
        let escape = if self.is_cut { escape::markdown } else { escape::paragraph };
        let escaped = |row: &Vec<String>| row.iter().map(|cell| escape(cell)).collect();
        let rows: Vec<Vec<String>> = self.rows.iter().map(escaped).collect();
        let columns = self.columns();
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (number, row) in rows.iter().enumerate() {
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

    /// A `tabular` with the rules of the package booktabs.
    pub fn latex(&self) -> String {
        let columns = self.columns();
        let figures = "r".repeat(columns.saturating_sub(1));
        let mut text = format!("\\begin{{tabular}}{{l{figures}}}\n\\toprule\n");
        for (number, row) in self.rows.iter().enumerate() {
            let cell = |column: usize| row.get(column).map_or(String::new(), |c| escape::latex(c));
            let cells: Vec<String> = (0..columns).map(cell).collect();
            text.push_str(&cells.join(" & "));
            text.push_str(" \\\\\n");
            if number == 0 {
                text.push_str("\\midrule\n");
            }
        }
        text.push_str("\\bottomrule\n\\end{tabular}\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odd() -> Table {
        let mut table = Table::new(vec!["model".into(), "n".into()]);
        table.push(vec!["日本".into(), "1 ± 2".into()]);
        table.push(vec!["a|b_c".into()]);
        table
    }

    #[test]
    fn columns_line_up_whatever_is_in_them() {
        let expected = "\
| model  |     n |
|:-------|------:|
| 日本   | 1 ± 2 |
| a\\|b_c |       |
";
        assert_eq!(odd().markdown(), expected);
    }

    #[test]
    fn rows_of_latex_have_all_columns() {
        let expected = "\
\\begin{tabular}{lr}
\\toprule
model & n \\\\
\\midrule
日本 & 1 $\\pm$ 2 \\\\
a\\textbar{}b\\_c &  \\\\
\\bottomrule
\\end{tabular}
";
        assert_eq!(odd().latex(), expected);
    }
}
