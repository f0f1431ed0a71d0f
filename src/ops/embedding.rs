//! Token embedding with positions and an optional learned first row (CLS), in one op:
//! `y[b, 0] = cls + positions[0]`, `y[b, c + i] = table[ids[b, i]] + positions[c + i]`
//! with c = 1 if there is a CLS row, else 0.

use super::cpu::{Real, contiguous, dtype, fused, gradient, read, to_storage, with_real};
use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::Arc;

/// Token ids [batch, n], row-major.
#[derive(Debug, Clone)]
pub struct Ids {
    pub ids: Arc<[u32]>,
    pub batch: usize,
    pub n: usize,
}

/// `table` [v, d], `positions` [>= n + c, d], `cls` [1, d] -> [b, n + c, d].
pub fn embed(
    ids: &Ids,
    table: &Tensor,
    positions: &Tensor,
    cls: Option<&Tensor>,
) -> Result<Tensor> {
    check(ids, table, positions, cls)?;
    #[cfg(feature = "cuda")]
    if super::cuda::serves(table) && super::cuda::embeds(table) {
        return super::cuda::embed(ids, table, positions, cls);
    }
    if !fused(table) {
        return reference(ids, table, positions, cls);
    }
    let op = Fused { ids: ids.clone(), cls: cls.is_some() };
    // A custom op has three operands; without a CLS row the third is not looked at.
    table.contiguous()?.apply_op3(&positions.contiguous()?, cls.unwrap_or(positions), op)
}

/// The same, composed of Candle's ops. The one-hot product keeps the gradient of a
/// small table off Candle's serial `index_add` on a GPU.
pub fn reference(
    ids: &Ids,
    table: &Tensor,
    positions: &Tensor,
    cls: Option<&Tensor>,
) -> Result<Tensor> {
    let (v, d) = table.dims2()?;
    let flat = Tensor::from_slice(&ids.ids, ids.ids.len(), table.device())?;
    let classes = Tensor::arange(0u32, v as u32, table.device())?;
    let one_hot = flat.unsqueeze(1)?.broadcast_eq(&classes.unsqueeze(0)?)?;
    let tokens = one_hot.to_dtype(table.dtype())?.matmul(table)?;
    let tokens = tokens.reshape((ids.batch, ids.n, d))?;
    let rows = match cls {
        Some(cls) => {
            let first = cls.unsqueeze(0)?.broadcast_as((ids.batch, 1, d))?;
            Tensor::cat(&[&first.contiguous()?, &tokens], 1)?
        }
        None => tokens,
    };
    rows.broadcast_add(&positions.narrow(0, 0, rows.dim(1)?)?)
}

fn check(ids: &Ids, table: &Tensor, positions: &Tensor, cls: Option<&Tensor>) -> Result<()> {
    let (v, d) = table.dims2()?;
    let rows = ids.n + usize::from(cls.is_some());
    let (p, pd) = positions.dims2()?;
    if p < rows || pd != d || cls.is_some_and(|c| c.dims() != [1, d]) {
        bail!("embed: {rows} rows of width {d} asked of positions [{p}, {pd}]");
    }
    if ids.ids.len() != ids.batch * ids.n {
        bail!("embed: {} ids for [{}, {}]", ids.ids.len(), ids.batch, ids.n);
    }
    match ids.ids.iter().find(|&&id| id as usize >= v) {
        Some(id) => bail!("embed: token id {id} outside the vocabulary of {v}"),
        None => Ok(()),
    }
}

struct Fused {
    ids: Ids,
    cls: bool,
}

impl Fused {
    fn forward<T: Real>(&self, table: &[T], positions: &[T], cls: &[T], d: usize) -> Vec<T> {
        let rows = self.ids.n + usize::from(self.cls);
        let mut y = vec![T::ZERO; self.ids.batch * rows * d];
        y.par_chunks_mut(rows * d).enumerate().for_each(|(b, y)| {
            let ids = &self.ids.ids[b * self.ids.n..][..self.ids.n];
            let first = self.cls.then_some(&cls[..d]).into_iter();
            let tokens = ids.iter().map(|&id| &table[id as usize * d..][..d]);
            let sources = first.chain(tokens).zip(positions.chunks_exact(d));
            for (y, (token, position)) in y.chunks_exact_mut(d).zip(sources) {
                for i in 0..d {
                    y[i] = token[i] + position[i];
                }
            }
        });
        y
    }

