//! Adam (Kingma and Ba 2015) with decoupled weight decay (Loshchilov and Hutter 2019) on
//! every variable, as LRA trains: with t = step + 1,
//! `m = b1 m + (1-b1) g`, `v = b2 v + (1-b2) g²`,
//! `p -= lr (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps) + lr wd p`.
//!
//! Moments and step are open, so a run can be resumed exactly.

use super::gradient::Gradients;
use crate::config::TrainSection;
use crate::ops::cpu::{Real, contiguous, dtype, fused, simd, with_real};
#[cfg(feature = "cuda")]
use crate::ops::cuda;
use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Result, Tensor, Var};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// First and second moments of a variable.
pub struct Moments {
    pub first: Var,
    pub second: Var,
}

/// The optimiser's state: moments by the variable's name.
pub struct AdamW {
    vars: BTreeMap<String, Var>,
    moments: BTreeMap<String, Moments>,
}

impl AdamW {
    pub fn new(vars: BTreeMap<String, Var>) -> Result<Self> {
        let zeros = |var: &Var| Var::from_tensor(&var.as_tensor().zeros_like()?);
        let moments = |(name, var): (&String, &Var)| {
            Ok((name.clone(), Moments { first: zeros(var)?, second: zeros(var)? }))
        };
        let moments = vars.iter().map(moments).collect::<Result<_>>()?;
        Ok(Self { vars, moments })
    }

    pub fn vars(&self) -> &BTreeMap<String, Var> {
        &self.vars
    }

    pub fn moments(&self) -> &BTreeMap<String, Moments> {
        &self.moments
    }

    /// One update, with gradients clipped to `train.clip` in their global 2-norm. `step` counts
    /// the updates before this one. That norm, before clipping; or, where it is not finite, the
    /// name of a weight whose gradient is not, and then nothing has changed.
    pub fn update(
        &mut self,
        train: &TrainSection,
        step: u64,
        rate: f64,
        gradients: &Gradients,
    ) -> Result<std::result::Result<f64, String>> {
        let all = self.vars.iter().map(|(name, var)| {
            match (gradients.by_name.get(name), self.moments.get(name)) {
                (Some(gradient), Some(moments)) => Ok((var, moments, gradient.contiguous()?)),
                _ => candle_core::bail!("weight `{name}` has no gradient"),
            }
        });
        let all = all.collect::<Result<Vec<_>>>()?;
        let t = (step + 1) as f64;
        let mut rule = Rule {
            scale: 1.0,
            rate,
            beta1: train.beta1,
            beta2: train.beta2,
            eps: train.eps,
            decay: train.weight_decay,
            correct1: 1.0 - train.beta1.powf(t),
            correct2: 1.0 - train.beta2.powf(t),
        };
        #[cfg(feature = "cuda")]
        if all.iter().all(|(var, ..)| cuda::serves(var)) {
            let norm = rule.on_device(train.clip, &all)?;
            return if norm.is_finite() { Ok(Ok(norm)) } else { gradients.norm() };
        }
        let norm = match gradients.norm()? {
            Ok(norm) => norm,
            Err(name) => return Ok(Err(name)),
        };
        if train.clip > 0.0 && norm > train.clip {
            rule.scale = train.clip / norm;
        }
        for (var, moments, gradient) in &all {
            rule.apply(var, moments, gradient)?;
        }
        Ok(Ok(norm))
    }
}

#[derive(Clone, Copy)]
struct Rule {
    scale: f64,
    rate: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    decay: f64,
    correct1: f64,
    correct2: f64,
}

