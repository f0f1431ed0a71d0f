//! Kernels over rows: norm, bias, GELU, dropout, residual, embedding; and the ops that are
//! little more than one of them.

use super::device::{Fresh, Kernel, Module, address, blocks, device, each, flat, launch, suffix};
use super::node::node;
use crate::ops::{Dropout, Ids};
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, LaunchConfig};
use candle_core::{DType, Result, Tensor, bail};

/// Dropout as kernels take it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Drop {
    lanes: u64,
    threshold: u32,
    scale: f32,
}

// SAFETY: laid out as `Drop` of kernels/common.cuh.
unsafe impl DeviceRepr for Drop {}

/// Dropout and the lanes of its examples, which live as long.
pub(super) struct Dropped {
    drop: Dropout,
    lanes: Option<Tensor>,
}

impl Dropped {
    /// Over b examples.
    pub(super) fn new(drop: Dropout, b: usize, like: &Tensor) -> Result<Self> {
        if drop.p == 0.0 {
            return Ok(Self { drop, lanes: None });
        }
        let lanes = (0..b).map(|example| drop.lanes(example)).flat_map(|(x, y)| [x, y]);
        let lanes = Tensor::from_vec(lanes.collect::<Vec<u32>>(), (b, 2), like.device())?;
        Ok(Self { drop, lanes: Some(lanes) })
    }

    pub(super) fn argument(&self) -> Result<Drop> {
        let lanes = self.lanes.as_ref().map_or(Ok(0), address)?;
        let (threshold, scale) = (self.drop.threshold(), self.drop.scale() as f32);
        Ok(Drop { lanes, threshold, scale })
    }

    fn is_none(&self) -> bool {
        self.lanes.is_none()
    }
}

/// The shape of a [examples, .., width] tensor as kernels take it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Table {
    rows: i64,
    width: i32,
    each: i32,
}

// SAFETY: laid out as `Table` of kernels/rows.cu.
unsafe impl DeviceRepr for Table {}

impl Table {
    fn of(x: &Tensor) -> Self {
        let dims = x.dims();
        let width = dims.last().copied().unwrap_or(1).max(1);
        let rows = x.elem_count() / width;
        let each = rows / dims[0].max(1);
        Self { rows: rows as i64, width: width as i32, each: each.max(1) as i32 }
    }

    /// Elements that a thread takes at once.
    fn vector(&self) -> usize {
        if self.width % 4 == 0 { 4 } else { 1 }
    }

    fn each_element(&self) -> LaunchConfig {
        each((self.rows as usize * self.width as usize).div_ceil(self.vector()))
    }

    /// Launch sizes where a thread goes down some rows of its columns, and how many threads
    /// share a column.
    fn each_column(&self) -> (LaunchConfig, usize) {
        let threads = (self.width as usize).div_ceil(self.vector());
        let width = threads.next_power_of_two().clamp(1, 128);
        let (across, height) = (threads.div_ceil(width), 128 / width);
        // Enough blocks for any GPU of today, and enough rows for each thread.
        let down = (1024 / across).clamp(1, (self.rows as usize).div_ceil(height * 8).max(1));
        (blocks((across, down, 1), (width as u32, height as u32), 0), down * height)
    }
}

fn kernel(x: &Tensor, name: &str, variant: usize) -> Result<Kernel> {
    let name = format!("{name}_{}_{variant}", suffix(x));
    Kernel::get(&device(x)?, Module::Rows, &name)
}

/// The widest rows that the norm's kernels take, 32 columns to a lane.
const WIDEST: usize = 1024;

/// Whether the kernels take norms of these rows.
pub(in crate::ops) fn norms(x: &Tensor) -> bool {
    super::serves(x) && x.dims().last().is_some_and(|&d| d <= WIDEST)
}

