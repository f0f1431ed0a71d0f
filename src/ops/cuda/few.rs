//! Softmax attention of few queries with wide heads: see kernels/few.cu.

use super::device::{Fresh, Kernel, Module, address, blocks, device, launch, suffix};
use super::node::node;
use super::rows::{Drop, Dropped};
use crate::ops::Attend;
use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{DType, Result, Tensor};

/// The most queries, the widest heads and the most keys that this is for: kernels have four
/// columns of a head to a thread, and a number for each chunk of keys in shared memory.
const FEW: usize = 32;
const WIDEST: usize = 1024;
const MOST: usize = 1 << 19;

/// Blocks that keep any GPU of today busy.
const MANY: usize = 528;

/// Whether the kernels take these heads of queries and values: all keys seen by a few queries.
pub(in crate::ops) fn few(v: &Tensor, widths: [usize; 2], how: &Attend) -> bool {
    let fits = |w: usize| (1..=WIDEST).contains(&w) && w.is_multiple_of(4);
    let (b, n, m) = (how.mask.batch(), how.mask.n(), how.keys.n());
    super::serves(v)
        && widths.into_iter().all(fits)
        && (1..=FEW).contains(&n)
        && (1..=MOST).contains(&m)
        && b > 0
        && how.blocks.is_rectangle()
}

/// `Few` of kernels/few.cu.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Call {
    q: u64,
    k: u64,
    v: u64,
    o: u64,
    g: u64,
    dk: u64,
    dv: u64,
    queries: u64,
    keys: u64,
    s: u64,
    stats: u64,
    lse: u64,
    partial: u64,
    drop: Drop,
    h: i32,
    n: i32,
    m: i32,
    a: i32,
    w: i32,
    chunk: i32,
    first: i32,
    again: i32,
    scale: f32,
}

// SAFETY: laid out as the kernels' own.
unsafe impl DeviceRepr for Call {}

/// Operands, sizes, and what both passes need.
struct Given {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    queries: Tensor,
    keys: Tensor,
    dropped: Dropped,
    scale: f32,
    /// Examples, heads, queries, keys, and the widths of a head of queries and of values.
    b: usize,
    h: usize,
    n: usize,
    m: usize,
    a: usize,
    w: usize,
}

impl Given {
    /// Keys of a chunk: fewer where there would be few blocks.
    fn chunk(&self) -> usize {
        if self.b * self.h * self.m.div_ceil(128) >= MANY { 128 } else { 64 }
    }

    fn chunks(&self) -> usize {
        self.m.div_ceil(self.chunk())
    }

    /// Queries of a launch.
    fn together(&self) -> usize {
        self.n.next_power_of_two().clamp(4, 16)
    }

    fn fresh(&self, shape: &[usize]) -> Result<Fresh> {
        Fresh::new(shape, DType::F32, &device(&self.q)?)
    }

    /// Sums of each chunk for the queries, of rows of this width.
    fn partial(&self, width: usize) -> Result<Fresh> {
        self.fresh(&[self.b, self.h, self.chunks(), self.n, width])
    }

    /// What all calls have alike.
    fn call(&self) -> Result<Call> {
        Ok(Call {
            q: address(&self.q)?,
            k: address(&self.k)?,
            v: address(&self.v)?,
            queries: address(&self.queries)?,
            keys: address(&self.keys)?,
            drop: self.dropped.argument()?,
            h: self.h as i32,
            n: self.n as i32,
            m: self.m as i32,
            a: self.a as i32,
            w: self.w as i32,
            chunk: self.chunk() as i32,
            scale: self.scale,
            ..Call::default()
        })
    }

    /// Runs a kernel for all queries: a block to each chunk, head and example, with so many
    /// rows of `width` numbers and so many numbers for each pair in shared memory.
    fn run(&self, what: &str, call: Call, (width, each): (usize, usize)) -> Result<()> {
        let together = self.together();
        let name = format!("few_{what}_{}_{together}", suffix(&self.q));
        let kernel = Kernel::get(&device(&self.q)?, Module::Few, &name)?;
        let shared = 4 * (together * width + each * self.chunk() * (together + 4));
        kernel.allow(shared as u32)?;
        let size = blocks((self.chunks(), self.h, self.b), (256, 1), shared as u32);
        for first in (0..self.n).step_by(together) {
            let call = Call { first: first as i32, again: (first > 0).into(), ..call };
            launch!(kernel, size, call)?;
        }
        Ok(())
    }

