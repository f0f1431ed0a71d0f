//! Softmax attention over lists of blocks: see kernels/attention.cuh.

use super::call::{Call, Field, Kind, Place, run};
use super::device::{Fresh, Kernel, Module, address, blocks, device, launch, suffix};
use super::lists::{Lists, by_key, by_query};
use super::node::node;
use super::rows::{Dropped, column_sums};
use crate::ops::attention::Extra;
use crate::ops::{Attend, Blocks};
use candle_core::{DType, Result, Tensor, bail};
use std::sync::{Mutex, PoisonError};

/// The operands of a call, and where queries, keys and values are in them.
pub(in crate::ops) struct Parts {
    pub(super) operands: Vec<Tensor>,
    /// Queries and keys, where the scores are made of them.
    dot: Option<(Place, Place)>,
    v: Place,
    /// What is added to the scores, and which operand that is.
    extra: Option<(Extra, usize)>,
    /// Examples, queries, keys, heads, and the widths of a head of queries and of values.
    pub(super) b: usize,
    n: usize,
    m: usize,
    pub(super) h: usize,
    qk: usize,
    w: usize,
}

/// The widest heads that the kernels take, with distances or pairs and without.
const WIDEST: [usize; 2] = [64, 128];

/// Blocks whose entries have so many queries are taken by more warps together.
const LONG: usize = 128;

/// Whether the kernels take heads of queries and values as wide as these, with this extra.
pub(in crate::ops) fn attends(
    x: &Tensor,
    widths: [usize; 2],
    extra: Option<Extra>,
    blocks: &Blocks,
) -> bool {
    let unit = 16 / x.dtype().size_in_bytes();
    let plain = matches!(extra, None | Some(Extra::Keys));
    let fits = |w: usize| w <= WIDEST[usize::from(plain)] && w.is_multiple_of(unit);
    // Slopes of pairs are computed for all pairs.
    let all = extra != Some(Extra::Pairs) || blocks.is_rectangle();
    super::serves(x) && widths.into_iter().all(fits) && widths[1] > 0 && all
}

impl Parts {
    /// `qkv` [b, n, 3 a], side by side.
    pub(in crate::ops) fn joined(qkv: &Tensor, how: &Attend) -> Result<Self> {
        let ((b, n, row), h) = (qkv.dims3()?, how.heads);
        let (a, w) = (row / 3, row / 3 / h);
        let [q, k, v] = [0, a, 2 * a].map(|start| Place::new(0, start, w, (row, n)));
        let operands = vec![qkv.contiguous()?];
        Ok(Self { operands, dot: Some((q, k)), v, extra: None, b, n, m: n, h, qk: w, w })
    }

    /// `q` [b, n, a], `kv` [b, m, 2 a] or wider in values, and what is added to the scores.
    pub(in crate::ops) fn side_by_side(
        q: &Tensor,
        kv: &Tensor,
        extra: Option<(Extra, &Tensor)>,
        how: &Attend,
    ) -> Result<Self> {
        let ((b, n, a), (_, m, row), h) = (q.dims3()?, kv.dims3()?, how.heads);
        let (qk, w) = (a / h, (row - a) / h);
        let mut operands = vec![q.contiguous()?, kv.contiguous()?];
        operands.extend(extra.map(|(_, x)| x.contiguous()).transpose()?);
        let dot = Some((Place::new(0, 0, qk, (a, n)), Place::new(1, 0, qk, (row, m))));
        let v = Place::new(1, a, w, (row, m));
        let extra = extra.map(|(kind, _)| (kind, 2));
        Ok(Self { operands, dot, v, extra, b, n, m, h, qk, w })
    }

