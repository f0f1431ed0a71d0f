//! The trainable variables of a model, by name.
//!
//! Candle's `VarMap` draws from a generator that cannot be seeded and iterates in random
//! order. Here each variable's values depend on (seed, name) alone, and the order is the
//! names'.

use crate::random::Key;
use candle_core::{DType, Device, Result, Shape, Tensor, Var, bail};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Cheap to clone; clones share the variables.
#[derive(Clone)]
pub struct Weights {
    seed: Key,
    vars: Arc<Mutex<BTreeMap<String, Var>>>,
    /// Shapes alone, where nothing is to be filled.
    shapes: Option<Arc<Mutex<BTreeMap<String, Shape>>>>,
}

impl Weights {
    pub fn new(seed: u64) -> Self {
        Self { seed: Key::new(seed).named("weights"), vars: Arc::default(), shapes: None }
    }

    /// Weights that are counted and take no memory: each is one zero, seen as a whole tensor.
    /// For asking a model what it would take.
    pub fn unfilled() -> Self {
        Self { shapes: Some(Arc::default()), ..Self::new(0) }
    }

    /// A builder that makes variables on first use and hands them out afterwards.
    pub fn builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), dtype, device.clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Var>> {
        open(&self.vars)
    }

    /// All variables, in the order of their names.
    pub fn vars(&self) -> BTreeMap<String, Var> {
        self.lock().clone()
    }

    /// Number of trainable values.
    pub fn count(&self) -> usize {
        match &self.shapes {
            // Sizes that no machine has must not wrap around to small ones.
            Some(shapes) => open(shapes).values().fold(0, |sum: usize, shape| {
                let sizes = shape.dims().iter();
                sum.saturating_add(sizes.fold(1, |count: usize, &size| count.saturating_mul(size)))
            }),
            None => self.lock().values().map(|v| v.elem_count()).sum(),
        }
    }

    /// Overwrites the values of all variables; `values` must have the same names and
    /// shapes.
    pub fn set(&self, values: &BTreeMap<String, Tensor>) -> Result<()> {
        let vars = self.lock();
        if let Some(name) = values.keys().find(|name| !vars.contains_key(*name)) {
            bail!("the model has no weight `{name}`");
        }
        for (name, var) in vars.iter() {
            let Some(value) = values.get(name) else { bail!("weight `{name}` is missing") };
            if value.dims() != var.dims() {
                bail!("weight `{name}` has shape {:?}, expected {:?}", value.dims(), var.dims());
            }
            var.set(&value.to_dtype(var.dtype())?.to_device(var.device())?)?;
        }
        Ok(())
    }
}

fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A draw from a normal distribution by Box and Muller's transform.
pub(crate) fn normal(rng: &mut ChaCha8Rng) -> f64 {
    // 1 - u lies in (0, 1], so the logarithm is finite.
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

impl SimpleBackend for Weights {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: Init,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        if let Some(shapes) = &self.shapes {
            open(shapes).insert(name.to_string(), shape.clone());
            return Tensor::zeros((), dtype, device)?.broadcast_as(shape);
        }
        if let Some(var) = self.lock().get(name) {
            if var.shape() != &shape {
                bail!("weight `{name}` has shape {:?}, asked as {shape:?}", var.shape());
            }
            return Ok(var.as_tensor().clone());
        }
        let mut rng = self.seed.named(name).stream();
        let count = shape.elem_count();
        let mut fill = |draw: &mut dyn FnMut(&mut ChaCha8Rng) -> f64| -> Vec<f64> {
            (0..count).map(|_| draw(&mut rng)).collect()
        };
        let values = match init {
            Init::Const(c) => vec![c; count],
            Init::Uniform { lo, up } => fill(&mut |rng| rng.random_range(lo..up)),
            Init::Randn { mean, stdev } => fill(&mut |rng| mean + stdev * normal(rng)),
            Init::Kaiming { .. } => bail!("weight `{name}`: give Uniform or Randn bounds instead"),
        };
        let values = Tensor::from_vec(values, shape, &Device::Cpu)?;
        let var = Var::from_tensor(&values.to_dtype(dtype)?.to_device(device)?)?;
        let tensor = var.as_tensor().clone();
        self.lock().insert(name.to_string(), var);
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _dtype: DType, _device: &Device) -> Result<Tensor> {
        match self.lock().get(name) {
            Some(var) => Ok(var.as_tensor().clone()),
            None => bail!("the model has no weight `{name}`"),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First values depend on seed and name alone, not on the order of asking.
    #[test]
    fn values_are_keyed_by_seed_and_name() {
        let draw = |seed, names: &[&str]| {
            let weights = Weights::new(seed);
            let vb = weights.builder(DType::F64, &Device::Cpu);
            let init = Init::Randn { mean: 0.0, stdev: 1.0 };
            for name in names {
                vb.get_with_hints(4, name, init).unwrap();
            }
            weights.vars()["a"].to_vec1::<f64>().unwrap()
        };
        let a = draw(1, &["a", "b"]);
        assert_eq!(a, draw(1, &["b", "a"]));
        assert_ne!(a, draw(2, &["a", "b"]));
        let weights = Weights::new(1);
        let vb = weights.builder(DType::F64, &Device::Cpu);
        let init = Init::Randn { mean: 0.0, stdev: 1.0 };
        assert_ne!(a, vb.get_with_hints(4, "b", init).unwrap().to_vec1::<f64>().unwrap());
    }

    /// Mean 0 and variance 1 of 100,000 draws, within 5 standard errors.
    #[test]
    fn normal_draws_are_normal() {
        let mut rng = Key::new(3).stream();
        let draws: Vec<f64> = (0..100_000).map(|_| normal(&mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / 1e5;
        assert!(mean.abs() < 5.0 / 1e5f64.sqrt(), "{mean}");
        assert!((variance - 1.0).abs() < 5.0 * (2.0f64 / 1e5).sqrt(), "{variance}");
    }
}
