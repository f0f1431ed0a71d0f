//! The papers' numbers, in tables of their own: beside ours, never among them.

use super::super::names::task_title;
use super::super::optional;
use super::super::published::{AVERAGE, AVERAGE_OF_SIX, Line, Published, protocol};
use super::Titled;
use super::table::Table;
use crate::records::statistics::group_by;

/// Every published table, accuracies first.
pub fn published(published: &Published) -> Vec<Titled> {
    let mut all = accuracies(published);
    all.extend(speeds(published));
    all
}

fn accuracies(published: &Published) -> Vec<Titled> {
    let table = |(name, source): (String, String)| {
        let lines: Vec<&Line> = published.of(&name, &source, "accuracy").collect();
        let title = |l: &Line| match l.task.as_str() {
            AVERAGE => "Average of 5".to_owned(),
            AVERAGE_OF_SIX => "Average of 6".to_owned(),
            task => task_title(task).to_owned(),
        };
        let value = |l: &Line| l.printed.clone();
        let noted = lines.iter().filter(|l| l.value.is_some() && l.notes.contains("as printed"));
        Titled {
            title: format!("Published: accuracy in %. {source}. {}", protocol(&name)),
            table: pivot(&lines, title, |l| (l.column(), 0), value),
            notes: noted.map(|l| format!("{}: {}.", l.title, l.notes)).collect(),
        }
    };
    published.tables(&["accuracy"]).into_iter().map(table).collect()
}

fn speeds(published: &Published) -> Vec<Titled> {
    let table = |(name, source): (String, String)| {
        let speeds = published.of(&name, &source, "steps_per_second");
        let memory = published.of(&name, &source, "peak_memory_gb");
        let lines: Vec<&Line> = speeds.chain(memory).collect();
        let hardware = lines.first().map(|l| l.notes.as_str()).unwrap_or_default();
        let title = |l: &Line| {
            let unit = if l.metric == "peak_memory_gb" { "GB" } else { "steps/s" };
            format!("{unit}, n={}", optional(l.length))
        };
        let ratio = |l: &Line| {
            let mut ratios = published.of(&name, &source, "speed_ratio");
            ratios.find(|r| (&r.model, &r.task, r.length) == (&l.model, &l.task, l.length))
        };
        let value = |l: &Line| match ratio(l).filter(|_| l.metric == "steps_per_second") {
            Some(ratio) => format!("{} ({}x)", l.printed, ratio.printed),
            None => l.printed.clone(),
        };
        let is_memory = |l: &Line| usize::from(l.metric == "peak_memory_gb");
        let key = |l: &Line| ((is_memory(l), String::new()), l.length.unwrap_or(0));
        Titled {
            title: format!(
                "Published: speed and memory. {source} ({hardware}; memory per device; ratio to \
                 the Transformer)"
            ),
            table: pivot(&lines, title, key, value),
            notes: Vec::new(),
        }
    };
    published.tables(&["steps_per_second", "peak_memory_gb"]).into_iter().map(table).collect()
}

type ColumnKey = ((usize, String), u64);

/// Models down in file order, columns across in key order; what a source lacks is `-`.
fn pivot(
    lines: &[&Line],
    title: impl Fn(&Line) -> String,
    key: impl Fn(&Line) -> ColumnKey,
    value: impl Fn(&Line) -> String,
) -> Table {
    let columns = group_by(lines.iter().copied(), |l| key(l));
    let mut header = vec!["Model".to_owned()];
    header.extend(columns.values().filter_map(|of| of.first()).map(|l| title(l)));
    let mut table = Table::new(header);
    let mut models: Vec<(&str, &str)> = Vec::new();
    for l in lines {
        let model = (l.model.as_str(), l.title.as_str());
        if !models.contains(&model) {
            models.push(model);
        }
    }
    for (model, printed) in models {
        let mut row = vec![printed.to_owned()];
        row.extend(columns.values().map(|of| {
            let found = of.iter().find(|l| l.model == model && l.title == printed);
            found.map_or("-".to_owned(), |l| value(l))
        }));
        table.push(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_tables_are_whole() {
        let compiled = Published::compiled_in().unwrap();
        let text: String = accuracies(&compiled).iter().map(Titled::markdown).collect();
        assert!(text.contains("|   FAIL |        54.39 |"), "{text}");
        assert!(text.contains("51.48"), "the discrepancy is told: {text}");
        let text: String = speeds(&compiled).iter().map(Titled::markdown).collect();
        assert!(text.contains("8.0 (5.7x)"), "{text}");
        assert!(text.contains(" 9.48 |"), "{text}");
    }
}
