//! Sinkhorn's sort of blocks.

use crate::agree::{BF16, F32, off, values};
use crate::common::random;
use crate::gpu::gpu;
use candle_core::{D, DType, Device, Result, Tensor, Var};
use lra::ops::{self, Mask};

/// A sort of blocks: positions, their width, and of what.
#[derive(Debug, Clone, Copy)]
struct Case {
    n: usize,
    size: usize,
    parts: usize,
    heads: usize,
    w: usize,
}

impl Case {
    fn blocks(self) -> usize {
        self.n.div_ceil(self.size)
    }

    /// The first example whole, the second of three tokens, the third with a hole, the last
    /// without its end.
    fn mask(self) -> Mask {
        let n = self.n;
        let mut valid = vec![true; 4 * n];
        valid[n + n.min(3)..2 * n].fill(false);
        valid[2 * n + n / 3..2 * n + n / 2].fill(false);
        valid[3 * n + n - n / 3..].fill(false);
        Mask::new(valid, 4, n).unwrap()
    }

    /// x, and P whose rows sum to 1.
    fn inputs(self) -> (Tensor, Tensor) {
        let x = random(&[4, self.n, self.parts * self.heads * self.w], 1);
        let nb = self.blocks();
        let p = random(&[4, self.heads, nb, nb], 2).exp().unwrap();
        let p = p.broadcast_div(&p.sum_keepdim(D::Minus1).unwrap()).unwrap();
        (x, p)
    }

    /// Value and slopes of `sum(sort(x, p) * cotangent)`, of an x and a cotangent that were
    /// rounded to a type before, and a P that was rounded to f32.
    fn run(self, rounded: DType, x: DType, p: DType, device: &Device) -> Result<[Tensor; 3]> {
        let (rows, weights) = self.inputs();
        let rows = Var::from_tensor(&rows.to_dtype(rounded)?.to_dtype(x)?.to_device(device)?)?;
        let weights = weights.to_dtype(DType::F32)?.to_dtype(p)?.to_device(device)?;
        let weights = Var::from_tensor(&weights)?;
        let y = ops::sort_blocks(&rows, self.parts, &weights, self.size, &self.mask())?;
        let cotangent = random(y.dims(), 1000).to_dtype(rounded)?.to_dtype(x)?.to_device(device)?;
        let slopes = (&y * cotangent)?.sum_all()?.backward()?;
        let of = |v: &Var| slopes.get(v.as_tensor()).expect("a slope of every operand").clone();
        Ok([y, of(&rows), of(&weights)])
    }

    /// In f32 and bf16 against the CPU's in f64, and against itself.
    fn agrees(self) {
        let Some(gpu) = gpu() else { return };
        // With one block y does not depend on P: its slope is what is left of sums this large.
        let terms = (self.parts * self.size * self.w) as f64;
        for (dtype, tolerance) in [(DType::F32, F32), (DType::BF16, BF16)] {
            let exact = self.run(dtype, DType::F64, DType::F64, &Device::Cpu).unwrap();
            let found = self.run(dtype, dtype, DType::F32, &gpu).unwrap();
            let again = self.run(dtype, dtype, DType::F32, &gpu).unwrap();
            assert_eq!(found.each_ref().map(|x| x.dtype()), [dtype, dtype, DType::F32]);
            for (i, what) in ["value", "slope of x", "slope of P"].into_iter().enumerate() {
                let off = off(&found[i], &exact[i], terms.sqrt());
                assert!(off < tolerance, "{self:?} {dtype:?}: {what} is off by {off:e}");
                let same = values(&found[i]) == values(&again[i]);
                assert!(same, "{self:?} {dtype:?}: {what} is not the same twice");
            }
        }
    }
}

/// As many blocks as tiles hold, fewer and more of them, the last one short.
#[test]
fn sorts() {
    for (n, size) in [(13, 16), (16, 16), (57, 16), (523, 16), (1119, 16), (200, 50), (560, 8)] {
        for (w, parts) in [8, 32, 64].into_iter().flat_map(|w| [1, 2].map(|parts| (w, parts))) {
            Case { n, size, parts, heads: 2, w }.agrees();
        }
    }
}

/// Heads as wide as a tile, a width that tiles do not divide, and more blocks than a large tile.
#[test]
fn sorts_other_sizes() {
    Case { n: 300, size: 7, parts: 2, heads: 3, w: 128 }.agrees();
    Case { n: 300, size: 33, parts: 3, heads: 1, w: 24 }.agrees();
    Case { n: 1500, size: 5, parts: 2, heads: 1, w: 16 }.agrees();
}

/// Heads that the kernels do not take go through Candle's ops.
#[test]
fn other_widths() {
    let Some(gpu) = gpu() else { return };
    let case = Case { n: 50, size: 8, parts: 2, heads: 2, w: 6 };
    let exact = case.run(DType::F32, DType::F64, DType::F64, &Device::Cpu).unwrap();
    let found = case.run(DType::F32, DType::F32, DType::F32, &gpu).unwrap();
    for (x, right) in found.iter().zip(&exact) {
        let off = off(x, right, 1e-6);
        assert!(off < F32, "off by {off:e}");
    }
}
