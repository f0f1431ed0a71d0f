//! Which positions of a batch hold tokens and which are padding.

use candle_core::{DType, Device, Result, Tensor, bail};
use std::sync::{Arc, OnceLock};

/// Validity of positions, [batch, n]. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    valid: Arc<[bool]>,
    /// Per example, one past the last valid position.
    ends: Arc<[usize]>,
    /// Every example's valid positions come first, without gaps.
    prefix: bool,
    n: usize,
    resident: Resident,
}

/// The mask on the device that first asked for it; no part of its value.
#[derive(Debug, Clone, Default)]
struct Resident(Arc<OnceLock<Tensor>>);

impl PartialEq for Resident {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Mask {
    pub fn new(valid: Vec<bool>, batch: usize, n: usize) -> Result<Self> {
        if valid.len() != batch * n || n == 0 {
            bail!("mask: {} values for [{batch}, {n}]", valid.len());
        }
        let end = |row: &[bool]| row.iter().rposition(|&v| v).map_or(0, |i| i + 1);
        let ends: Arc<[usize]> = valid.chunks_exact(n).map(end).collect();
        let prefix =
            valid.chunks_exact(n).zip(&*ends).all(|(row, &end)| row[..end].iter().all(|&v| v));
        Ok(Self { valid: valid.into(), ends, prefix, n, resident: Resident::default() })
    }

    /// Right-padded sequences of these lengths.
    pub fn from_lengths(lengths: &[usize], n: usize) -> Result<Self> {
        let valid = lengths.iter().flat_map(|&len| (0..n).map(move |i| i < len)).collect();
        Self::new(valid, lengths.len(), n)
    }

    /// The same with `count` valid positions put in front.
    pub fn prepend_valid(&self, count: usize) -> Result<Self> {
        let front = vec![true; count];
        let row = |example| [&front, self.row(example)].concat();
        Self::new((0..self.batch()).flat_map(row).collect(), self.batch(), self.n + count)
    }

    /// Every example's positions, and the same again behind them.
    pub fn twice(&self) -> Result<Self> {
        let row = |example| [self.row(example), self.row(example)].concat();
        Self::new((0..self.batch()).flat_map(row).collect(), self.batch(), 2 * self.n)
    }

    /// Examples `first..first + len`.
    pub fn narrow(&self, first: usize, len: usize) -> Result<Self> {
        Self::new(self.valid[first * self.n..(first + len) * self.n].to_vec(), len, self.n)
    }

    pub fn batch(&self) -> usize {
        self.ends.len()
    }

    pub fn n(&self) -> usize {
        self.n
    }

    pub fn row(&self, example: usize) -> &[bool] {
        &self.valid[example * self.n..][..self.n]
    }

    /// One past the last valid position of an example.
    pub fn end(&self, example: usize) -> usize {
        self.ends[example]
    }

    pub fn is_prefix(&self) -> bool {
        self.prefix
    }

    /// Number of valid positions of the whole batch.
    pub fn count(&self) -> usize {
        self.valid.iter().filter(|&&v| v).count()
    }

    /// 1 where valid, 0 where padding: [batch, n].
    pub fn tensor(&self, dtype: DType, device: &Device) -> Result<Tensor> {
        if !device.is_cpu() {
            return self.bytes(device)?.to_dtype(dtype);
        }
        let ones: Vec<f32> = self.valid.iter().map(|&v| f32::from(v)).collect();
        Tensor::from_vec(ones, (self.batch(), self.n), device)?.to_dtype(dtype)
    }

    /// The same as bytes, which a device is sent once.
    pub(crate) fn bytes(&self, device: &Device) -> Result<Tensor> {
        if let Some(tensor) = self.resident.0.get()
            && tensor.device().same_device(device)
        {
            return Ok(tensor.clone());
        }
        let ones: Vec<u8> = self.valid.iter().map(|&v| u8::from(v)).collect();
        let tensor = Tensor::from_vec(ones, (self.batch(), self.n), device)?;
        // Of another device it stays.
        let _ = self.resident.0.set(tensor.clone());
        Ok(tensor)
    }
}