    /// `q` [b, n, a], `k` [b, m, a], `v` [b, m, a of v].
    pub(in crate::ops) fn apart(q: &Tensor, k: &Tensor, v: &Tensor, how: &Attend) -> Result<Self> {
        let ((b, n, a), (_, m, av), h) = (q.dims3()?, v.dims3()?, how.heads);
        let (qk, w) = (a / h, av / h);
        let operands = [q, k, v].map(Tensor::contiguous);
        let operands = operands.into_iter().collect::<Result<_>>()?;
        let dot = Some((Place::new(0, 0, qk, (a, n)), Place::new(1, 0, qk, (a, m))));
        let v = Place::new(2, 0, w, (av, m));
        Ok(Self { operands, dot, v, extra: None, b, n, m, h, qk, w })
    }

    /// `v` [b, m, a], with scores of nothing but what is added.
    pub(in crate::ops) fn without_dot(
        v: &Tensor,
        (kind, x): (Extra, &Tensor),
        how: &Attend,
    ) -> Result<Self> {
        let ((b, m, av), h, n) = (v.dims3()?, how.heads, how.mask.n());
        let (operands, w) = (vec![v.contiguous()?, x.contiguous()?], av / h);
        let v = Place::new(0, 0, w, (av, m));
        Ok(Self { operands, dot: None, v, extra: Some((kind, 1)), b, n, m, h, qk: 0, w })
    }

    fn detached(&self) -> Self {
        Self { operands: self.operands.iter().map(Tensor::detach).collect(), ..*self }
    }

    fn kind(&self) -> Kind {
        match self.extra {
            None | Some((Extra::Keys, _)) => Kind::Plain,
            Some((Extra::Pairs, _)) => Kind::Pairs,
            Some((Extra::Distances { .. }, _)) => Kind::Distances,
        }
    }

    /// The kernels' width that heads of these fit.
    fn width(&self) -> usize {
        self.qk.max(self.w).next_power_of_two().max(16)
    }

    /// Warps of a block whose rows are queries, of 16 rows each.
    fn warps(&self, how: &Attend) -> usize {
        let long = how.blocks.longest() >= LONG;
        let half = self.operands[0].dtype() == DType::BF16;
        if self.kind() == Kind::Plain && self.width() <= 64 && half && long { 8 } else { 4 }
    }

    fn output(&self) -> Place {
        Place::new(0, 0, self.w, (self.h * self.w, self.n))
    }
}

/// What the backward pass needs besides operands and output: log-sum-exps, masks, orders, the
/// extra operand as the kernels take it, and lists once they were made.
pub(super) struct Kept {
    lse: Tensor,
    queries: Tensor,
    keys: Tensor,
    order: Option<Tensor>,
    /// Terms of keys or pairs, or positions, in f32 or as the operands.
    extra: Option<Tensor>,
    /// Beside positions their constants.
    constants: Option<Tensor>,
    dropped: Dropped,
    by_query: Vec<Lists>,
    by_key: Mutex<Option<Vec<Vec<Lists>>>>,
}

impl Kept {
    fn new(x: &Parts, how: &Attend) -> Result<Self> {
        let like = &x.operands[0];
        let (at, side) = (like.device(), x.warps(how) * 16);
        let (mut extra, mut constants) = (None, None);
        match x.extra {
            None => {}
            Some((Extra::Keys | Extra::Pairs, i)) => {
                extra = Some(x.operands[i].to_dtype(DType::F32)?);
            }
            Some((Extra::Distances { .. }, i)) => {
                let rows = x.operands[i].dim(1)?;
                let all = x.operands[i].reshape((rows, x.h, x.qk + 1))?;
                let positions = all.narrow(2, 0, x.qk)?.contiguous()?;
                extra = Some(positions.to_dtype(like.dtype())?);
                let last = all.narrow(2, x.qk, 1)?.contiguous()?;
                constants = Some(last.to_dtype(DType::F32)?);
            }
        }
        let rounds = 0..how.blocks.rounds();
        let by_query = rounds.map(|i| by_query(&how.blocks, i, side, at)).collect::<Result<_>>()?;
        Ok(Self {
            lse: Tensor::full(f32::INFINITY, (x.b, x.h, x.n), at)?,
            queries: how.mask.bytes(at)?,
            keys: how.keys.bytes(at)?,
            order: how.blocks.order().map(|order| order.tensor(at)).transpose()?,
            extra,
            constants,
            dropped: Dropped::new(how.dropout, x.b, like)?,
            by_query,
            by_key: Mutex::new(None),
        })
    }

