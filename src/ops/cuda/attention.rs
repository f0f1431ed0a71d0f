//! Softmax attention over lists of blocks: see kernels/attention.cu.

use super::device::{Fresh, Kernel, Module, address, blocks, device, launch, suffix};
use super::lists::{Lists, by_key, by_query};
use super::node::node;
use super::rows::{Drop, Dropped};
use crate::ops::Attend;
use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{DType, Result, Tensor};
use std::sync::Mutex;

/// Where the rows of an operand lie: in elements, from the start of its tensor.
#[derive(Clone, Copy)]
struct Place {
    operand: usize,
    start: usize,
    example: usize,
    row: usize,
    head: usize,
}

/// The operands of a call, and where queries, keys and values are in them.
pub(in crate::ops) struct Parts {
    operands: Vec<Tensor>,
    q: Place,
    k: Place,
    v: Place,
    /// Which operand is added to the scores of keys.
    terms: Option<usize>,
    /// Examples, queries, keys, heads, and the widths of a head of queries and of values.
    b: usize,
    n: usize,
    m: usize,
    h: usize,
    qk: usize,
    w: usize,
}

/// The widest head that the kernels take.
const WIDEST: usize = 128;

/// Whether the kernels take heads of queries and values as wide as these.
pub(in crate::ops) fn attends(x: &Tensor, widths: [usize; 2]) -> bool {
    let unit = 16 / x.dtype().size_in_bytes();
    let fits = |w: usize| (1..=WIDEST).contains(&w) && w.is_multiple_of(unit);
    super::serves(x) && widths.into_iter().all(fits)
}

fn place(operand: usize, start: usize, width: usize, (row, n): (usize, usize)) -> Place {
    Place { operand, start, example: n * row, row, head: width }
}

impl Parts {
    /// `qkv` [b, n, 3 a], side by side.
    pub(in crate::ops) fn joined(qkv: &Tensor, how: &Attend) -> Result<Self> {
        let ((b, n, row), h) = (qkv.dims3()?, how.heads);
        let (a, w) = (row / 3, row / 3 / h);
        let [q, k, v] = [0, a, 2 * a].map(|start| place(0, start, w, (row, n)));
        let operands = vec![qkv.contiguous()?];
        Ok(Self { operands, q, k, v, terms: None, b, n, m: n, h, qk: w, w })
    }

    /// `q` [b, n, a], `kv` [b, m, 2 a], and a term for each key [b or 1, m, heads].
    pub(in crate::ops) fn side_by_side(
        q: &Tensor,
        kv: &Tensor,
        terms: Option<&Tensor>,
        how: &Attend,
    ) -> Result<Self> {
        let ((b, n, a), (_, m, row), h) = (q.dims3()?, kv.dims3()?, how.heads);
        let w = a / h;
        let mut operands = vec![q.contiguous()?, kv.contiguous()?];
        operands.extend(terms.map(Tensor::contiguous).transpose()?);
        Ok(Self {
            operands,
            q: place(0, 0, w, (a, n)),
            k: place(1, 0, w, (row, m)),
            v: place(1, a, w, (row, m)),
            terms: terms.map(|_| 2),
            b,
            n,
            m,
            h,
            qk: w,
            w,
        })
    }

    /// `q` [b, n, a], `k` [b, m, a], `v` [b, m, a of v].
    pub(in crate::ops) fn apart(q: &Tensor, k: &Tensor, v: &Tensor, how: &Attend) -> Result<Self> {
        let ((b, n, a), (_, m, av), h) = (q.dims3()?, v.dims3()?, how.heads);
        let (qk, w) = (a / h, av / h);
        let operands = [q, k, v].map(Tensor::contiguous);
        Ok(Self {
            operands: operands.into_iter().collect::<Result<_>>()?,
            q: place(0, 0, qk, (a, n)),
            k: place(1, 0, qk, (a, m)),
            v: place(2, 0, w, (av, m)),
            terms: None,
            b,
            n,
            m,
            h,
            qk,
            w,
        })
    }

    fn detached(&self) -> Self {
        Self { operands: self.operands.iter().map(Tensor::detach).collect(), ..*self }
    }

