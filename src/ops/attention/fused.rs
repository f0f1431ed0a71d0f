//! The fused face as Candle ops of one, two or three operands.

use super::backward::{Output, Slopes, backward};
use super::extra::{Extra, Terms};
use super::forward::forward;
use super::operands::{Dims, Field, Operand, Slope};
use super::tiles::Operands;
use super::{Attend, Given};
use crate::ops::cpu::{Real, Shared, contiguous, dtype, read, to_storage, with_real, zeros};
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail,
};
use std::sync::OnceLock;

/// Operands are q, k, v, or the three side by side in one; or, with something extra, q, k and v in one, and the extra; or v
/// and the extra alone.
struct Fused {
    how: Attend,
    fields: Fields,
    /// Written by the forward pass, read by the backward pass.
    lse: OnceLock<Vec<f64>>,
}

/// Which operand each part of a call is in, and where.
#[derive(Clone, Copy)]
struct Fields {
    d: Dims,
    dot: Option<[(usize, Field); 2]>,
    v: (usize, Field),
    extra: Option<(Extra, usize, Field)>,
}

fn op(how: &Attend, fields: Fields) -> Fused {
    Fused { how: how.clone(), fields, lse: OnceLock::new() }
}

/// Where the extra operand of a call is, as its operand number `at`.
fn extra_at((kind, x): (Extra, &Tensor), at: usize, heads: usize) -> Result<(Extra, usize, Field)> {
    let field = match *x.dims() {
        [examples, heads, n, m] => Field::planes((heads, n, m), examples),
        [examples, n, row] => Field::new(0, row / heads, row, n, examples),
        _ => bail!("attention: extra operand {:?}", x.shape()),
    };
    Ok((kind, at, field))
}

pub(super) fn fused(x: &Given, how: &Attend) -> Result<Tensor> {
    let (b, m, av) = x.v.dims3()?;
    let (h, n) = (how.heads, how.mask.n());
    let d = Dims { b, n, h, dv: av / h };
    let v = |at| (at, Field::new(0, av / h, av, m, b));
    match (x.dot, x.extra) {
        (Some((q, k)), None) => {
            let ak = q.dim(2)?;
            let dot = [(0, n), (1, m)].map(|(at, n)| (at, Field::new(0, ak / h, ak, n, b)));
            let fields = Fields { d, dot: Some(dot), v: v(2), extra: None };
            q.contiguous()?.apply_op3(&k.contiguous()?, &x.v.contiguous()?, op(how, fields))
        }
        (Some((q, k)), extra) => side_by_side(q, &Tensor::cat(&[k, x.v], 2)?, extra, how),
        (None, Some(extra)) => {
            let fields = Fields { d, dot: None, v: v(0), extra: Some(extra_at(extra, 1, h)?) };
            x.v.contiguous()?.apply_op2(&extra.1.contiguous()?, op(how, fields))
        }
        (None, None) => bail!("attention: scores of nothing"),
    }
}

/// Keys and values in one operand `kv`, keys as wide as the queries.
pub(super) fn side_by_side(
    q: &Tensor,
    kv: &Tensor,
    extra: Option<(Extra, &Tensor)>,
    how: &Attend,
) -> Result<Tensor> {
    let ((b, n, ak), (_, m, row), h) = (q.dims3()?, kv.dims3()?, how.heads);
    let av = row - ak;
    let k = Field::new(0, ak / h, row, m, b);
    let fields = Fields {
        d: Dims { b, n, h, dv: av / h },
        dot: Some([(0, Field::new(0, ak / h, ak, n, b)), (1, k)]),
        v: (1, Field::new(ak, av / h, row, m, b)),
        extra: extra.map(|extra| extra_at(extra, 2, h)).transpose()?,
    };
    let (q, kv) = (q.contiguous()?, kv.contiguous()?);
    match extra {
        Some((_, extra)) => q.apply_op3(&kv, &extra.contiguous()?, op(how, fields)),
        None => q.apply_op2(&kv, op(how, fields)),
    }
}

/// Queries, keys and values in one operand, whose gradient is one too.
pub(super) fn joined(qkv: &Tensor, how: &Attend) -> Result<Tensor> {
    let (b, n, row) = qkv.dims3()?;
    how.check(b, n)?;
    qkv.contiguous()?.apply_op1(Joined::new(how, (b, n, row / 3)).0)
}

/// The fused face over queries, keys and values side by side in one buffer, for ops that hold
/// more than attention.
pub(in crate::ops) struct Joined(Fused);

impl Joined {
    /// Sizes are examples, positions, and columns of queries.
    pub(in crate::ops) fn new(how: &Attend, (b, n, a): (usize, usize, usize)) -> Self {
        let part = |i: usize| (0, Field::new(i * a, a / how.heads, 3 * a, n, b));
        let d = Dims { b, n, h: how.heads, dv: a / how.heads };
        let fields = Fields { d, dot: Some([part(0), part(1)]), v: part(2), extra: None };
        Self(Fused { how: how.clone(), fields, lse: OnceLock::new() })
    }

    /// The output and the log-sum-exps of its rows.
    pub(in crate::ops) fn forward<T: Real>(&self, qkv: &[T]) -> (Vec<T>, Vec<f64>) {
        forward(&self.0.how, &self.0.operands(&[qkv]))
    }

