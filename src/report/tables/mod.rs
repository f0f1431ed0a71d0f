//! What is told as a table, in no format yet: the exporters write them as Markdown and LaTeX.

mod accuracy;
mod measured;
mod published;
mod speed;
mod table;

pub use accuracy::accuracy;
pub use measured::measured;
pub use published::published;
pub use speed::{blocks, figure};
pub use table::Table;

use super::escape;

/// A table with what stands above and below it; all of it plain text.
#[derive(Debug, Clone, PartialEq)]
pub struct Titled {
    pub title: String,
    pub table: Table,
    pub notes: Vec<String>,
}

impl Titled {
    pub fn markdown(&self) -> String {
        let note = |note: &String| format!("\n{}\n", escape::paragraph(note));
        let notes: String = self.notes.iter().map(note).collect();
        format!("{}\n\n{}{notes}", escape::paragraph(&self.title), self.table.markdown())
    }

    /// The title and the notes are comments: a paper has words of its own.
    pub fn latex(&self) -> String {
        let comment = |text: &String| format!("% {}\n", escape::line(text));
        let notes: String = self.notes.iter().map(comment).collect();
        format!("{}{}{notes}", comment(&self.title), self.table.latex())
    }
}
