//! The fused face as a Candle op.

use super::tiles::Dims;
use super::{Attend, backward::backward, forward::forward};
use crate::ops::cpu::{contiguous, dtype, read, to_storage, with_real};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use std::sync::OnceLock;

pub(super) struct Fused {
    how: Attend,
    /// Written by the forward pass, read by the backward pass.
    lse: OnceLock<Vec<f64>>,
}

impl Fused {
    pub(super) fn new(how: Attend) -> Self {
        Self { how, lse: OnceLock::new() }
    }
}

impl CustomOp3 for Fused {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        sq: &CpuStorage,
        lq: &Layout,
        sk: &CpuStorage,
        lk: &Layout,
        sv: &CpuStorage,
        lv: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let d = Dims::new(&self.how, lq.dims(), lv.dims());
        let out = with_real!(dtype(sq), T => {
            let args = [contiguous::<T>(sq, lq)?, contiguous(sk, lk)?, contiguous(sv, lv)?];
            let (out, lse) = forward(&self.how, args, d);
            let _ = self.lse.set(lse); // a second forward pass gives the same values
            to_storage(out)
        });
        Ok((out, (d.b, d.n, d.h * d.dv).into()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        o: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(lse) = self.lse.get() else { bail!("attention: backward before forward") };
        let g = g.contiguous()?;
        let d = Dims::new(&self.how, q.dims(), v.dims());
        let held = [read(q)?, read(k)?, read(v)?, read(o)?, read(&g)?];
        with_real!(q.dtype(), T => {
            let [q_, k_, v_, o_, g_] = &held;
            let args = [q_.slice::<T>()?, k_.slice()?, v_.slice()?, o_.slice()?, g_.slice()?];
            let [dq, dk, dv] = backward(&self.how, args, lse, d);
            let at = |x: Vec<T>, like: &Tensor| Tensor::from_vec(x, like.shape(), like.device());
            Ok((Some(at(dq, q)?), Some(at(dk, k)?), Some(at(dv, v)?)))
        })
    }
}