    /// Gradients of table, positions (full length) and CLS row. Parallel over columns,
    /// each summed in the order of the batch.
    fn backward<T: Real>(&self, g: &[T], v: usize, p: usize, d: usize) -> [Vec<T>; 3] {
        const COLUMNS: usize = 16;
        let (n, c) = (self.ids.n, usize::from(self.cls));
        let parts: Vec<(usize, Vec<T>)> = (0..d)
            .into_par_iter()
            .step_by(COLUMNS)
            .map(|first| {
                let width = COLUMNS.min(d - first);
                let mut sums = vec![T::ZERO; (v + p) * width];
                let (table, positions) = sums.split_at_mut(v * width);
                for (row, g) in g.chunks_exact(d).enumerate() {
                    let (b, i) = (row / (n + c), row % (n + c));
                    let g = &g[first..first + width];
                    let add = |to: &mut [T]| to.iter_mut().zip(g).for_each(|(t, &g)| *t += g);
                    add(&mut positions[i * width..][..width]);
                    if i >= c {
                        add(&mut table[self.ids.ids[b * n + i - c] as usize * width..][..width]);
                    }
                }
                (first, sums)
            })
            .collect();
        let mut all = vec![T::ZERO; (v + p) * d];
        for (first, sums) in &parts {
            let width = COLUMNS.min(d - first);
            for (to, from) in all.chunks_exact_mut(d).zip(sums.chunks_exact(width)) {
                to[*first..first + width].copy_from_slice(from);
            }
        }
        let positions = all.split_off(v * d);
        let cls = positions[..d].to_vec();
        [all, positions, cls]
    }
}

impl CustomOp3 for Fused {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(
        &self,
        st: &CpuStorage,
        lt: &Layout,
        sp: &CpuStorage,
        lp: &Layout,
        sc: &CpuStorage,
        lc: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, d) = lt.shape().dims2()?;
        let y = with_real!("embedding", dtype(st), T => to_storage(self.forward::<T>(
            contiguous(st, lt)?, contiguous(sp, lp)?, contiguous(sc, lc)?, d,
        )));
        Ok((y, (self.ids.batch, self.ids.n + usize::from(self.cls), d).into()))
    }

    fn bwd(
        &self,
        table: &Tensor,
        positions: &Tensor,
        cls: &Tensor,
        _y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let g = g.contiguous()?;
        let ((v, d), (p, _)) = (table.dims2()?, positions.dims2()?);
        let hg = read(&g)?;
        with_real!("embedding: backward", g.dtype(), T => {
            let [dt, dp, dc] = self.backward::<T>(hg.slice()?, v, p, d);
            let dc = if self.cls { gradient(dc, cls)? } else { None };
            Ok((gradient(dt, table)?, gradient(dp, positions)?, dc))
        })
    }
}

/// The fixed table of Vaswani et al. 2017, section 3.5: sines on even channels, cosines
/// on odd ones, base 10,000. [n, d].
pub fn sinusoid(n: usize, d: usize, like: (DType, &candle_core::Device)) -> Result<Tensor> {
    fixed(n, d, like, |i, c| wave(i, c, d))
}

/// The same for the pixels of a square picture, row by row: the first half of the channels
/// tells the row, the second the column (He et al. 2022, arXiv:2111.06377, appendix A).
/// [side * side, d].
pub fn sinusoid_2d(side: usize, d: usize, like: (DType, &candle_core::Device)) -> Result<Tensor> {
    let rows = d / 2;
    fixed(side * side, d, like, |i, c| match c < rows {
        true => wave(i / side, c, rows),
        false => wave(i % side, c - rows, d - rows),
    })
}

fn wave(i: usize, c: usize, d: usize) -> f64 {
    let angle = i as f64 / 10_000f64.powf((c / 2 * 2) as f64 / d as f64);
    if c.is_multiple_of(2) { angle.sin() } else { angle.cos() }
}

fn fixed(
    n: usize,
    d: usize,
    (dtype, device): (DType, &candle_core::Device),
    value: impl Fn(usize, usize) -> f64 + Copy,
) -> Result<Tensor> {
    let table: Vec<f64> = (0..n).flat_map(|i| (0..d).map(move |c| value(i, c))).collect();
    Tensor::from_vec(table, (n, d), &candle_core::Device::Cpu)?.to_dtype(dtype)?.to_device(device)
}
