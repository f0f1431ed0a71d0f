//! The paper's Table 1: models down, tasks across, the averages last.

use super::super::aggregate::{Section, Task};
use super::super::names::{model_title, task_title};
use super::table::Table;

/// ` [1] [3]` after what the notes are about.
fn marks(notes: &[usize]) -> String {
    notes.iter().fold(String::new(), |text, number| format!("{text} [{number}]"))
}

pub fn accuracy(section: &Section) -> Table {
    let task = |task: &Task| format!("{}{}", task_title(&task.name), marks(&task.notes));
    let mut header = vec!["Model".to_owned()];
    header.extend(section.tasks.iter().map(task));
    header.extend(["Average of 5 (paper)".to_owned(), "Average of 6 (FAIL = 50)".to_owned()]);
    let mut table = Table::new(header);
    for row in &section.rows {
        let mut cells = vec![model_title(&row.model).to_owned()];
        cells.extend(row.cells.iter().map(|c| format!("{}{}", c.text(), marks(&c.notes))));
        cells.extend([row.five_tasks.text(), row.six_tasks.text()]);
        table.push(cells);
    }
    let mut majority = vec!["(majority class)".to_owned()];
    majority.extend((0..section.tasks.len()).map(|column| {
        let found = section.rows.iter().filter_map(|row| row.cells.get(column)?.majority);
        let both = found.reduce(|(a, b), (c, d)| (a.min(c), b.max(d)));
        match both {
            Some((least, most)) if least == most => format!("{least:.2}"),
            Some((least, most)) => format!("{least:.2} to {most:.2}"),
            None => "-".to_owned(),
        }
    }));
    table.push(majority);
    table
}
