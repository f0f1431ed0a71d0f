//! Same configuration, same bytes.

use super::{arguments, folder, last_checkpoint, lra, result};
use lra::attention::Registry;

#[test]
fn threads_change_no_byte() {
    for variant in Registry::builtin().iter() {
        let ends: Vec<_> = ["1", "2", "3"]
            .map(|threads| {
                let (_root, out) = folder();
                let arguments = arguments(variant.name, 7, &out);
                lra().args(arguments).args(["--threads", threads]).assert().success();
                (result(&out), last_checkpoint(&out))
            })
            .into();
        assert!(ends[0] == ends[1] && ends[0] == ends[2], "{}", variant.name);
    }
}

#[test]
fn seeds_differ() {
    let ends: Vec<_> = ["0", "1"]
        .map(|seed| {
            let (_root, out) = folder();
            lra().args(arguments("linear", 4, &out)).args(["--seed", seed]).assert().success();
            result(&out)
        })
        .into();
    assert_ne!(ends[0], ends[1]);
}