/// Columns of a row that a lane of its warp has.
fn columns(d: usize) -> Result<usize> {
    match d.div_ceil(32).next_power_of_two() {
        columns @ 1..=32 => Ok(columns),
        _ => bail!("layer_norm: width {d} is above the {WIDEST} that the CUDA kernel takes"),
    }
}

/// `x` [.., d] -> its norm.
pub(super) fn norm(x: &Tensor, (w, b): (&Tensor, &Tensor), eps: f64) -> Result<Fresh> {
    let table = Table::of(x);
    let (rows, d) = (table.rows as i32, table.width);
    let y = Fresh::new(x.shape(), x.dtype(), &device(x)?)?;
    let kernel = kernel(x, "norm", columns(d as usize)?)?;
    let size = blocks((table.rows.unsigned_abs() as usize / 8 + 1, 1, 1), (256, 1), 0);
    let (from, w, b) = (address(x)?, address(w)?, address(b)?);
    launch!(kernel, size, from, w, b, y.address, rows, d, eps as f32)?;
    Ok(y)
}

/// Slopes of `x`, with `add` where there is one, and of weight and bias, from that of the norm.
pub(super) fn norm_backward(
    x: &Tensor,
    w: &Tensor,
    eps: f64,
    g: &Tensor,
    add: Option<&Tensor>,
) -> Result<(Tensor, Tensor, Tensor)> {
    let table = Table::of(x);
    let (rows, d) = (table.rows as i32, table.width as usize);
    let count = (rows as usize).div_ceil(8).clamp(1, 528);
    let dx = Fresh::new(x.shape(), x.dtype(), &device(x)?)?;
    let partial = Fresh::new((count, 2 * d), DType::F32, &device(x)?)?;
    let kernel = kernel(x, "norm_backward", columns(d)?)?;
    let size = blocks((count, 1, 1), (256, 1), 0);
    let add = add.map_or(Ok(0), address)?;
    let (from, w, g) = (address(x)?, address(w)?, address(g)?);
    let (to, sums) = (dx.address, partial.address);
    launch!(kernel, size, from, w, g, add, to, sums, rows, d as i32, eps as f32)?;
    let sums = column_sums(&partial.into_tensor())?;
    Ok((dx.into_tensor(), sums.narrow(0, 0, d)?, sums.narrow(0, d, d)?))
}

/// f32 [count, width] -> [width].
pub(super) fn column_sums(x: &Tensor) -> Result<Tensor> {
    let (count, width) = x.dims2()?;
    let sums = Fresh::new(width, DType::F32, &device(x)?)?;
    let kernel = Kernel::get(&device(x)?, Module::Rows, "column_sums")?;
    let size = blocks((width.div_ceil(32), 1, 1), (32, 8), 0);
    launch!(kernel, size, address(x)?, sums.address, count as i32, width as i32)?;
    Ok(sums.into_tensor())
}

/// `x + drop(y + bias)`, x and bias where there are any, of [examples, .., width] tensors.
pub(super) fn finish(
    y: &Tensor,
    bias: Option<&Tensor>,
    x: Option<&Tensor>,
    drop: &Dropped,
) -> Result<Fresh> {
    let table = Table::of(y);
    let out = Fresh::new(y.shape(), y.dtype(), &device(y)?)?;
    let kernel = kernel(y, "finish", table.vector())?;
    let (bias, x) = (bias.map_or(Ok(0), address)?, x.map_or(Ok(0), address)?);
    let (from, drop) = (address(y)?, drop.argument()?);
    launch!(kernel, table.each_element(), table, from, bias, x, out.address, drop)?;
    Ok(out)
}

/// `drop(gelu(h + bias))`.
pub(super) fn gelu(h: &Tensor, bias: &Tensor, drop: &Dropped) -> Result<Tensor> {
    let table = Table::of(h);
    let out = Fresh::new(h.shape(), h.dtype(), &device(h)?)?;
    let kernel = kernel(h, "gelu", table.vector())?;
    let (from, bias, drop) = (address(h)?, address(bias)?, drop.argument()?);
    launch!(kernel, table.each_element(), table, from, bias, out.address, drop)?;
    Ok(out.into_tensor())
}