    /// The kernels' width that heads of these fit.
    fn width(&self) -> usize {
        self.qk.max(self.w).next_power_of_two().max(16)
    }
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Field {
    data: u64,
    example: i64,
    row: i64,
    head: i64,
}

impl Field {
    fn of(x: &Tensor, place: Place) -> Result<Self> {
        let data = address(x)? + (place.start * x.dtype().size_in_bytes()) as u64;
        let [example, row, head] = [place.example, place.row, place.head].map(|x| x as i64);
        Ok(Self { data, example, row, head })
    }
}

/// `Call` of kernels/attention.cu.
#[repr(C)]
#[derive(Clone, Copy)]
struct Call {
    q: Field,
    k: Field,
    v: Field,
    o: Field,
    g: Field,
    dq: Field,
    dk: Field,
    dv: Field,
    rows: u64,
    cols: u64,
    lists: u64,
    order: u64,
    queries: u64,
    keys: u64,
    terms: u64,
    dterms: u64,
    top: u64,
    sum: u64,
    dot: u64,
    drop: Drop,
    terms_example: i64,
    per_head: i32,
    per_example: i32,
    h: i32,
    n: i32,
    m: i32,
    qk: i32,
    w: i32,
    again: i32,
    scale: f32,
}

// SAFETY: laid out as the kernels' own.
unsafe impl DeviceRepr for Call {}

/// What the backward pass needs besides operands and output: of each row and head the largest
/// score and the sum of exponentials above it, masks, orders, and lists once they were made.
pub(super) struct Kept {
    top: Tensor,
    sum: Tensor,
    queries: Tensor,
    keys: Tensor,
    order: Option<Tensor>,
    terms: Option<Tensor>,
    dropped: Dropped,
    by_query: Vec<Lists>,
    by_key: Mutex<Option<Vec<Vec<Lists>>>>,
}

impl Kept {
    fn new(x: &Parts, how: &Attend) -> Result<Self> {
        let like = &x.operands[0];
        let at = like.device();
        let zeros = || Tensor::zeros((x.b, x.h, x.n), DType::F32, at);
        let rounds = 0..how.blocks.rounds();
        let terms = x.terms.map(|i| x.operands[i].to_dtype(DType::F32)).transpose()?;
        Ok(Self {
            top: zeros()?,
            sum: zeros()?,
            queries: how.mask.bytes(at)?,
            keys: how.keys.bytes(at)?,
            order: how.blocks.order().map(|order| order.tensor(at)).transpose()?,
            terms,
            dropped: Dropped::new(how.dropout, x.b, like)?,
            by_query: rounds.map(|i| by_query(&how.blocks, i, at)).collect::<Result<_>>()?,
            by_key: Mutex::new(None),
        })
    }

    /// What all calls have alike.
    fn call(&self, x: &Parts, how: &Attend) -> Result<Call> {
        let field = |place: Place| Field::of(&x.operands[place.operand], place);
        let (per_head, per_example) = how.blocks.varies();
        let terms_example = match &self.terms {
            Some(terms) if terms.dim(0)? > 1 => (x.m * x.h) as i64,
            _ => 0,
        };
        Ok(Call {
            q: field(x.q)?,
            k: field(x.k)?,
            v: field(x.v)?,
            o: Field::default(),
            g: Field::default(),
            dq: Field::default(),
            dk: Field::default(),
            dv: Field::default(),
            rows: 0,
            cols: 0,
            lists: 0,
            order: 0,
            queries: address(&self.queries)?,
            keys: address(&self.keys)?,
            terms: self.terms.as_ref().map_or(Ok(0), address)?,
            dterms: 0,
            top: address(&self.top)?,
            sum: address(&self.sum)?,
            dot: 0,
            drop: self.dropped.argument()?,
            terms_example,
            per_head: per_head.into(),
            per_example: per_example.into(),
            h: x.h as i32,
            n: x.n as i32,
            m: x.m as i32,
            qk: x.qk as i32,
            w: x.w as i32,
            again: 0,
            scale: how.scale as f32,
        })
    }