    /// What all calls have alike.
    fn call(&self, x: &Parts, how: &Attend) -> Result<Call> {
        let field = |place: Place| Field::of(&x.operands[place.operand], place);
        let (per_head, per_example) = how.blocks.varies();
        let mut call = Call {
            v: field(x.v)?,
            queries: address(&self.queries)?,
            keys: address(&self.keys)?,
            lse: address(&self.lse)?,
            drop: self.dropped.argument()?,
            per_head: per_head.into(),
            per_example: per_example.into(),
            b: x.b as i32,
            h: x.h as i32,
            n: x.n as i32,
            m: x.m as i32,
            qk: x.qk as i32,
            w: x.w as i32,
            scale: how.scale as f32,
            ..Call::default()
        };
        // Without queries and keys nothing is read of them.
        (call.q, call.k) = match x.dot {
            Some((q, k)) => (field(q)?, field(k)?),
            None => (call.v, call.v),
        };
        let Some(extra) = &self.extra else { return Ok(call) };
        let shared = extra.dim(0)? < x.b;
        match x.kind() {
            Kind::Plain => {
                call.terms = address(extra)?;
                call.terms_example = if shared { 0 } else { (x.m * x.h) as i64 };
            }
            Kind::Pairs => {
                call.pairs = address(extra)?;
                call.pairs_row = x.m as i64;
                call.pairs_head = (x.n * x.m) as i64;
                // A single example shares its pairs with itself.
                call.pairs_example = if extra.dim(0)? == 1 { 0 } else { (x.h * x.n * x.m) as i64 };
            }
            Kind::Distances => {
                let Some((Extra::Distances { zero }, _)) = x.extra else {
                    bail!("attention: distances of nothing")
                };
                call.distances = address(extra)?;
                call.constants = self.constants.as_ref().map_or(Ok(0), address)?;
                (call.zero, call.count) = (zero as i32, extra.dim(0)? as i32);
            }
        }
        Ok(call)
    }

    /// A call over these lists, whose places are those of a round; `again` where something is
    /// there of earlier ones.
    fn over(&self, call: Call, x: &Parts, at: (usize, bool), lists: &Lists) -> Result<Call> {
        let (round, again) = at;
        let order = self.order.as_ref().map_or(Ok(0), address)?;
        let skip = (round * x.b * x.h * x.n * 4) as u64;
        Ok(Call {
            rows: address(&lists.rows)?,
            cols: address(&lists.cols)?,
            lists: address(&lists.starts)?,
            order: if order == 0 { 0 } else { order + skip },
            again: again.into(),
            ..call
        })
    }
}

