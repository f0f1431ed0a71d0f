//! Performer (Choromanski et al. 2021, arXiv:2009.14794): kernelised attention with
//! random features of the softmax kernel (FAVOR+).
//!
//! The m x d_k projection is made of blocks of d_k orthogonal rows, each row with the
//! norm of an independent Gaussian vector, and is drawn anew every `redraw` steps from a
//! key of (seed, layer, interval): nothing is stored, and evaluation uses the draw of
//! the step it happens at.
//!
//! Cost: `8 n m qkv` FLOPs with the features. There are no attention weights to drop:
//! the attention dropout has no effect.

use super::linear::kernel_held;
use super::{Attention, Build, Cost, Projections, Variant};
use crate::config::resolved;
use crate::error::Result;
use crate::layers::Context;
use crate::ops::kernel::Kind;
use crate::ops::{Features, Kernelised, Mixing, kernel_attention};
use crate::random::Key;
use candle_core::{DType, Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub(super) const VARIANT: Variant = Variant {
    name: "performer",
    title: "Performer",
    paper: "Choromanski et al. 2021, arXiv:2009.14794",
    summary: "softmax kernel by random features (FAVOR+); linear time",
    keys: &[
        ("features", "random features per head"),
        (
            "kernel",
            "`softmax`: positive features; `trigonometric`: of the same kernel; `relu`: \
             generalised attention",
        ),
        ("orthogonal", "orthogonal blocks of rows, or independent Gaussian rows"),
        ("redraw", "steps between redraws of the projection; 0: never"),
        (
            "eps",
            "added to each feature; 1e-6 (softmax) or 1e-3 (relu) unless given; not to trigonometric",
        ),
    ],
    options: |table| resolved::<Options>("attention", table),
    build: |build| Ok(Box::new(Performer::new(build)?)),
    ..Variant::PLAIN
};

/// The kernel whose random features are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kernel {
    Softmax,
    Trigonometric,
    Relu,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    features: usize,
    kernel: Kernel,
    orthogonal: bool,
    redraw: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    eps: Option<f64>,
}

impl Default for Options {
    /// The paper's number of features; the redraw interval of `performer-pytorch`.
    fn default() -> Self {
        Self { features: 256, kernel: Kernel::Softmax, orthogonal: true, redraw: 1000, eps: None }
    }
}

struct Performer {
    projections: Projections,
    heads: usize,
    head_width: usize,
    features: usize,
    kernel: Kernel,
    orthogonal: bool,
    redraw: u64,
    eps: f64,
}

impl Performer {
    fn new(build: &Build) -> Result<Self> {
        let options: Options = build.options()?;
        // Far more than an estimate needs; features of a head are held while it is computed.
        build.between("features", options.features, 1, 1 << 16)?;
        let usual = if options.kernel == Kernel::Relu { 1e-3 } else { 1e-6 };
        let eps = options.eps.unwrap_or(usual);
        // Features of exactly zero would leave rows without any weight.
        if !(eps > 0.0 && eps.is_finite()) {
            return Err(build.bad("eps", format!("expected a finite number > 0, got {eps}")));
        }
        Ok(Self {
            projections: Projections::new(build)?,
            heads: build.heads,
            head_width: build.head_width(),
            features: options.features,
            kernel: options.kernel,
            orthogonal: options.orthogonal,
            redraw: options.redraw,
            eps,
        })
    }

    fn how(&self, cx: &Context) -> candle_core::Result<Kernelised> {
        let key = cx.redrawn("features", self.redraw);
        let projection = projection(self.features, self.head_width, self.orthogonal, key)?;
        let kind = match self.kernel {
            Kernel::Softmax => Kind::Positive,
            Kernel::Trigonometric => Kind::Trigonometric,
            Kernel::Relu => Kind::Relu,
        };
        Ok(Kernelised {
            heads: self.heads,
            mask: cx.mask.clone(),
            features: Features::Random { kind, projection, eps: self.eps },
            // Features are at least eps: the denominator needs nothing added.
            eps: 0.0,
        })
    }
}

impl Attention for Performer {
    fn forward(&self, x: &Tensor, cx: &Context) -> candle_core::Result<Tensor> {
        self.projections.merge(&kernel_attention(&self.projections.joined(x)?, &self.how(cx)?)?)
    }

    fn mixing(&self, cx: &Context) -> Option<candle_core::Result<(&Projections, Mixing)>> {
        Some(self.how(cx).map(|how| (&self.projections, Mixing::Kernel(how))))
    }

    fn cost(&self, n: usize) -> Cost {
        let (n_, m) = (n as f64, self.features as f64);
        let a = (self.heads * self.head_width) as f64;
        let own = Cost { flops: 8.0 * n_ * m * a, ..Cost::default() };
        let features = match self.kernel {
            Kernel::Trigonometric => 2 * self.features,
            Kernel::Softmax | Kernel::Relu => self.features,
        };
        let held = kernel_held(n, features, (self.heads, self.head_width));
        self.projections.cost(n) + self.projections.as_one_op(n) + own + held
    }
}

/// A random matrix [m, width] on the CPU, in f64.
pub fn projection(
    m: usize,
    width: usize,
    orthogonal: bool,
    key: Key,
) -> candle_core::Result<Tensor> {
    let mut rng = key.stream();
    let gaussian = |rng: &mut ChaCha8Rng| -> Vec<f64> {
        (0..width).map(|_| crate::layers::normal(rng)).collect()
    };
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(m);
    while rows.len() < m {
        let first = rows.len() / width * width;
        let mut row = gaussian(&mut rng);
        let norm = gaussian(&mut rng).iter().map(|x| x * x).sum::<f64>().sqrt();
        if orthogonal {
            // Gram-Schmidt of Gaussian rows gives a Haar-distributed basis, signs
            // included, which the plain QR of most libraries does not. Twice, for
            // orthogonality to rounding.
            for _ in 0..2 {
                for earlier in &rows[first..] {
                    let square: f64 = earlier.iter().map(|x| x * x).sum();
                    let dot: f64 = row.iter().zip(earlier).map(|(x, y)| x * y).sum();
                    row.iter_mut().zip(earlier).for_each(|(x, y)| *x -= dot / square * y);
                }
            }
            let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            row.iter_mut().for_each(|x| *x *= norm / length);
        }
        rows.push(row);
    }
    Tensor::from_vec(rows.concat(), (m, width), &Device::Cpu)?.to_dtype(DType::F64)
}