impl Rule {
    /// All weights in one launch, clipped there; the gradients' norm.
    #[cfg(feature = "cuda")]
    fn on_device(self, clip: f64, all: &[(&Var, &Moments, Tensor)]) -> Result<f64> {
        let adam = cuda::Adam {
            clip: clip as f32,
            rate: self.rate as f32,
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            eps: self.eps as f32,
            kept: (1.0 - self.rate * self.decay) as f32,
            correct1: self.correct1 as f32,
            correct2: self.correct2 as f32,
        };
        let weight = |(var, moments, gradient): &'_ (&'_ Var, &'_ Moments, Tensor)| {
            let Moments { first, second } = moments;
            [var.as_tensor(), first.as_tensor(), second.as_tensor(), gradient].map(Tensor::clone)
        };
        let weights: Vec<[Tensor; 4]> = all.iter().map(weight).collect();
        adam.update(&weights)?.to_scalar()
    }

    fn apply(self, var: &Var, moments: &Moments, gradient: &Tensor) -> Result<()> {
        let Moments { first, second } = moments;
        if fused(var) {
            first.inplace_op2(gradient, &Moment { keep: self.beta1, rule: self, square: false })?;
            second.inplace_op2(gradient, &Moment { keep: self.beta2, rule: self, square: true })?;
            return var.inplace_op3(first, second, &self);
        }
        let g = (gradient * self.scale)?;
        first.set(&((first.as_tensor() * self.beta1)? + (&g * (1.0 - self.beta1))?)?)?;
        second.set(&((second.as_tensor() * self.beta2)? + (g.sqr()? * (1.0 - self.beta2))?)?)?;
        let root = ((second.as_tensor() / self.correct2)?.sqrt()? + self.eps)?;
        let step = ((first.as_tensor() / self.correct1)? / root)?;
        let kept = (var.as_tensor() * (1.0 - self.rate * self.decay))?;
        var.set(&(kept - (step * self.rate)?)?)
    }
}

/// `m = keep m + (1 - keep) x`, x the scaled gradient or its square.
struct Moment {
    keep: f64,
    rule: Rule,
    square: bool,
}

const BLOCK: usize = 1 << 14;

/// The elements of the operand that is written.
fn writable<'a, T: Real>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [T]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("optimiser state must be contiguous, got {layout:?}")
    };
    match T::elements(storage) {
        Some(elements) => Ok(&mut elements[start..end]),
        None => candle_core::bail!("optimiser state of another type than the weights"),
    }
}

impl InplaceOp2 for Moment {
    fn name(&self) -> &'static str {
        "adam-moment"
    }

    fn cpu_fwd(&self, m: &mut CpuStorage, lm: &Layout, g: &CpuStorage, lg: &Layout) -> Result<()> {
        with_real!("AdamW", dtype(m), T => {
            let (keep, scale) = (T::of(self.keep), T::of(self.rule.scale));
            let add = T::of(1.0 - self.keep);
            let g = contiguous::<T>(g, lg)?;
            let m = writable::<T>(m, lm)?;
            m.par_chunks_mut(BLOCK).zip(g.par_chunks(BLOCK)).for_each(|(m, g)| {
                simd(#[inline(always)] move || {
                    for (m, &g) in m.iter_mut().zip(g) {
                        let x = g * scale;
                        *m = *m * keep + add * if self.square { x * x } else { x };
                    }
                })
            });
            Ok(())
        })
    }
}

impl InplaceOp3 for Rule {
    fn name(&self) -> &'static str {
        "adam-update"
    }

    fn cpu_fwd(
        &self,
        p: &mut CpuStorage,
        lp: &Layout,
        m: &CpuStorage,
        lm: &Layout,
        v: &CpuStorage,
        lv: &Layout,
    ) -> Result<()> {
        with_real!("AdamW", dtype(p), T => {
            let (m, v) = (contiguous::<T>(m, lm)?, contiguous::<T>(v, lv)?);
            let kept = T::of(1.0 - self.rate * self.decay);
            let (rate, eps) = (T::of(self.rate / self.correct1), T::of(self.eps));
            let unbias = T::of(1.0 / self.correct2);
            let p = writable::<T>(p, lp)?;
            let moments = m.par_chunks(BLOCK).zip(v.par_chunks(BLOCK));
            p.par_chunks_mut(BLOCK).zip(moments).for_each(|(p, (m, v))| {
                simd(#[inline(always)] move || {
                    for (p, (&m, &v)) in p.iter_mut().zip(m.iter().zip(v)) {
                        *p = *p * kept - rate * m / ((v * unbias).sqrt() + eps);
                    }
                })
            });
            Ok(())
        })
    }
}
