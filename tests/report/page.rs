//! The page, in a browser that shows nothing; without one, the test says so and passes.

use super::*;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const HARD: &str =
    "</script><script>window.harm=1</script>\"'\n<img src=x onerror='harm=1'>🦀&amp;";

/// A thousand runs of forty models on five tasks, five seeds each; one on another length, and
/// one of another preset.
fn thousand() -> Vec<Record> {
    let mut records = Vec::new();
    for model in 0..40u64 {
        let name = if model == 20 { HARD.to_owned() } else { format!("model-{model}") };
        for (place, task) in FIVE.into_iter().enumerate() {
            for seed in 0..5 {
                let percent = 30.0 + (model * 7 % 40) as f64 / 3.0 + 5.0 * place as f64;
                let mut one = record(task, &name, seed, percent + seed as f64 / 10.0);
                one.config["model"] = serde_json::json!({"length": 1024});
                one.parameters = 10_000 * (1 + model * 3 % 17);
                one.speed.as_mut().unwrap().examples_per_second = 20.0 + (model * 11 % 43) as f64;
                one.memory.peak_live = Some(100_000_000 * (1 + model % 5));
                let at = |step: u64| Evaluation {
                    step,
                    train_loss: 2.0 - step as f64 / 1e4,
                    ..one.evaluations[0]
                };
                one.evaluations = (1..=20).map(|k| at(k * 250)).collect();
                if model == 5 && task == "listops" {
                    one = ended(one, Status::Diverged);
                    one.reason = Some("<b>loss</b> is NaN".into());
                }
                records.push(one);
            }
        }
    }
    let mut long = record("text", "model-1", 9, 40.0);
    long.config["model"] = serde_json::json!({"length": 2048});
    let mut other = record("listops", "model-1", 0, 40.0);
    other.preset = "lra".into();
    records.extend([long, other]);
    records
}

fn report_in_memory(records: Vec<Record>) -> Report {
    let run = |(i, record)| Run { folder: format!("runs/{i}").into(), record };
    let runs = records.into_iter().enumerate().map(run).collect();
    let loaded = Loaded { runs, ..Loaded::default() };
    Report::new(loaded, Published::compiled_in().unwrap(), "lra report".into(), None)
}

/// Chromium under one of its names.
fn browser() -> Option<&'static str> {
    let runs = |name: &&str| {
        let mut asked = Command::new(name);
        let asked = asked.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    };
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(runs)
}

/// What the browser made of the page, and what it had to say about it.
fn opened(browser: &str, page: &Path) -> (String, String) {
    let folder = page.parent().unwrap();
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let (dom, log) = (folder.join("dom.html"), folder.join("log.txt"));
    let mut child = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", &profile])
        .args(["--enable-logging=stderr", "--window-size=1440,900"])
        // Of its own clock: enough for two frames, however slow the machine.
        .arg("--virtual-time-budget=10000")
        .arg(format!("file://{}", page.display()))
        .stdout(fs::File::create(&dom).unwrap())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    // A browser that hangs must not hang the tests.
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(240) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{browser} did not end; it said: {}", fs::read_to_string(&log).unwrap());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    (text(&dom), text(&log))
}

