//! What the generator promises besides its distribution.

use super::{examples, load, places, small};
use lra::progress::Progress;
use lra::tasks::listops::{Options, decode, generate};
use std::collections::HashSet;

#[test]
fn the_same_bytes_for_any_number_of_threads() {
    let options = Options { train: 3000, ..small() };
    let files = [1, 2, 5].map(|threads| {
        let folder = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let data = pool.install(|| load(&options, &places(folder.path()))).unwrap();
        data.splits().map(|(_, split)| std::fs::read(split.path().unwrap()).unwrap())
    });
    assert_eq!(files[0], files[1]);
    assert_eq!(files[0], files[2]);
}

/// Frozen: when this fails on purpose, raise `GENERATOR_VERSION` and the card's version.
#[test]
fn the_examples_of_a_seed_are_frozen() {
    let folder = tempfile::tempdir().unwrap();
    let data = load(&small(), &places(folder.path())).unwrap();
    assert_eq!(data.checksum, "296ddc02e1da7df9326e168aab7d56b3d8171d32c718986958823dac08702dcc");
    let other = load(&Options { seed: 1, ..small() }, &places(folder.path())).unwrap();
    assert_ne!(data.checksum, other.checksum);
}

/// 4,400 expressions of 4 or 5 tokens exist; 4,000 of them are all different although the
/// draws repeat constantly.
#[test]
fn no_example_twice_within_or_across_splits() {
    let options = Options {
        train: 2000,
        validation: 1000,
        test: 1000,
        min_length: 3,
        max_length: 6,
        max_depth: 2,
        max_args: 3,
        ..Options::default()
    };
    let splits = generate(&options, &Progress::silent()).unwrap();
    assert_eq!(splits.each_ref().map(|s| s.len()), [2000, 1000, 1000]);
    let mut seen = HashSet::new();
    for split in &splits {
        for i in 0..split.len() {
            let tokens = split.tokens(i, 0);
            assert!((4..=5).contains(&tokens.len()));
            assert!(seen.insert(tokens.to_vec()), "{}", decode(tokens));
        }
    }
}

#[test]
fn validation_and_test_do_not_depend_on_the_size_of_train() {
    let one = generate(&small(), &Progress::silent()).unwrap();
    let two = generate(&Options { train: 700, ..small() }, &Progress::silent()).unwrap();
    assert_eq!(one[1], two[1]);
    assert_eq!(one[2], two[2]);
    for i in 0..one[0].len() {
        assert_eq!(one[0].tokens(i, 0), two[0].tokens(i, 0));
    }
}

/// Another evaluator, written on strings and sorted lists.
fn value(tokens: &mut std::str::SplitWhitespace<'_>) -> Option<u32> {
    let token = tokens.next().unwrap();
    if token == "]" {
        return None;
    }
    let Some(operator) = token.strip_prefix('[') else { return Some(token.parse().unwrap()) };
    let mut arguments: Vec<u32> = std::iter::from_fn(|| value(tokens)).collect();
    arguments.sort();
    let n = arguments.len();
    Some(match operator {
        "MIN" => arguments[0],
        "MAX" => arguments[n - 1],
        "SM" => arguments.iter().sum::<u32>() % 10,
        "MED" if n % 2 == 1 => arguments[n / 2],
        "MED" => ((arguments[n / 2 - 1] as f64 + arguments[n / 2] as f64) / 2.0).floor() as u32,
        other => panic!("{other}"),
    })
}

#[test]
fn labels_are_what_an_independent_evaluator_says() {
    let folder = tempfile::tempdir().unwrap();
    let data = load(&small(), &places(folder.path())).unwrap();
    for (_, split) in data.splits() {
        for (symbols, label) in examples(split) {
            let text = decode(&symbols);
            let mut tokens = text.split_whitespace();
            assert_eq!(value(&mut tokens), Some(label), "{text}");
            assert_eq!(tokens.next(), None);
        }
    }
}

/// The card states what the code does.
#[test]
fn the_card_agrees_with_the_code() {
    use lra::tasks::listops::{CLASSES, ListOps, VOCABULARY};
    let task = lra::tasks::find("listops").unwrap();
    let card: toml::Table = task.card().parse().unwrap();
    let defaults = lra::config::Card::of(&ListOps).unwrap().data;
    assert_eq!(Options::parse(&defaults).unwrap(), Options::default());
    assert_eq!(defaults.len(), toml::Table::try_from(Options::default()).unwrap().len());
    let folder = tempfile::tempdir().unwrap();
    let data = load(&small(), &places(folder.path())).unwrap();
    assert_eq!(card["name"].as_str(), Some("listops"));
    assert_eq!(card["version"].as_integer(), Some(data.version.into()));
    assert_eq!(card["classes"].as_integer(), Some(CLASSES as i64));
    assert_eq!(card["vocabulary"].as_integer(), Some(VOCABULARY as i64));
    assert_eq!((data.classes, data.vocabulary), (CLASSES, VOCABULARY));
    assert_eq!(data.train.first_id(), 1);
    assert_eq!(data.source, "generated");
}