    /// A call over these lists, whose places are those of a round.
    fn over(&self, call: Call, x: &Parts, round: usize, lists: &Lists) -> Result<Call> {
        let order = self.order.as_ref().map_or(Ok(0), address)?;
        let skip = (round * x.b * x.h * x.n * 4) as u64;
        Ok(Call {
            rows: address(&lists.rows)?,
            cols: address(&lists.cols)?,
            lists: address(&lists.starts)?,
            order: if order == 0 { 0 } else { order + skip },
            ..call
        })
    }
}

/// Runs a kernel over lists; nothing where they are empty.
fn run(name: &str, call: Call, x: &Parts, tiles: usize, lists: &Lists) -> Result<()> {
    if lists.most == 0 {
        return Ok(());
    }
    let (like, width) = (&x.operands[0], x.width());
    let name = format!("{name}_{}_{width}", suffix(like));
    let kernel = Kernel::get(&device(like)?, Module::Attention, &name)?;
    // Tiles of operands; positions and terms of rows, and twice of columns.
    let size = like.dtype().size_in_bytes();
    let row = width + if size == 2 { 8 } else { 4 };
    let shared = (tiles * 64 * row * size + 64 * 4 * 5 + 2 * 64 * 4 * 5) as u32;
    kernel.allow(shared)?;
    launch!(kernel, blocks((lists.most, x.h, x.b), (128, 1), shared), call)
}

fn output(x: &Parts) -> Place {
    place(0, 0, x.w, (x.h * x.w, x.n))
}

/// The output [b, n, heads * width], and what is kept.
pub(super) fn forward(x: &Parts, how: &Attend) -> Result<(Fresh, Kept)> {
    how.check(x.b, x.m)?;
    let like = &x.operands[0];
    let out = Fresh::zeros((x.b, x.n, x.h * x.w), like.dtype(), &device(like)?)?;
    let kept = Kept::new(x, how)?;
    let [example, row, head] = [x.n * x.h * x.w, x.h * x.w, x.w].map(|x| x as i64);
    let o = Field { data: out.address, example, row, head };
    let call = Call { o, ..kept.call(x, how)? };
    for (round, lists) in kept.by_query.iter().enumerate() {
        let call = kept.over(call, x, round, lists)?;
        run("attention", Call { again: (round > 0).into(), ..call }, x, 5, lists)?;
    }
    Ok((out, kept))
}

/// The slopes of the operands, in their order.
pub(super) fn backward(
    x: &Parts,
    how: &Attend,
    kept: &Kept,
    (o, g): (&Tensor, &Tensor),
) -> Result<Vec<Tensor>> {
    let like = &x.operands[0];
    let slopes = x.operands.iter().enumerate().map(|(i, operand)| match x.terms == Some(i) {
        true => Tensor::zeros((x.b, x.m, x.h), DType::F32, operand.device()),
        false => operand.zeros_like(),
    });
    let mut slopes = slopes.collect::<Result<Vec<_>>>()?;
    let dot = Fresh::new((x.b, x.h, x.n), DType::F32, &device(like)?)?;
    let call = {
        let field = |place: Place| Field::of(&slopes[place.operand], place);
        Call {
            o: Field::of(o, output(x))?,
            g: Field::of(g, output(x))?,
            dq: field(x.q)?,
            dk: field(x.k)?,
            dv: field(x.v)?,
            dterms: x.terms.map_or(Ok(0), |i| address(&slopes[i]))?,
            dot: dot.address,
            ..kept.call(x, how)?
        }
    };
    let kernel = Kernel::get(
        &device(like)?,
        Module::Attention,
        &format!("attention_dots_{}", suffix(like)),
    )?;
    let size = blocks(((x.n * x.h).div_ceil(8), x.b, 1), (256, 1), 0);
    launch!(kernel, size, call, dot.address)?;

    for (round, lists) in kept.by_query.iter().enumerate() {
        let call = kept.over(call, x, round, lists)?;
        run("attention_queries", Call { again: (round > 0).into(), ..call }, x, 6, lists)?;
    }
    let mut by_key_lists = kept.by_key.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if by_key_lists.is_none() {
        let rounds = 0..how.blocks.rounds();
        let made = rounds.map(|round| by_key(&how.blocks, round, like.device()));
        *by_key_lists = Some(made.collect::<Result<_>>()?);
    }
    let all = by_key_lists.iter().flatten().enumerate();
    let all = all.flat_map(|(round, lists)| lists.iter().map(move |lists| (round, lists)));
    for (i, (round, lists)) in all.enumerate() {
        let call = kept.over(call, x, round, lists)?;
        run("attention_keys", Call { again: (i > 0).into(), ..call }, x, 6, lists)?;
    }
    if let Some(i) = x.terms {
        let operand = &x.operands[i];
        let mut slope = slopes[i].clone();
        if operand.dim(0)? < x.b {
            slope = slope.sum_keepdim(0)?;
        }
        slopes[i] = slope.to_dtype(operand.dtype())?;
    }
    Ok(slopes)
}

/// As [`crate::ops::attention()`], of the parts' operands.
pub(in crate::ops) fn attention(x: Parts, how: &Attend) -> Result<Tensor> {
    let held = x.detached();
    let (y, kept) = forward(&held, how)?;
    let how = how.clone();
    let operands: Vec<&Tensor> = x.operands.iter().collect();
    node("attention", &operands, y, move |o, g| {
        Ok(backward(&held, &how, &kept, (o, g))?.into_iter().map(Some).collect())
    })
}
