//! Speed and memory of the runs of one block.

use super::super::aggregate::Section;
use super::super::names::{model_title, task_title};
use super::super::speed::{Meter, SpeedRow, same_block};
use super::Titled;
use super::table::Table;

/// One table for each task (or for the one asked for), length and machine.
pub fn blocks(section: &Section, task: Option<&str>) -> Vec<Titled> {
    let title = |first: &SpeedRow| {
        let length = first.length.map(|n| format!(", length {n}")).unwrap_or_default();
        format!("{}{length}; {}", task_title(&first.task), first.machine.text())
    };
    let block = |block: &[SpeedRow]| {
        let title = title(block.first()?);
        Some(Titled { title, table: speed(block), notes: Vec::new() })
    };
    let blocks = section.speed.chunk_by(same_block);
    let asked = |block: &&[SpeedRow]| task.is_none_or(|task| block.iter().all(|r| r.task == task));
    blocks.filter(asked).filter_map(block).collect()
}

/// One block of rows that may be compared.
fn speed(block: &[SpeedRow]) -> Table {
    let meters: Vec<Meter> = Meter::ALL
        .into_iter()
        .filter(|meter| block.iter().any(|row| row.memory(*meter).is_some()))
        .collect();
    let fixed = ["Model", "Runs", "Steps/s", "Examples/s", "Tokens/s", "Speed ratio"];
    let mut header: Vec<String> = fixed.map(str::to_owned).to_vec();
    header.extend(meters.iter().map(|meter| format!("Peak GB, {}", meter.title())));
    header.push("Memory ratio".to_owned());
    let mut table = Table::new(header);
    for row in block {
        let missing = || (if row.out_of_memory > 0 { "OOM" } else { "-" }).to_owned();
        let steps = row.steps_per_second.map(|steps| match row.steps_per_second_mad {
            Some(mad) => format!("{} ± {}", figure(steps), figure(mad)),
            None => figure(steps),
        });
        let number = |value: Option<f64>| value.map(figure).unwrap_or_else(missing);
        let runs = match row.left_out {
            0 => row.runs.to_string(),
            lost => format!("{} of {}", row.runs, row.runs + lost),
        };
        let mut cells =
            vec![model_title(&row.model).to_owned(), runs, steps.unwrap_or_else(missing)];
        cells.push(number(row.examples_per_second));
        cells.push(number(row.tokens_per_second));
        cells.push(row.speed_ratio.map_or("-".to_owned(), |r| format!("{}x", figure(r))));
        cells.extend(meters.iter().map(|m| number(row.memory(*m).map(|b| b as f64 / 1e9))));
        cells.push(row.memory_ratio.map_or("-".to_owned(), |r| format!("{}x", figure(r))));
        table.push(cells);
    }
    table
}

/// Three significant digits, without an exponent in the range people measure.
pub fn figure(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1e9 || (magnitude > 0.0 && magnitude < 1e-6) {
        return format!("{value:.2e}");
    }
    let digits = if magnitude > 0.0 { 2 - magnitude.log10().floor() as i32 } else { 0 };
    format!("{value:.*}", digits.max(0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let texts = [0.0, 0.01234, 1.234, 12.34, 1234.6, 5e12].map(figure);
        assert_eq!(texts, ["0", "0.0123", "1.23", "12.3", "1235", "5.00e12"]);
    }
}