#[test]
fn the_page_works_at_a_thousand_records() {
    let Some(browser) = browser() else {
        skip::skip("no Chromium here (chromium, chromium-browser or google-chrome)");
        return;
    };
    let page = report::page(&report_in_memory(thousand())).unwrap();
    let expected = serde_json::json!({
        "dots": 39, "missing": "model-5: - (4 of 5 tasks)", "runs": 1001, "hard": HARD,
    });
    // Its own text must not end its element either.
    let expected = expected.to_string().replace('<', "\\u003c");
    let early = "<script>window.errors = [];\
        addEventListener('error', (event) => errors.push(event.message));\
        addEventListener('unhandledrejection', (event) => errors.push(event.reason));\
        addEventListener('securitypolicyviolation', (event) => errors.push(event.blockedURI));\
        </script>";
    let late = format!(
        "<script>const EXPECTED = {expected};\n{}</script></body>",
        include_str!("page.js")
    );
    let page = page.replacen("<title>", &format!("{early}<title>"), 1);
    let (head, tail) = page.rsplit_once("</body>").unwrap();
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("page.html");
    fs::write(&path, format!("{head}{late}{tail}")).unwrap();
    let (dom, log) = opened(browser, &path);
    let checks =
        dom.split_once("checks begin\n").and_then(|(_, rest)| rest.split_once("\nchecks end"));
    let Some((checks, _)) = checks else { panic!("the checks did not end: {log}") };
    let failed: Vec<&str> = checks.lines().filter(|line| !line.starts_with("passed: ")).collect();
    assert!(failed.is_empty(), "{}\n{log}", failed.join("\n"));
    assert_eq!(checks.lines().count(), 11, "{checks}");
    let console: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(console.is_empty(), "{}", console.join("\n"));
}

/// What the page is made of.
fn data(page: &str) -> serde_json::Value {
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap()
}

/// Five tasks, of which no machine timed all: an average is shown at the speed of one, first
/// that of the most models.
#[test]
fn an_average_has_a_speed_though_no_machine_timed_all() {
    let mut records = Vec::new();
    for (place, model) in ["transformer", "linear", "local"].into_iter().enumerate() {
        for task in FIVE {
            let mut one = record(task, model, 1, 50.0);
            one.environment.threads += u32::from(task == "text");
            if place == 0 && task != "text" {
                one.speed = None;
            }
            records.push(one);
        }
    }
    let first = |records: Vec<Record>| {
        let all = data(&report::page(&report_in_memory(records)).unwrap());
        all["presets"][0]["charts"][0].clone()
    };
    let chart = first(records.clone());
    assert_eq!(chart["task"], "Average of 5 (paper)");
    let machine = chart["machine"].as_str().unwrap();
    assert!(machine.starts_with("Text on cpu"), "{machine}");
    for point in chart["points"].as_array().unwrap() {
        assert!(point["examples"].is_f64() && point["live"].is_f64(), "{point}");
    }
    records.iter_mut().for_each(|one| one.environment.threads = 1);
    let machine = first(records)["machine"].as_str().unwrap().to_owned();
    assert!(machine.starts_with("cpu"), "all timed on one machine: {machine}");
}

/// It works from a file, with no network: it names nothing to fetch.
#[test]
fn the_page_fetches_nothing() {
    let page = report::page(&report_in_memory(thousand())).unwrap();
    let (shell, rest) = page.split_once("id=\"data\">").unwrap();
    let (_, scripts) = rest.split_once("</script>").unwrap();
    assert_eq!(self::data(&page)["runs"].as_array().unwrap().len(), 1002);
    let addresses = [shell, scripts].concat().replace("http://www.w3.org/2000/svg", "");
    for word in ["http:", "https:", "src=", "@import", "url(", "fetch(", "innerHTML", "import("] {
        assert!(!addresses.contains(word), "{word}");
    }
    assert!(shell.contains("default-src 'none'"), "a policy against every request");
}

#[test]
fn the_page_is_written_where_it_is_asked_for() {
    let root = tempfile::tempdir().unwrap();
    save(root.path(), "run", &record("listops", "transformer", 1, 36.0));
    let (runs, file) = (root.path().to_str().unwrap(), root.path().join("made/page.html"));
    let output = lra().args(["report", runs, "--page"]).arg(&file).assert().code(0);
    let said = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert_eq!(said, format!("Written: {}\n", file.display()));
    assert!(fs::read_to_string(&file).unwrap().starts_with("<!doctype html>"));
    let out = root.path().join("out");
    lra().args(["report", runs, "--page", "--out"]).arg(&out).assert().code(0);
    let names: Vec<_> =
        fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["report.html"], "the page alone");
}
