//! Resident memory while pictures of Path-X's size are read from a mapped file. One test:
//! others of this process would be counted.
#![cfg(target_os = "linux")]

use lra::config::Pad;
use lra::data::{Loader, PackWriter, Split};
use lra::measure::{peak_resident, reset_peak_resident, resident};
use std::path::Path;

/// Bytes of a picture, one a pixel.
const PIXELS: usize = 128 * 128;
const BATCH: usize = 16;

/// The most that a process gains over an epoch of so many pictures.
fn gained(path: &Path, pictures: usize) -> u64 {
    let mut writer = PackWriter::create(path, 1, 0).unwrap();
    let mut picture = vec![0; PIXELS];
    for i in 0..pictures {
        picture[i % PIXELS] = i as u8;
        writer.push(&[&picture], i as u32 % 2).unwrap();
    }
    writer.finish().unwrap();
    let before = resident().unwrap();
    assert!(reset_peak_resident(), "this kernel does not let a process reset VmHWM");
    let split = Split::open(path).unwrap();
    let mut loader = Loader::new(split, 0, BATCH, PIXELS, Pad::Length);
    for step in 0..(pictures / BATCH) as u64 {
        assert_eq!(loader.batch(step).unwrap().len(), BATCH);
    }
    peak_resident().unwrap().saturating_sub(before)
}

#[test]
fn memory_does_not_grow_with_the_set() {
    let root = tempfile::tempdir().unwrap();
    // The first warms up what every epoch needs.
    gained(&root.path().join("warm"), 1 << 10);
    let gained = gained(&root.path().join("large"), 24 << 10);
    println!("{gained} bytes more while 384 MiB of pictures were read");
    // Pages are given back after 16 MiB of pictures. Linux maps the 64 KiB around a page that
    // is missing (fault_around_bytes), so a picture of 16 KiB may bring five times its size.
    // The other 16 MiB are for batches, and for 16 bytes an example of lengths and labels.
    assert!(gained < (5 * 16 + 16) << 20, "{gained} bytes");
}