/// `drop(gelu(h + bias))` again, the slope of h from that of it, and of the bias.
pub(super) fn gelu_backward(
    h: &Tensor,
    bias: &Tensor,
    g: &Tensor,
    drop: &Dropped,
) -> Result<(Tensor, Tensor, Tensor)> {
    let table = Table::of(h);
    let (size, shares) = table.each_column();
    let fresh = || Fresh::new(h.shape(), h.dtype(), &device(h)?);
    let (a, dh) = (fresh()?, fresh()?);
    let partial = Fresh::new((shares, table.width as usize), DType::F32, &device(h)?)?;
    let kernel = kernel(h, "gelu_backward", table.vector())?;
    let (from, bias, g, drop) = (address(h)?, address(bias)?, address(g)?, drop.argument()?);
    let (to, slope, sums) = (a.address, dh.address, partial.address);
    launch!(kernel, size, table, from, bias, g, to, slope, sums, drop)?;
    Ok((a.into_tensor(), dh.into_tensor(), column_sums(&partial.into_tensor())?))
}

/// `drop(g)`, and the sums of its columns.
pub(super) fn drop_backward(g: &Tensor, drop: &Dropped) -> Result<(Tensor, Tensor)> {
    let table = Table::of(g);
    let (size, shares) = table.each_column();
    let e = match drop.is_none() {
        true => None,
        false => Some(Fresh::new(g.shape(), g.dtype(), &device(g)?)?),
    };
    let partial = Fresh::new((shares, table.width as usize), DType::F32, &device(g)?)?;
    let kernel = kernel(g, "drop_backward", table.vector())?;
    let to = e.as_ref().map_or(0, |e| e.address);
    launch!(kernel, size, table, address(g)?, to, partial.address, drop.argument()?)?;
    let sums = column_sums(&partial.into_tensor())?;
    Ok((e.map_or_else(|| g.clone(), Fresh::into_tensor), sums))
}

/// As [`crate::ops::layer_norm`].
pub(in crate::ops) fn layer_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    let (x, weight, bias) = (x.contiguous()?, weight.contiguous()?, bias.contiguous()?);
    let y = norm(&x, (&weight, &bias), eps)?;
    let (held, w) = (x.detach(), weight.detach());
    node("layer-norm", &[&x, &weight, &bias], y, move |_, g| {
        let (dx, dw, db) = norm_backward(&held, &w, eps, g, None)?;
        Ok(vec![Some(dx), Some(dw), Some(db)])
    })
}

/// `x + dropout(y)`, or `dropout(y)` alone.
pub(in crate::ops) fn add_dropout(x: Option<&Tensor>, y: &Tensor, drop: Dropout) -> Result<Tensor> {
    let dropped = Dropped::new(drop, y.dim(0)?, y)?;
    let y = y.contiguous()?;
    let x = x.map(Tensor::contiguous).transpose()?;
    let out = finish(&y, None, x.as_ref(), &dropped)?;
    let back = move |g: &Tensor| -> Result<Tensor> {
        match dropped.is_none() {
            true => Ok(g.clone()),
            false => Ok(finish(g, None, None, &dropped)?.into_tensor()),
        }
    };
    match &x {
        Some(x) => node("add-dropout", &[x, &y], out, move |_, g| {
            Ok(vec![Some(g.clone()), Some(back(g)?)])
        }),
        None => node("dropout", &[&y], out, move |_, g| Ok(vec![Some(back(g)?)])),
    }
}

