//! Affine layer.

use crate::ops;
use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

/// `y = x Wᵀ + b`, weight [out, in].
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Xavier-uniform weight, no bias: the projections of LRA's attentions.
    pub fn without_bias(input: usize, output: usize, vb: VarBuilder) -> Result<Self> {
        let weight = vb.get_with_hints((output, input), "weight", xavier(input, output))?;
        Ok(Self { weight, bias: None })
    }

    /// LeCun-normal weight, zero bias: Flax's `Dense` default, LRA's classifier heads.
    /// Flax cuts its normal at two deviations; this one is not cut.
    pub fn classifier(input: usize, output: usize, vb: VarBuilder) -> Result<Self> {
        let init = Init::Randn { mean: 0.0, stdev: (1.0 / input as f64).sqrt() };
        let weight = vb.get_with_hints((output, input), "weight", init)?;
        Ok(Self { weight, bias: Some(vb.get_with_hints(output, "bias", Init::Const(0.0))?) })
    }

    /// [out, in].
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// [.., in] -> [.., out].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::linear(x, &self.weight, self.bias.as_ref())
    }
}

/// Glorot and Bengio 2010, equation 16.
pub(crate) fn xavier(input: usize, output: usize) -> Init {
    let bound = (6.0 / (input + output) as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}
