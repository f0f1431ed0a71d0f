//! The files of CIFAR-10's binary version: records of a label byte and three planes of 1,024
//! bytes, red, green, blue.

use crate::data::{Published, Remote, Source};
use crate::error::{Error, Result};
use crate::progress::Progress;

pub(super) const CIFAR: Published = Published {
    folder: "cifar-10-batches-bin",
    holds: &FILES,
    // Size and SHA-256 as tensorflow_datasets has them (url_checksums).
    archive: Remote {
        file: "cifar-10-binary.tar.gz",
        url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        bytes: 170_052_171,
        sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    },
};

pub(super) const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Five files of train, one of test.
pub(super) const FILES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

pub(super) const PIXELS: usize = 1024;
const RECORD: usize = 1 + 3 * PIXELS;
/// Records of an official file.
const OFFICIAL: usize = 10_000;

pub(super) struct Picture {
    pub label: u32,
    pub pixels: [u8; PIXELS],
}

/// How large a file may be; `None` for those that hold no pictures.
pub(super) fn limit(path: &str) -> Option<u64> {
    FILES.contains(&path).then_some((RECORD * OFFICIAL) as u64)
}

/// TensorFlow's `rgb_to_grayscale` of bytes, which LRA uses: to [0, 1], weighted, times
/// 255.5, cut to an integer; single precision throughout.
pub fn gray(red: u8, green: u8, blue: u8) -> u8 {
    let unit = |byte: u8| f32::from(byte) * (1.0 / 255.0);
    let sum = unit(red) * 0.2989 + unit(green) * 0.587 + unit(blue) * 0.114;
    (sum * 255.5) as u8
}

/// All pictures of train and of test, in the order of the files.
pub(super) fn read(source: &Source, progress: &Progress) -> Result<[Vec<Picture>; 2]> {
    source.note(&CIFAR, progress)?;
    let bar = progress.bar("image", "pictures", (FILES.len() * OFFICIAL) as u64);
    let mut files = FILES.map(|_| Vec::new());
    source.each(&CIFAR, &limit, &mut |path, bytes| {
        let at = |message: String| Error::data(source.path().join(path), message);
        let Some(file) = FILES.iter().position(|name| *name == path) else { return Ok(()) };
        let (whole, rest) = (bytes.len() / RECORD, bytes.len() % RECORD);
        if bytes.is_empty() || rest != 0 {
            let message = format!(
                "record {} has {rest} bytes; expected {RECORD}, and {OFFICIAL} records in an \
                 official file; unpack the archive again",
                whole + 1
            );
            return Err(at(message));
        }
        if !files[file].is_empty() {
            return Err(at("a second file of this name; expected one".into()));
        }
        for (i, record) in bytes.chunks_exact(RECORD).enumerate() {
            let label = record[0];
            if usize::from(label) >= CLASSES.len() {
                let message = format!(
                    "record {}, byte {}: label {label}; expected 0 to 9",
                    i + 1,
                    i * RECORD
                );
                return Err(at(message));
            }
            let plane = |p: usize, i: usize| record[1 + p * PIXELS + i];
            let pixels = std::array::from_fn(|i| gray(plane(0, i), plane(1, i), plane(2, i)));
            files[file].push(Picture { label: label.into(), pixels });
            bar.advance(1);
        }
        Ok(())
    })?;
    for (file, name) in files.iter().zip(FILES) {
        let place = source.path().join(name);
        if file.is_empty() {
            return Err(Error::data(place, "missing; expected all six files of the set"));
        }
        if file.len() != OFFICIAL {
            let (found, place) = (file.len(), place.display());
            bar.say(&format!("{place}: {found} pictures; the official file has {OFFICIAL}"));
        }
    }
    let [a, b, c, d, e, test] = files;
    Ok([[a, b, c, d, e].into_iter().flatten().collect(), test])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hand-worked: the weights add up to 0.9999, so white is 255.47 before it is cut, and
    /// 255.5 lifts what rounding would have lost. PIL's `L` gives 76 for pure red too, but
    /// 150 for pure green (here 149.98 is cut) and 29 for pure blue.
    #[test]
    fn gray_is_that_of_tensorflow() {
        for (rgb, expected) in [
            ((0, 0, 0), 0),
            ((255, 255, 255), 255),
            ((255, 0, 0), 76),
            ((0, 255, 0), 149),
            ((0, 0, 255), 29),
            ((128, 128, 128), 128),
            ((1, 1, 1), 1),
            ((10, 200, 100), 132),
        ] {
            assert_eq!(gray(rgb.0, rgb.1, rgb.2), expected, "{rgb:?}");
        }
        // A gray picture is its own gray: what `export` writes is read back as it was.
        assert!((0..=255).all(|v| gray(v, v, v) == v));
    }
}