    pub(in crate::ops) fn backward<T: Real>(
        &self,
        qkv: &[T],
        (o, lse): (&[T], &[f64]),
        g: &[T],
    ) -> Vec<T> {
        self.0.backward(&[qkv], (o, g), lse).swap_remove(0)
    }
}

impl Fused {
    fn operands<'a, T: Real>(&self, data: &[&'a [T]]) -> Operands<'a, T> {
        let Fields { d, dot, v, extra } = self.fields;
        let operand = |(at, field): (usize, Field)| Operand { data: data[at], field };
        let extra = extra.map(|(kind, at, field)| Terms { kind, x: operand((at, field)), n: d.n });
        let dot = dot.map(|[q, k]| (operand(q), operand(k)));
        Operands { d, dot, v: operand(v), extra }
    }

    fn run<T: Real>(&self, data: &[&[T]]) -> (CpuStorage, Shape) {
        let (out, lse) = forward(&self.how, &self.operands(data));
        let _ = self.lse.set(lse); // a second forward pass gives the same values
        let d = self.fields.d;
        (to_storage(out), (d.b, d.n, d.h * d.dv).into())
    }

    /// The gradients of the operands, in their order.
    fn gradients(&self, operands: &[&Tensor], o: &Tensor, g: &Tensor) -> Result<Vec<Tensor>> {
        let Some(lse) = self.lse.get() else { bail!("attention: backward before forward") };
        let g = g.contiguous()?;
        let held = operands.iter().map(|x| read(x)).collect::<Result<Vec<_>>>()?;
        let (o, g_) = (read(o)?, read(&g)?);
        with_real!("attention: backward", g.dtype(), T => {
            let data = held.iter().map(|x| x.slice::<T>()).collect::<Result<Vec<_>>>()?;
            let grads = self.backward(&data, (o.slice()?, g_.slice()?), lse);
            let tensor = |(x, like): (Vec<T>, &&Tensor)| {
                Tensor::from_vec(x, like.shape(), like.device())
            };
            grads.into_iter().zip(operands).map(tensor).collect()
        })
    }

    fn backward<T: Real>(&self, data: &[&[T]], (o, g): (&[T], &[T]), lse: &[f64]) -> Vec<Vec<T>> {
        let Fields { d, dot, v, extra } = self.fields;
        let out = Field::new(0, d.dv, d.h * d.dv, d.n, d.b);
        let y =
            Output { o: Operand { data: o, field: out }, g: Operand { data: g, field: out }, lse };
        let mut grads: Vec<Vec<T>> = data.iter().map(|x| zeros(x.len())).collect();
        // Every task adds to the distances of its example, which are summed at the end.
        let apart = extra.filter(|(kind, ..)| matches!(kind, Extra::Distances { .. }));
        if let Some((_, at, _)) = apart {
            grads[at] = zeros(data[at].len() * d.b);
        }
        let shared: Vec<Shared<T>> = grads.iter_mut().map(|x| Shared::new(x)).collect();
        let slope = |(at, field): (usize, Field)| Slope { data: &shared[at], field };
        let slopes = Slopes {
            dot: dot.map(|[q, k]| (slope(q), slope(k))),
            v: slope(v),
            extra: extra.map(|(_, at, field)| match apart {
                Some(_) => slope((at, field.apart(data[at].len()))),
                None => slope((at, field)),
            }),
        };
        let together = apart.is_none() && extra.is_some_and(|(.., field)| field.is_shared());
        backward(&self.how, &self.operands(data), &y, &slopes, together && d.b > 1);
        drop(shared);
        if let Some((_, at, _)) = apart {
            let len = data[at].len();
            let (sum, rest) = grads[at].split_at_mut(len);
            for part in rest.chunks_exact(len) {
                sum.iter_mut().zip(part).for_each(|(to, &x)| *to += x);
            }
            grads[at].truncate(len);
        }
        grads
    }
}

impl CustomOp3 for Fused {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        with_real!("attention", dtype(s1), T => {
            Ok(self.run::<T>(&[contiguous(s1, l1)?, contiguous(s2, l2)?, contiguous(s3, l3)?]))
        })
    }

    fn bwd(
        &self,
        x1: &Tensor,
        x2: &Tensor,
        x3: &Tensor,
        o: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let mut grads = self.gradients(&[x1, x2, x3], o, g)?.into_iter();
        Ok((grads.next(), grads.next(), grads.next()))
    }
}

impl CustomOp1 for Fused {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        with_real!("attention", dtype(s), T => Ok(self.run::<T>(&[contiguous(s, l)?])))
    }

    fn bwd(&self, x: &Tensor, o: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        Ok(self.gradients(&[x], o, g)?.into_iter().next())
    }
}

impl CustomOp2 for Fused {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        with_real!("attention", dtype(s1), T => {
            Ok(self.run::<T>(&[contiguous(s1, l1)?, contiguous(s2, l2)?]))
        })
    }

    fn bwd(
        &self,
        x1: &Tensor,
        x2: &Tensor,
        o: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut grads = self.gradients(&[x1, x2], o, g)?.into_iter();
        Ok((grads.next(), grads.next()))
    }
}
