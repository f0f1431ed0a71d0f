//! Findings as a person, a pull request, a script or a test reporter reads them.

use super::finding::{Finding, Verdict};
use crate::error::Result;
use crate::report::{Table, escape};
use clap::ValueEnum;
use serde_json::json;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// What is not the same, as a table
    Text,
    /// Everything, as a table with a heading
    Markdown,
    /// Everything, as one JSON document
    Json,
    /// A test case for each comparison
    Junit,
    /// GitHub's annotations, and the Markdown table as the job's summary
    Github,
}

/// The whole output.
pub fn text(format: Format, findings: &[Finding], baseline: &str) -> Result<String> {
    Ok(match format {
        Format::Text => {
            let odd: Vec<&Finding> =
                findings.iter().filter(|found| found.verdict != Verdict::Same).collect();
            let table = if odd.is_empty() { String::new() } else { table(&odd) + "\n" };
            format!("{table}{}\n", counts(findings, baseline))
        }
        Format::Markdown => markdown(findings, baseline),
        Format::Json => {
            let document = json!({ "baseline": baseline, "findings": findings });
            serde_json::to_string_pretty(&document).map_err(candle_core::Error::wrap)? + "\n"
        }
        Format::Junit => junit(findings),
        Format::Github => github(findings, baseline),
    })
}

/// `regression: 2, same: 60; against results/baseline.json`.
fn counts(findings: &[Finding], baseline: &str) -> String {
    let count = |verdict| findings.iter().filter(|found| found.verdict == verdict).count();
    let said: Vec<String> = Verdict::ALL
        .into_iter()
        .filter(|&verdict| verdict == Verdict::Regression || count(verdict) > 0)
        .map(|verdict| format!("{}: {}", verdict.word(), count(verdict)))
        .collect();
    format!("{}; against {}", said.join(", "), escape::line(baseline))
}

fn table(findings: &[&Finding]) -> String {
    let header = ["What", "Measure", "Verdict", "Before", "Now", "Change", "How sure"];
    let mut table = Table::new(header.map(str::to_owned).to_vec()).whole();
    for found in findings {
        let Finding { subject, measure, verdict, before, now, change, certainty } = found;
        let cells = [subject, measure, verdict.word(), before, now, change, certainty];
        table.push(cells.map(str::to_owned).to_vec());
    }
    table.markdown()
}

/// What to look at first, first.
fn sorted(findings: &[Finding]) -> Vec<&Finding> {
    let rank = |found: &&Finding| Verdict::ALL.iter().position(|v| *v == found.verdict);
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(rank);
    sorted
}

pub fn markdown(findings: &[Finding], baseline: &str) -> String {
    format!("## lra check\n\n{}.\n\n{}", counts(findings, baseline), table(&sorted(findings)))
}

fn junit(findings: &[Finding]) -> String {
    let attribute = |text: &str| escape::xml(text).replace('"', "&quot;");
    let count = |verdict| findings.iter().filter(|found| found.verdict == verdict).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"lra check\" \
         tests=\"{}\" failures=\"{}\" skipped=\"{}\">\n",
        findings.len(),
        count(Verdict::Regression),
        count(Verdict::Untold)
    );
    for found in findings {
        let Finding { subject, measure, before, now, change, certainty, .. } = found;
        let said = format!("{before} before, {now} now, {change}; {certainty}");
        let inner = match found.verdict {
            Verdict::Regression => format!("<failure message=\"{}\"/>", attribute(&said)),
            Verdict::Untold => format!("<skipped message=\"{}\"/>", attribute(certainty)),
            Verdict::Same | Verdict::Better => {
                format!("<system-out>{}</system-out>", escape::xml(&said))
            }
        };
        text += &format!(
            "    <testcase classname=\"lra.{}\" name=\"{}\">{inner}</testcase>\n",
            attribute(subject),
            attribute(measure)
        );
    }
    text + "  </testsuite>\n</testsuites>\n"
}

/// Workflow commands: a regression is an error, what cannot be told or is better a notice.
fn github(findings: &[Finding], baseline: &str) -> String {
    let data = |text: &str| {
        escape::line(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
    };
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let mut text = String::new();
    for found in sorted(findings).into_iter().filter(|found| found.verdict != Verdict::Same) {
        let Finding { subject, measure, verdict, before, now, change, certainty } = found;
        let kind = if *verdict == Verdict::Regression { "error" } else { "notice" };
        let title = format!("{subject}: {measure}: {}", verdict.word());
        let said = format!("{before} before, {now} now, {change}; {certainty}");
        text += &format!("::{kind} title={}::{}\n", property(&title), data(&said));
    }
    text + &format!("{}\n", counts(findings, baseline))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        let worse = Finding::broken("a|b\n\"<m>", "loss, 8: x", "50 % sure");
        let same = Finding { verdict: Verdict::Same, ..Finding::untold("m", "FLOPs", "exact") };
        vec![same, Finding::untold("m", "speed", "few"), worse]
    }

    #[test]
    fn only_what_changed_and_how_much_there_was() {
        let said = text(Format::Text, &findings(), "b.json").unwrap();
        assert!(!said.contains("FLOPs"), "{said}");
        assert!(said.contains(" regression |") && said.contains("| cannot be told |"), "{said}");
        assert!(said.ends_with("regression: 1, cannot be told: 1, same: 1; against b.json\n"));
        let none = text(Format::Text, &findings()[..1], "b.json").unwrap();
        assert_eq!(none, "regression: 0, same: 1; against b.json\n");
    }

    #[test]
    fn names_do_not_act_in_any_format() {
        let said = text(Format::Github, &findings(), "b.json").unwrap();
        let lines: Vec<&str> = said.lines().collect();
        let error = "::error title=a|b \"<m>%3A loss%2C 8%3A x%3A regression::\
                     - before, - now, -; 50 %25 sure";
        assert_eq!(lines[0], error);
        assert!(lines[1].starts_with("::notice title=m%3A speed"), "{said}");
        assert_eq!(lines.len(), 3);
        let said = text(Format::Junit, &findings(), "b.json").unwrap();
        assert!(said.contains("classname=\"lra.a|b &quot;&lt;m&gt;\""), "{said}");
        assert!(said.contains("tests=\"3\" failures=\"1\" skipped=\"1\""), "{said}");
        let said = text(Format::Markdown, &findings(), "b.json").unwrap();
        assert!(said.contains("| a\\|b \"&lt;m&gt;"), "{said}");
        // The worst first.
        assert!(said.find("a\\|b") < said.find("speed"), "{said}");
    }
}
