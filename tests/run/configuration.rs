//! What a configuration may be, and what is said of one that may not.

use super::skip::skip;
use super::{arguments, folder, lra};

#[test]
fn mistakes_are_named() {
    for (words, code, parts) in [
        (vec!["--set", "model.layer=2"], 2, vec!["`model.layer`", "unknown", "`layers`"]),
        (vec!["--set", "model.layers=two"], 2, vec!["`model.layers`", "\"two\""]),
        (vec!["--set", "model.layers=-1"], 2, vec!["`model.layers`", "-1"]),
        (vec!["--set", "model.layers=0"], 2, vec!["`model.layers`", "at least 1"]),
        (vec!["--set", "model.width=100000000000"], 2, vec!["`model.width`", "at most"]),
        (vec!["--set", "train.batch=1000000000000"], 2, vec!["`train.batch`", "at most"]),
        (
            vec!["--set", "model.width=65536", "--set", "model.layers=1024"],
            6,
            vec!["out of memory", "model.width"],
        ),
        (vec!["--set", "model.heads=3"], 2, vec!["`model.heads`", "do not divide"]),
        (vec!["--set", "model.length=41"], 2, vec!["`model.length`", "maximum of 40"]),
        (vec!["--set", "model.pooling=max"], 2, vec!["`model.pooling`", "`max`", "`cls`"]),
        (vec!["--set", "model.positions=sinusoid-2d"], 2, vec!["`model.positions`", "no square"]),
        (vec!["--set", "model.dropout=1"], 2, vec!["`model.dropout`", "< 1"]),
        (vec!["--set", "train.clip=nan"], 2, vec!["`train.clip`", "finite"]),
        (vec!["--set", "attention.blocks=3"], 2, vec!["`attention.blocks`", "unknown"]),
        (vec!["--set", "attention.block=0"], 2, vec!["`attention.block`", "at least 1"]),
        (vec!["--set", "data.max_arg=3"], 2, vec!["`data.max_arg`", "unknown"]),
        (vec!["--set", "optimiser.lr=3"], 2, vec!["unknown section `optimiser`", "train"]),
        (vec!["--set", "run.seed=3"], 2, vec!["set by flags", "--seed"]),
        (vec!["--set", "layers"], 2, vec!["--set layers", "section.key=value"]),
        (vec!["--micro-batch", "0"], 2, vec!["micro_batch", "at least 1"]),
        (vec!["--threads", "0"], 2, vec!["--threads 0"]),
        (vec!["--device", "gpu"], 2, vec!["--device gpu", "cuda:N"]),
    ] {
        let (_root, out) = folder();
        let output = lra().args(arguments("local", 2, &out)).args(&words).assert().code(code);
        let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        let last = error.lines().last().unwrap();
        assert!(parts.iter().all(|part| last.contains(part)), "{words:?}: {error}");
        assert!(!out.exists(), "{words:?} left a folder");
    }
    for (flag, parts) in [
        (["--model", "perfomer"], ["perfomer", "performer"]),
        (["--task", "listop"], ["listop", "listops"]),
        (["--preset", "fast"], ["fast", "quick"]),
    ] {
        let mut words = vec!["run", "--model", "local", "--task", "listops"];
        match words.iter().position(|w| *w == flag[0]) {
            Some(at) => words[at + 1] = flag[1],
            None => words.extend(flag),
        }
        let output = lra().args(&words).assert().code(2);
        let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        assert!(parts.iter().all(|part| error.contains(part)), "{words:?}: {error}");
    }
}

/// Without CUDA in the binary, or without a GPU, one line says so.
#[test]
fn a_missing_gpu_is_one_clear_line() {
    let (_root, out) = folder();
    if !candle_core::utils::cuda_is_available() {
        let mut command = lra();
        command.args(arguments("local", 2, &out)).args(["--device", "cuda:0"]);
        let output = command.assert().code(2);
        let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        let line = error.lines().last().unwrap();
        assert!(line.contains("--device cuda:0") && line.contains("CUDA"), "{error}");
    } else {
        skip("this binary has CUDA");
    }
}

#[test]
fn another_configuration_is_refused_with_the_difference() {
    let (_root, out) = folder();
    lra().args(arguments("local", 2, &out)).assert().success();
    let before = std::fs::read(out.join("model.safetensors")).unwrap();
    let words = ["--set", "attention.block=7", "--seed", "4"];
    let output = lra().args(arguments("local", 2, &out)).args(words).assert().code(2);
    let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    for part in ["attention.block", "50", "7", "run.seed", "--out"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(std::fs::read(out.join("model.safetensors")).unwrap(), before);
}
