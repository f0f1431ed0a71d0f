//! Documents that the report puts its tables and pictures into.

use super::*;
use std::path::PathBuf;

/// A document, records, and the command to put the one into the other.
struct Case {
    root: tempfile::TempDir,
}

impl Case {
    fn new(text: &str) -> Self {
        let case = Self { root: tempfile::tempdir().unwrap() };
        for (model, percent) in [("transformer", 36.0), ("linear", 35.0)] {
            case.run(model, percent);
        }
        fs::write(case.document(), text).unwrap();
        case
    }

    fn run(&self, model: &str, percent: f64) {
        save(&self.root.path().join("runs"), model, &record("listops", model, 1, percent));
    }

    fn document(&self) -> PathBuf {
        self.root.path().join("README.md")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.document()).unwrap()
    }

    /// Exit code, standard output and standard error.
    fn report(&self, more: &[&str]) -> (i32, String, String) {
        let mut command = lra();
        command.arg("report").arg(self.root.path().join("runs"));
        let output = command.arg("--readme").arg(self.document()).args(more).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

const PARTS: &str = "# Title\r\n\nbefore\n<!-- lra:accuracy quick -->\nold\n<!-- /lra -->\n\
    <!-- lra:speed quick listops -->\n<!-- /lra -->\n\
    <!-- lra:picture plots/bubble-quick.png score and speed -->\n<!-- /lra -->\nafter, no newline";

#[test]
fn parts_are_put_in_and_checked() {
    let case = Case::new(PARTS);
    let (code, _, error) = case.report(&["--check"]);
    assert_eq!((code, case.text().as_str()), (7, PARTS), "a check writes nothing");
    let command = format!(
        "`lra report {} --readme {}` mends it",
        case.root.path().join("runs").display(),
        case.document().display()
    );
    for part in ["`accuracy quick` (line 4)", "`speed quick listops` (line 7)", &command] {
        assert!(error.contains(part), "{error}");
    }
    fs::create_dir(case.root.path().join("plots")).unwrap();
    let (code, said, error) = case.report(&[]);
    assert_eq!(code, 0, "{error}");
    assert!(said.contains("parts changed: 3 of 3"), "{said}");
    let text = case.text();
    assert!(
        text.starts_with("# Title\r\n\nbefore\n<!-- lra:accuracy quick -->\n| Model "),
        "{text}"
    );
    assert!(text.ends_with("<!-- /lra -->\nafter, no newline"), "{text}");
    assert!(
        text.contains("| Transformer        | 36.00 (n=1) |") && !text.contains("old"),
        "{text}"
    );
    assert!(text.contains("| Steps/s |") || text.contains(" Steps/s |"), "{text}");
    assert!(text.contains("\n![score and speed](plots/bubble-quick.png)\n<!-- /lra -->"), "{text}");
    assert_eq!(case.report(&["--check"]), (0, String::new(), String::new()));
    let (_, said, _) = case.report(&[]);
    assert!(said.contains("nothing changed, parts: 3"), "{said}");
    assert_eq!(case.text(), text, "twice is once");
    // A new record makes every part stale; a lost picture its own.
    case.run("performer", 30.0);
    let (code, _, error) = case.report(&["--check"]);
    assert!(code == 7 && error.contains("`accuracy quick`"), "{error}");
    assert!(error.contains("`picture plots/bubble-quick.png score and speed`"), "{error}");
    case.report(&[]);
    fs::remove_file(case.root.path().join("plots/bubble-quick.png")).unwrap();
    let (code, _, error) = case.report(&["--check"]);
    assert!(code == 7 && error.contains("picture") && !error.contains("accuracy"), "{error}");
}

#[test]
fn wrong_markers_are_told_and_nothing_is_written() {
    let cases = [
        ("no marker at all\n", "README.md: no marker; expected `<!-- lra:NAME -->`"),
        ("\n<!-- lra:accuracy quick -->\nx\n", "README.md:2: this marker is not closed"),
        ("<!-- lra:acuracy quick -->\n<!-- /lra -->\n", "README.md:1: `acuracy quick`: expected"),
        ("<!-- lra:accuracy lra -->\n<!-- /lra -->\n", "no records of preset lra below"),
        ("<!-- lra:speed quick text -->\n<!-- /lra -->\n", "no speed measured on Text"),
        ("<!-- lra:ratios -->\n<!-- /lra -->\n", "measured beside a peer; `lra bench --peer`"),
        ("<!-- lra:picture a/b.png x -->\n<!-- /lra -->\n", "there are: bubble-quick.svg"),
    ];
    for (text, expected) in cases {
        let case = Case::new(text);
        let (code, _, error) = case.report(&[]);
        assert!(code == 3 && error.contains(expected), "{code}: {error}");
        assert_eq!(case.text(), text);
    }
    let case = Case::new(PARTS);
    fs::write(case.document(), b"\xff\xfe").unwrap();
    assert_eq!(case.report(&[]).0, 3, "not text");
    let (code, _, error) = case.report(&["--readme", "/nonexistent/README.md"]);
    assert!(code == 3 || code == 10, "{code}: {error}");
}
