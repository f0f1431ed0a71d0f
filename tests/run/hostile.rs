//! Terminals, streams and names that nobody should have.

use super::skip::skip;
use super::{arguments, cache, folder, lra};
use std::process::{Command, Stdio};

fn command(words: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lra"));
    command.env("LRA_CACHE", cache()).env_remove("LRA_DATA").args(words);
    command
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(String::from).collect()
}

/// A reader that has gone is no failure, and nothing is said of it.
#[test]
fn a_closed_output_ends_quietly() {
    let (_root, out) = folder();
    let mut all = vec![
        words("list"),
        words("list --json"),
        words("data list"),
        words("completions bash"),
        words("sweep --models linear --tasks listops --dry-run"),
        words("show attention --model local"),
    ];
    all.push([arguments("linear", 3, &out), words("--json")].concat());
    for words in all {
        let mut child = command(&words)
            .current_dir(out.parent().unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("error:"), "{words:?}: {said}");
    }
    // Nor is a standard error that was closed.
    let (_root, out) = folder();
    let line = "exec \"$0\" \"$@\" 2>&- >&-";
    let mut shell = Command::new("sh");
    shell.env("LRA_CACHE", cache()).args(["-c", line, env!("CARGO_BIN_EXE_lra")]);
    assert!(shell.args(arguments("linear", 3, &out)).status().unwrap().success());
    assert!(out.join("record.json").exists());
}

/// Bars on a terminal of 20 columns, with colours and without.
#[test]
fn a_narrow_terminal() {
    let script = Command::new("script").arg("--version").output();
    if !script.is_ok_and(|output| output.status.success()) {
        skip("no `script`, which gives a terminal");
        return;
    }
    for (no_colour, sweep) in [(false, false), (true, false), (false, true)] {
        let (root, out) = folder();
        let words = match sweep {
            false => arguments("linear", 40, &out),
            true => {
                let mut words = words("sweep --models linear,local --tasks listops --jobs 2");
                words.extend(["--steps".into(), "40".into(), "--out".into()]);
                words.push(out.to_str().unwrap().into());
                words.extend(super::SMALL.iter().flat_map(|set| ["--set".into(), set.to_string()]));
                words
            }
        };
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let line = format!(
            "stty cols 20 rows 5; '{}' {}; echo code $?",
            env!("CARGO_BIN_EXE_lra"),
            quoted.join(" ")
        );
        let mut script = Command::new("script");
        script.args(["-q", "-e", "-c", &line]).arg(root.path().join("typescript"));
        script.env("LRA_CACHE", cache()).env("TERM", "xterm-256color").env_remove("NO_COLOR");
        if no_colour {
            script.env("NO_COLOR", "1");
        }
        let output = script.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("code 0") && !said.contains("panicked"), "{said}");
        assert!(said.contains('\u{1b}'), "it drew no bar: {said}");
        assert_eq!(said.contains("\u{1b}[34m"), !no_colour, "blue: {said}");
    }
}

/// Folders of any name are made, used again, and named on one line.
#[test]
fn names_with_anything_in_them() {
    let root = tempfile::tempdir().unwrap();
    for name in ["-a\n\u{1f600}", "=1+1", " ", "a\u{1b}[31m"] {
        let out = root.path().join(name);
        let output = lra().args(arguments("linear", 3, &out)).assert().success();
        let printed = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        assert_eq!(printed.lines().count(), 2, "{printed:?}");
        assert!(!printed.contains('\u{1b}'), "{printed:?}");
        lra().args(arguments("linear", 3, &out)).assert().success();
        let error = lra().args(arguments("linear", 4, &out)).assert().code(2);
        let said = String::from_utf8(error.get_output().stderr.clone()).unwrap();
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
}
