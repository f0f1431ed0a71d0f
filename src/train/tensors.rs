//! Named tensors in a file: safetensors, with a checksum over every byte.
//!
//! The format (<https://github.com/huggingface/safetensors>) is eight bytes of header length,
//! a JSON header, and the data; any reader of it reads these files. The format itself notices
//! a cut file but not a changed one, so the header begins with a SHA-256 of the whole file,
//! taken with its own 64 digits as zeros. It stands at a fixed place: a file is verified
//! before anything in it is believed.
//!
//! The same content gives the same bytes. Reading is into memory: a mapped file that is cut
//! while it is read ends the process.

use crate::atomic::{read_whole, write_atomic};
use crate::error::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;

pub(super) type Tensors = BTreeMap<String, Tensor>;
pub(super) type Metadata = BTreeMap<String, String>;

/// How the header begins; the digits of the checksum follow.
const BEGIN: &str = r#"{"__metadata__":{"sha256":""#;
const CHECKSUM: &str = "sha256";
const METADATA: &str = "__metadata__";
const DIGITS: usize = 64;
const LENGTH: usize = 8;
/// Where the digits stand in the file.
const AT: usize = LENGTH + BEGIN.len();

/// Writes the weights of a model, for other programs and for [`load_weights`].
pub fn save_weights(path: &Path, tensors: &Tensors, metadata: &Metadata) -> Result<()> {
    write(path, tensors, metadata)
}

/// Reads what [`save_weights`] wrote, and verifies it.
pub fn load_weights(path: &Path, device: &Device) -> Result<(Tensors, Metadata)> {
    read(path, device)
}

pub(super) fn write(path: &Path, tensors: &Tensors, metadata: &Metadata) -> Result<()> {
    // Wide elements first keeps every tensor aligned; names make the order one.
    let mut order: Vec<_> = tensors.iter().collect();
    order.sort_by_key(|(name, tensor)| (Reverse(tensor.dtype().size_in_bytes()), *name));
    let mut header = header(path, &order, metadata)?;
    let mut hash = Sha256::new();
    hash.update(&header);
    // Twice through the data rather than a copy of all of it: a checkpoint must not be what
    // decides the peak of a run's memory.
    write_data(&order, &mut hash)?;
    header[AT..AT + DIGITS].copy_from_slice(hex(hash).as_bytes());
    write_atomic(path, |out| {
        out.write_all(&header)?;
        write_data(&order, out).map_err(|e| match e {
            // A full disk should read as one.
            candle_core::Error::Io(e) => e,
            other => io::Error::other(other),
        })
    })
}

/// Length and JSON, with zeros for a checksum, padded so that the data is aligned.
fn header(path: &Path, order: &[(&String, &Tensor)], metadata: &Metadata) -> Result<Vec<u8>> {
    let unusable = |message: String| Error::Checkpoint { path: path.to_path_buf(), message };
    let mut notes = Map::new();
    notes.insert(CHECKSUM.to_owned(), "0".repeat(DIGITS).into());
    for (key, value) in metadata {
        if key == CHECKSUM {
            return Err(unusable(format!("metadata key `{key}` is taken by the checksum")));
        }
        notes.insert(key.clone(), value.as_str().into());
    }
    let mut entries = Map::new();
    entries.insert(METADATA.to_owned(), notes.into());
    let mut offset = 0;
    for (name, tensor) in order {
        let dtype = dtype_name(tensor.dtype()).ok_or_else(|| {
            unusable(format!("tensor `{name}` is {}, which is not stored", tensor.dtype().as_str()))
        })?;
        let end = offset + tensor.elem_count() * tensor.dtype().size_in_bytes();
        let entry = json!({"dtype": dtype, "shape": tensor.dims(), "data_offsets": [offset, end]});
        if entries.insert((*name).clone(), entry).is_some() {
            return Err(unusable(format!("no tensor can be named `{name}`")));
        }
        offset = end;
    }
    let mut json = Value::Object(entries).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(LENGTH), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.append(&mut json);
    Ok(header)
}

fn write_data(order: &[(&String, &Tensor)], out: &mut dyn Write) -> candle_core::Result<()> {
    // Candle writes element by element.
    let mut out = BufWriter::with_capacity(1 << 16, out);
    for (_, tensor) in order {
        tensor.write_bytes(&mut out)?;
    }
    Ok(out.flush()?)
}

fn dtype_name(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::U8 => "U8",
        DType::U32 => "U32",
        DType::I64 => "I64",
        DType::BF16 => "BF16",
        DType::F16 => "F16",
        DType::F32 => "F32",
        DType::F64 => "F64",
        _ => return None,
    })
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every byte of a file that verifies.
pub(super) fn verified(path: &Path) -> Result<Vec<u8>> {
    let bytes = read_whole(path)?;
    let unusable =
        |message: &str| Error::Checkpoint { path: path.to_path_buf(), message: message.to_owned() };
    let marked = bytes.get(LENGTH..AT) == Some(BEGIN.as_bytes());
    let (Some(digits), true) = (bytes.get(AT..AT + DIGITS), marked) else {
        return Err(unusable("cut short, damaged, or not written by lra"));
    };
    let mut hash = Sha256::new();
    hash.update(&bytes[..AT]);
    hash.update([b'0'; DIGITS]);
    hash.update(&bytes[AT + DIGITS..]);
    if hex(hash).as_bytes() != digits {
        return Err(unusable("damaged: the checksum does not match"));
    }
    Ok(bytes)
}

pub(super) fn read(path: &Path, device: &Device) -> Result<(Tensors, Metadata)> {
    let bytes = verified(path)?;
    let unusable = |e: safetensors::SafeTensorError| Error::Checkpoint {
        path: path.to_path_buf(),
        message: format!("not a safetensors file: {e}"),
    };
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).map_err(unusable)?;
    let metadata = header.metadata().iter().flatten();
    let metadata = metadata.filter(|(key, _)| *key != CHECKSUM);
    let metadata = metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut tensors = Tensors::new();
    for (name, view) in safetensors::SafeTensors::deserialize(&bytes).map_err(unusable)?.iter() {
        let dtype = DType::try_from(view.dtype())?;
        let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), device)?;
        tensors.insert(name.to_owned(), tensor);
    }
    Ok((tensors, metadata))
}