/// The output [b, n, heads * width], and what is kept.
pub(super) fn forward(x: &Parts, how: &Attend) -> Result<(Fresh, Kept)> {
    how.check(x.b, x.m)?;
    let like = &x.operands[0];
    let out = Fresh::zeros((x.b, x.n, x.h * x.w), like.dtype(), &device(like)?)?;
    let kept = Kept::new(x, how)?;
    let call = Call { o: Field::new(out.address, x.output()), ..kept.call(x, how)? };
    let shape = (x.kind(), x.width(), x.warps(how));
    for (round, lists) in kept.by_query.iter().enumerate() {
        let call = kept.over(call, x, (round, round > 0), lists)?;
        run("", shape, &call, lists.most, x.b, like)?;
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
    let own = x.operands.iter().enumerate().filter(|&(i, _)| x.extra.is_none_or(|(_, at)| at != i));
    let mut slopes = own.map(|(_, x)| x.zeros_like()).collect::<Result<Vec<_>>>()?;
    let dot = Fresh::new((x.b, x.h, x.n), DType::F32, &device(like)?)?;
    let slope = |place: Place| Field::of(&slopes[place.operand], place);
    let mut call = Call {
        o: Field::of(o, x.output())?,
        g: Field::of(g, x.output())?,
        dv: slope(x.v)?,
        dot: dot.address,
        ..kept.call(x, how)?
    };
    if let Some((q, k)) = x.dot {
        (call.dq, call.dk) = (slope(q)?, slope(k)?);
    }
    let name = format!("attention_dots_{}", suffix(like));
    let kernel = Kernel::get(&device(like)?, Module::attention(like, false), &name)?;
    let size = blocks(((x.n * x.h).div_ceil(8), x.b, 1), (256, 1), 0);
    launch!(kernel, size, call, dot.address)?;

    let shape = (x.kind(), x.width(), x.warps(how));
    if x.dot.is_some() {
        for (round, lists) in kept.by_query.iter().enumerate() {
            let call = kept.over(call, x, (round, round > 0), lists)?;
            run("_queries", shape, &call, lists.most, x.b, like)?;
        }
    }
    let extra = extra_slopes(x, how, kept, &mut call)?;
    let mut made = kept.by_key.lock().unwrap_or_else(PoisonError::into_inner);
    if made.is_none() {
        let lists = (0..how.blocks.rounds()).map(|i| by_key(&how.blocks, i, like.device()));
        *made = Some(lists.collect::<Result<_>>()?);
    }
    let all = made.iter().flatten().enumerate();
    let all = all.flat_map(|(round, lists)| lists.iter().map(move |lists| (round, lists)));
    for (i, (round, lists)) in all.enumerate() {
        let call = kept.over(call, x, (round, i > 0), lists)?;
        run("_keys", (x.kind(), x.width(), 4), &call, lists.most, x.b, like)?;
    }
    if let (Some(extra), Some((kind, i))) = (extra, x.extra) {
        let operand = &x.operands[i];
        // A kernel sums terms of keys for each example; distances come before heads.
        let summed = match kind {
            Extra::Keys if operand.dim(0)? < x.b => extra.sum_keepdim(0)?,
            Extra::Distances { .. } => extra.transpose(0, 1)?,
            _ => extra,
        };
        slopes.push(summed.contiguous()?.reshape(operand.shape())?.to_dtype(operand.dtype())?);
    }
    Ok(slopes)
}

/// Groups of tiles of queries that add up slopes of distances beside each other.
const GROUPS: usize = 4;

/// Slopes of the extra operand: filled here, or for terms of keys by what is launched next.
fn extra_slopes(x: &Parts, how: &Attend, kept: &Kept, call: &mut Call) -> Result<Option<Tensor>> {
    let (Some((kind, i)), like) = (x.extra, &x.operands[0]) else { return Ok(None) };
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, like.device());
    let shape = (x.kind(), x.width(), x.warps(how));
    match kind {
        Extra::Keys => {
            let slopes = zeros(&[x.b, x.m, x.h])?;
            call.dterms = address(&slopes)?;
            Ok(Some(slopes))
        }
        Extra::Pairs => {
            let slopes = zeros(x.operands[i].dims())?;
            call.dpairs = address(&slopes)?;
            let tiles = x.n.div_ceil(64) * x.m.div_ceil(64);
            // Where examples share their pairs one block goes through them all.
            run("_slopes", shape, call, tiles, x.operands[i].dim(0)?, like)?;
            Ok(Some(slopes))
        }
        Extra::Distances { .. } => {
            let count = x.operands[i].dim(1)?;
            let slopes = zeros(&[GROUPS, x.b, x.h, count, x.qk + 1])?;
            call.ddistances = address(&slopes)?;
            for (round, lists) in kept.by_query.iter().enumerate() {
                let call = kept.over(*call, x, (round, false), lists)?;
                run("_slopes", shape, &call, GROUPS, x.b, like)?;
            }
            let flat = slopes.reshape((GROUPS * x.b, x.h * count * (x.qk + 1)))?;
            column_sums(&flat)?.reshape((x.h, count, x.qk + 1)).map(Some)
        }
    }
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