/// As [`crate::ops::linear`]; the product is cuBLAS's.
pub(in crate::ops) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let (rows, w) = (flat(&x)?.detach(), weight.detach().to_dtype(x.dtype())?);
    let y = Fresh::product(&rows, &w.t()?)?;
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = w.dim(0)?;
    }
    let y = y.shaped(shape);
    let nothing = Dropped::new(Dropout::NONE, 0, &x)?;
    let out = match bias {
        Some(_) => finish(&y.into_tensor(), bias, None, &nothing)?,
        None => y,
    };
    let (shape, biased) = (x.shape().clone(), bias.is_some());
    let back = move |_: &Tensor, g: &Tensor| {
        let g2 = flat(g)?;
        let dx = g2.matmul(&w)?.reshape(&shape)?;
        let dw = g2.t()?.matmul(&rows)?.to_dtype(DType::F32)?;
        let mut slopes = vec![Some(dx), Some(dw)];
        if biased {
            slopes.push(Some(drop_backward(g, &nothing)?.1));
        }
        Ok(slopes)
    };
    match bias {
        Some(bias) => node("linear", &[&x, &weight, bias], out, back),
        None => node("linear", &[&x, &weight], out, back),
    }
}

/// Whether sums of slopes of all ids of this vocabulary fit shared memory.
pub(in crate::ops) fn embeds(table: &Tensor) -> bool {
    table.dtype() == DType::F32 && table.dims()[0] * 32 * 4 <= 200 << 10
}

/// As [`crate::ops::embed`].
pub(in crate::ops) fn embed(
    ids: &Ids,
    table: &Tensor,
    positions: &Tensor,
    cls: Option<&Tensor>,
) -> Result<Tensor> {
    let ((v, d), front) = (table.dims2()?, usize::from(cls.is_some()));
    let (b, n, dev) = (ids.batch, ids.n, device(table)?);
    let (table, positions) = (table.contiguous()?, positions.contiguous()?);
    let flat_ids = Tensor::from_slice(&ids.ids, ids.ids.len(), table.device())?;
    let y = Fresh::new((b, n + front, d), DType::F32, &dev)?;
    let kernel = Kernel::get(&dev, Module::Rows, "embed")?;
    let count = b * (n + front) * d;
    let (rows, places) = (address(&table)?, address(&positions)?);
    let (id, first) = (address(&flat_ids)?, cls.map_or(Ok(0), address)?);
    let (b_, n_, d_) = (b as i32, n as i32, d as i32);
    launch!(kernel, each(count), id, rows, places, first, y.address, b_, n_, d_)?;

    let longest = positions.dim(0)?;
    let back = move |_: &Tensor, g: &Tensor| {
        let total = n + front;
        let places = Fresh::new((total, d), DType::F32, &dev)?;
        let kernel = Kernel::get(&dev, Module::Rows, "embed_places")?;
        let of = address(g)?;
        launch!(kernel, each(total * d), of, places.address, b_, total as i32, d_)?;
        let places = places.into_tensor();

        // Rows of a chunk: long enough that the partial sums are few beside them.
        let rows = (2 * v).clamp(256, 4096);
        let chunks = (b * n).div_ceil(rows);
        let partial = Fresh::new((chunks, v * d), DType::F32, &dev)?;
        let kernel = Kernel::get(&dev, Module::Rows, "embed_ids")?;
        let shared = (v * 32 * 4) as u32;
        kernel.allow(shared)?;
        let size = blocks((chunks, d.div_ceil(32), 1), (32, 1), shared);
        let (id, sums) = (address(&flat_ids)?, partial.address);
        let (front_, v_, rows_) = (front as i32, v as i32, rows as i32);
        launch!(kernel, size, of, id, sums, b_, n_, front_, d_, v_, rows_)?;
        let dtable = column_sums(&partial.into_tensor())?.reshape((v, d))?;
        let dcls = (front == 1).then(|| places.narrow(0, 0, 1)).transpose()?;
        let dpositions = places.pad_with_zeros(0, 0, longest - total)?;
        Ok(vec![Some(dtable), Some(dpositions), dcls])
    };
    match cls {
        Some(cls) => node("embed", &[&table, &positions, cls], y, back),
        None => node("embed", &[&table, &positions], y, back),
    }
}