    /// Partial sums together, [b, n, h * width]: weighted by what chunks know of the scores, which
    /// gives log-sum-exps as well, or as they are.
    fn merge(
        &self,
        partial: &Fresh,
        width: usize,
        stats: Option<(&Fresh, &Fresh)>,
    ) -> Result<Fresh> {
        let to = Fresh::new((self.b, self.n, self.h * width), self.q.dtype(), &device(&self.q)?)?;
        let name = format!("few_merge_{}", suffix(&self.q));
        let kernel = Kernel::get(&device(&self.q)?, Module::Few, &name)?;
        let grid = (width.div_ceil(128), self.h * self.n, self.b);
        let size = blocks(grid, (32, 8), (self.chunks() * 4) as u32);
        let (stats, lse) = stats.map_or((0, 0), |(stats, lse)| (stats.address, lse.address));
        let queries = address(&self.queries)?;
        let (h, n, chunks) = (self.h as i32, self.n as i32, self.chunks() as i32);
        let (from, into) = (partial.address, to.address);
        launch!(kernel, size, from, stats, queries, lse, into, h, n, chunks, width as i32)?;
        Ok(to)
    }

    /// The output [b, n, h * w], scores [b, h, n, m] and log-sum-exps [b, h, n].
    fn forward(&self) -> Result<(Fresh, Tensor, Tensor)> {
        let s = self.fresh(&[self.b, self.h, self.n, self.m])?;
        let lse = self.fresh(&[self.b, self.h, self.n])?;
        let stats = self.fresh(&[self.b, self.h, self.n, self.chunks(), 2])?;
        let partial = self.partial(self.w)?;
        let (scores, sums) = (s.address, partial.address);
        let call = Call { s: scores, stats: stats.address, partial: sums, ..self.call()? };
        self.run("forward", call, (self.a, 1))?;
        let o = self.merge(&partial, self.w, Some((&stats, &lse)))?;
        Ok((o, s.into_tensor(), lse.into_tensor()))
    }

    /// The slopes of queries, keys and values.
    fn backward(
        &self,
        (s, lse): (&Tensor, &Tensor),
        o: &Tensor,
        g: &Tensor,
    ) -> Result<[Tensor; 3]> {
        let like = |x: &Tensor| Fresh::new(x.shape(), x.dtype(), &device(x)?);
        let (dk, dv, partial) = (like(&self.k)?, like(&self.v)?, self.partial(self.a)?);
        let call = Call {
            o: address(o)?,
            g: address(g)?,
            dk: dk.address,
            dv: dv.address,
            s: address(s)?,
            lse: address(lse)?,
            partial: partial.address,
            ..self.call()?
        };
        self.run("backward", call, (self.w, 2))?;
        let dq = self.merge(&partial, self.a, None)?;
        Ok([dq, dk, dv].map(Fresh::into_tensor))
    }
}

/// `q` [b, n, a], `k` [b, m, a], `v` [b, m, a of v] -> [b, n, a of v], as
/// [`crate::ops::attention()`] where every query sees every key.
pub(in crate::ops) fn attention_of_few(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    how: &Attend,
) -> Result<Tensor> {
    let ((b, n, a), (_, m, av), h) = (q.dims3()?, v.dims3()?, how.heads);
    how.check(b, m)?;
    let (q, k, v) = (q.contiguous()?, k.contiguous()?, v.contiguous()?);
    let given = Given {
        q: q.detach(),
        k: k.detach(),
        v: v.detach(),
        queries: how.mask.bytes(q.device())?,
        keys: how.keys.bytes(q.device())?,
        dropped: Dropped::new(how.dropout, b, &q)?,
        scale: how.scale as f32,
        b,
        h,
        n,
        m,
        a: a / h,
        w: av / h,
    };
    let (o, s, lse) = given.forward()?;
    node("attention-of-few", &[&q, &k, &v], o, move |o, g| {
        Ok(given.backward((&s, &lse), o, g)?.map(Some).into())
    })
}
