//! The model in PyTorch that speed is compared with (`benches/peers/`) computes the same: with
//! the same weights the same loss, and the same gradient of every weight.
//!
//! `LRA_PEERS` names a Python that has torch; without it `target/peers-venv` is looked at, and
//! without that nothing is shown.

#[path = "../common/mod.rs"]
mod common;

mod cases;
mod draws;

use candle_core::{DType, Device, Tensor};
use cases::{CASES, Case};
use lra::attention::Registry;
use lra::config::{Dtype, RunConfig, RunSection, Sizes};
use lra::data::Batch;
use lra::layers::Weights;
use lra::models::Classifier;
use lra::train::{Gradients, gradients, save_weights};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers");

/// Relative; both sides compute in f32.
const TOLERANCE: f64 = 1e-4;

/// The Python to ask, or why there is none.
fn python() -> Result<PathBuf, String> {
    if let Some(python) = std::env::var_os("LRA_PEERS") {
        return Ok(python.into());
    }
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers-venv");
    if venv.join("ready").exists() {
        return Ok(venv.join("bin/python"));
    }
    Err(format!("LRA_PEERS is not set and {} is not there", venv.display()))
}

fn config(case: &Case) -> RunConfig {
    let registry = Registry::builtin();
    let variant = registry.get(case.model).unwrap();
    RunConfig {
        run: RunSection {
            task: "listops".to_owned(),
            model: case.model.to_owned(),
            preset: "none".to_owned(),
            seed: 0,
            device: "cpu".to_owned(),
            dtype: Dtype::F32,
            micro_batch: 2,
            recompute: false,
        },
        model: case.section(),
        attention: (variant.options)(&case.options.parse().unwrap()).unwrap(),
        data: toml::Table::new(),
        train: common::training(),
    }
}

/// Weights of which none is zero or one, so that no place for them can be mistaken.
fn fill(weights: &Weights) {
    let moved = |(i, (name, var)): (usize, (String, candle_core::Var))| {
        let noise = common::random(var.dims(), i as u64).to_dtype(DType::F32).unwrap();
        (name, (var.as_tensor() + (noise * 0.1).unwrap()).unwrap())
    };
    let values: BTreeMap<String, Tensor> =
        weights.vars().into_iter().enumerate().map(moved).collect();
    weights.set(&values).unwrap();
}

/// What lra computes, and what the peer needs for the same: its weights and its batch.
fn ours(case: &Case, config: &RunConfig, sizes: Sizes, folder: &Path) -> Gradients {
    let registry = Registry::builtin();
    let variant = registry.get(case.model).unwrap();
    let (weights, kind) = (Weights::new(3), (DType::F32, &Device::Cpu));
    let model =
        Classifier::new(&config.model, variant, &config.attention, sizes, &weights, kind).unwrap();
    fill(&weights);
    let rows = 2 * sizes.parts;
    let batch = common::batch(&vec![config.model.length; rows], 5);
    let labels = batch.labels[..2].to_vec();
    let batch = Batch { labels, parts: sizes.parts, ..batch };

    let vars = weights.vars();
    let values = vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
    save_weights(&folder.join("weights.safetensors"), &values, &BTreeMap::new()).unwrap();
    let shape = (rows, config.model.length);
    let mut given = draws::drawn(config, &model, &batch);
    given
        .insert("ids".to_owned(), Tensor::from_slice(&batch.ids.ids, shape, &Device::Cpu).unwrap());
    given.insert("labels".to_owned(), Tensor::new(&batch.labels[..], &Device::Cpu).unwrap());
    save_weights(&folder.join("batch.safetensors"), &given, &BTreeMap::new()).unwrap();
    gradients(&model, &vars, &batch, 2, (draws::SEED, draws::STEP), &|| false).unwrap().unwrap()
}

fn theirs(python: &Path, config: &RunConfig, sizes: Sizes, folder: &Path) -> Value {
    let Sizes { vocabulary, classes, parts } = sizes;
    // The compiled model is compared on request: it takes many minutes.
    let mode = if std::env::var_os("LRA_PEERS_COMPILE").is_some() { "compile" } else { "eager" };
    let sizes = json!({"vocabulary": vocabulary, "classes": classes, "parts": parts});
    let cell = json!({"config": config, "sizes": sizes, "threads": 1});
    let output = Command::new(python)
        .args(["-W", "ignore", &format!("{FOLDER}/peer.py"), "--cell", &cell.to_string()])
        .args(["--mode", mode, "--loss", "weights.safetensors", "--batch", "batch.safetensors"])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(folder)
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}", python.display()));
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "peer.py: {problem}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// How far the peer is from ours, relative, and where.
fn worst(ours: &Gradients, theirs: &Value) -> (f64, String) {
    let norm = |x: &Tensor| x.to_dtype(DType::F64)?.sqr()?.sum_all()?.sqrt()?.to_scalar::<f64>();
    let mut pairs =
        vec![("loss".to_owned(), ours.loss().unwrap(), theirs["loss"].as_f64().unwrap())];
    let named = theirs["gradient_norms"].as_object().unwrap();
    let names: BTreeSet<&String> = named.keys().collect();
    assert!(names.into_iter().eq(ours.by_name.keys()), "other weights: {:?}", named.keys());
    for (name, gradient) in &ours.by_name {
        pairs.push((name.clone(), norm(gradient).unwrap(), named[name].as_f64().unwrap()));
    }
    let off = |(name, a, b): (String, f64, f64)| ((a - b).abs() / a.abs().max(1e-6), name);
    pairs.into_iter().map(off).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

#[test]
fn every_model_has_a_case() {
    for variant in Registry::builtin().iter() {
        assert!(CASES.iter().any(|case| case.model == variant.name), "{}", variant.name);
    }
}

#[test]
fn peers_compute_the_same() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => {
            eprintln!("SKIPPED: {why}; run benches/peers/setup.sh to compare with PyTorch");
            return;
        }
    };
    let mut wrong = Vec::new();
    for case in CASES {
        let (config, sizes) = (config(case), case.sizes());
        let folder = tempfile::tempdir().unwrap();
        let ours = ours(case, &config, sizes, folder.path());
        let theirs = theirs(&python, &config, sizes, folder.path());
        let (off, name) = worst(&ours, &theirs);
        let options = case.options.replace('\n', ", ");
        eprintln!("{} ({options}): off by {off:.1e} in {name}", case.model);
        if off.is_nan() || off > TOLERANCE {
            wrong.push(format!("{} {:?}: {name} is off by {off:e}", case.model, case.options));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
