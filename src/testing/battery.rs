//! What holds for every attention.

use super::inputs::{
    SIZES, batch, build, classifier, difference, flat, largest, layer, model, random, two_layers,
};
use crate::attention::{Attention, Support, Variant};
use crate::config::{ModelSection, Pair, Pooling, Positions, Sizes};
use crate::data::Batch;
use crate::layers::{Context, LayerNorm, Weights};
use crate::measure::{live, peak_live, reset_peak_live};
use crate::models::Classifier;
use crate::ops::{Dropout, Mask, composed};
use crate::train::gradients;
use candle_core::{DType, Device, Result, Tensor};

/// Panics unless a variant with these options (an `[attention]` table in TOML) passes:
///
/// 1. every weight gets a gradient that is finite and not zero, in models of one sequence and
///    of two, with plain and reversible residuals (where one row is pooled, and not the mean,
///    what the other rows alone feel may get none);
/// 2. micro-batches, recomputation and chunked feed-forward layers change no gradient;
/// 3. the fused ops and the composed ones, which hold n x n tensors, give the same outputs
///    and gradients;
/// 4. neither contents nor amount of padding matter;
/// 5. examples are independent, to the bit;
/// 6. outputs depend on the positions it declares and no others, through one layer and two;
/// 7. weights sum to one, where they are declared to;
/// 8. calls repeat to the bit, and evaluation does not depend on the step;
/// 9. declared FLOPs and kept values grow as its summary says;
/// 10. where it says what mixes its projections, the layer made of that is the layer.
pub fn battery<'a>(variant: &'a Variant, options: &'a str) {
    let test = Test { variant, options };
    type Check<'a> = (&'static str, fn(&Test<'a>) -> Result<()>);
    let checks: [Check<'a>; 10] = [
        ("gradient reach", Test::gradients_reach),
        ("micro-batches and recomputation", Test::parts_change_nothing),
        ("fused and composed", Test::faces_agree),
        ("padding", Test::padding_changes_nothing),
        ("independence", Test::examples_are_independent),
        ("support", Test::support_is_as_declared),
        ("normalisation", Test::weights_sum_to_one),
        ("repetition", Test::calls_repeat),
        ("costs", Test::costs_grow_as_claimed),
        ("the layer as one op", Test::mixing_is_the_layer),
    ];
    for (what, check) in checks {
        if let Err(e) = check(&test) {
            panic!("{} ({options}), {what}: {e}", variant.name);
        }
    }
}

struct Test<'a> {
    variant: &'a Variant,
    options: &'a str,
}

/// Fails with a message.
macro_rules! ensure {
    ($holds:expr, $($message:tt)*) => {
        // NaN holds nothing.
        if $holds {
        } else {
            candle_core::bail!($($message)*);
        }
    };
}

/// Models of one sequence and of two that meet in the head, pooled as the variant can be.
fn models(variant: &Variant) -> Vec<(ModelSection, Sizes)> {
    let pair =
        |pooling, pair| ModelSection { pair: Some(pair), ..model(pooling, Positions::Sinusoid) };
    let two = Sizes { parts: 2, ..SIZES };
    let reversible = ModelSection { reversible: true, ..model(Pooling::Mean, Positions::Sinusoid) };
    let all = vec![
        (model(Pooling::Cls, Positions::Learned), SIZES),
        (model(Pooling::Mean, Positions::None), SIZES),
        (pair(Pooling::Mean, Pair::Concatenate), two),
        (pair(Pooling::First, Pair::Interaction), two),
        (reversible, SIZES),
    ];
    let prefers: toml::Table = variant.prefers.parse().expect("preferences are TOML");
    let by_mean = prefers.get("model").and_then(|model| model.get("pooling")).is_some();
    let fits = |(section, _): &(ModelSection, Sizes)| !by_mean || section.pooling == Pooling::Mean;
    all.into_iter().filter(fits).collect()
}

/// Six rows of tokens: as many examples, or three of two documents.
fn rows(parts: usize) -> Batch {
    let mut batch = batch(&[72, 31, 55, 5, 72, 60], 1);
    batch.labels.truncate(6 / parts);
    Batch { parts, ..batch }
}

/// A message that Candle's results can carry.
fn told<T, E: std::fmt::Display>(result: std::result::Result<T, E>) -> Result<T> {
    result.map_err(|e| candle_core::Error::Msg(e.to_string()))
}

impl<'a> Test<'a> {
    fn layer(&self) -> (Box<dyn Attention>, Weights) {
        layer(self.variant, self.options)
    }

    fn gradients_reach(&self) -> Result<()> {
        for (section, sizes) in models(self.variant) {
            let (model, weights) =
                told(classifier(&section, self.variant, self.options, sizes, DType::F32))?;
            let batch = rows(sizes.parts);
            // Step 1: the CLS vector and the biases start at zero, not their gradients.
            let found = told(gradients(&model, &weights.vars(), &batch, 6, (3, 1), &|| false))?;
            let found = found.expect("nothing says to stop");
            let loss = told(found.loss())?;
            ensure!(loss.is_finite(), "loss {loss}");
            for (name, gradient) in &found.by_name {
                let size = largest(gradient);
                // Where one row is pooled, it need not feel all of the others.
                let elsewhere = ["layers.", "embedding.tokens", "embedding.positions"];
                let unread = section.pooling != Pooling::Mean
                    && elsewhere.iter().any(|start| name.starts_with(start));
                let reached = size > 0.0 || unread;
                ensure!(size.is_finite() && reached, "weight {name} gets {size}");
            }
        }
        Ok(())
    }

    fn parts_change_nothing(&self) -> Result<()> {
        for (section, sizes) in models(self.variant) {
            let built = |section: &ModelSection| {
                classifier(section, self.variant, self.options, sizes, DType::F64)
            };
            let (model, weights) = told(built(&section))?;
            let (vars, batch) = (weights.vars(), rows(sizes.parts));
            let of = |model: &Classifier, micro| -> Result<_> {
                let found = told(gradients(model, &vars, &batch, micro, (3, 7), &|| false))?;
                Ok(found.expect("nothing says to stop"))
            };
            let whole = of(&model, 6)?;
            let mut others = Vec::new();
            for micro in [1, 2, 3] {
                others.push((format!("by {micro}"), of(&model, micro)?));
            }
            let model = model.recomputing(true);
            others.push(("recomputed".into(), of(&model, 6)?));
            for (how, other) in others {
                let off = (told(whole.loss())? - told(other.loss())?).abs();
                ensure!(off < 1e-13, "{how}: the loss is off by {off:e}");
                for (name, gradient) in &whole.by_name {
                    let off = difference(gradient, &other.by_name[name]);
                    // Reversible layers compute their inputs back: rounding of a few layers.
                    ensure!(off < 1e-12, "{how}: the gradient of {name} is off by {off:e}");
                }
            }
        }
        Ok(())
    }

    fn faces_agree(&self) -> Result<()> {
        let (attention, weights) = self.layer();
        let (n, vars) = (37, weights.vars());
        let x = candle_core::Var::from_tensor(&random(&[2, n, 12], 1))?;
        let cx = Context::new(Mask::from_lengths(&[n, 22], n)?, 1).training(5, 0);
        let run = || -> Result<_> {
            let y = attention.forward(&x, &cx)?;
            let grads = (&y * random(y.dims(), 5))?.sum_all()?.backward()?;
            let valid = cx.mask.tensor(DType::F64, &Device::Cpu)?.unsqueeze(2)?;
            let y = y.broadcast_mul(&valid)?;
            let mut all = vec![("outputs".to_string(), y)];
            for (name, var) in vars.iter().chain([(&"the input".to_string(), &x)]) {
                if let Some(gradient) = grads.get(var) {
                    all.push((name.clone(), gradient.clone()));
                }
            }
            Ok(all)
        };
        let (fused, dense) = (run()?, composed(run)?);
        ensure!(fused.len() == dense.len(), "gradients of other weights");
        for ((name, fused), (_, dense)) in fused.iter().zip(&dense) {
            let off = difference(fused, dense) / largest(dense).max(1e-3);
            // Sums of up to a thousand terms in another order.
            ensure!(off < 1e-11, "{name}: off by {off:e}");
        }
        Ok(())
    }

    /// What a model computes in one op, against norm, attention and residual one by one.
    fn mixing_is_the_layer(&self) -> Result<()> {
        let ((attention, _), n) = (self.layer(), 37);
        let norm = LayerNorm::new(12, Weights::new(2).builder(DType::F64, &Device::Cpu))?;
        let cx = Context::new(Mask::from_lengths(&[n, 22], n)?, 1).training(5, 0);
        let Some(mixing) = attention.mixing(&cx) else { return Ok(()) };
        let (projections, mixing) = mixing?;
        let x = random(&[2, n, 12], 1);
        let layer = projections.layer(&x, mixing, &norm, Dropout::NONE, true)?;
        let parts = (&x + attention.forward(&norm.forward(&x)?, &cx)?)?;
        let valid = cx.mask.tensor(DType::F64, &Device::Cpu)?.unsqueeze(2)?;
        let off = difference(&layer.broadcast_mul(&valid)?, &parts.broadcast_mul(&valid)?);
        ensure!(off < 1e-12, "off by {off:e}");
        Ok(())
    }

    fn padding_changes_nothing(&self) -> Result<()> {
        let (attention, _) = self.layer();
        let (len, n) = (9, 14);
        let x = random(&[2, n, 12], 1);
        let cx =
            |n| Ok::<_, candle_core::Error>(Context::new(Mask::from_lengths(&[len, 14], n)?, 1));
        let y = attention.forward(&x, &cx(n)?)?;
        let valid = |y: &Tensor| y.narrow(0, 0, 1)?.narrow(1, 0, len);
        let garbage = (random(&[1, n - len, 12], 2) * 50.0)?;
        let first = Tensor::cat(&[&valid(&x)?, &garbage], 1)?;
        let dirty = Tensor::cat(&[&first, &x.narrow(0, 1, 1)?], 0)?;
        let off = difference(&valid(&y)?, &valid(&attention.forward(&dirty, &cx(n)?)?)?);
        ensure!(off == 0.0, "contents of padding change outputs by {off:e}");

        let more = Tensor::cat(&[&x, &random(&[2, 20, 12], 3)], 1)?;
        let off = difference(&valid(&y)?, &valid(&attention.forward(&more, &cx(n + 20)?)?)?);
        ensure!(off < 1e-12, "more padding changes outputs by {off:e}");
        Ok(())
    }

    fn examples_are_independent(&self) -> Result<()> {
        let (attention, _) = self.layer();
        let x = random(&[3, 20, 12], 1);
        let cx = Context::new(Mask::from_lengths(&[20; 3], 20)?, 1).training(2, 0);
        let second = |x: &Tensor| x.narrow(0, 1, 1);
        let others = |salt| random(&[1, 20, 12], salt) * 9.0;
        let moved = Tensor::cat(&[&others(2)?, &second(&x)?, &others(3)?], 0)?;
        let y = second(&attention.forward(&x, &cx)?)?;
        let off = difference(&y, &second(&attention.forward(&moved, &cx)?)?);
        ensure!(off == 0.0, "other examples change outputs by {off:e}");
        Ok(())
    }

    fn support_is_as_declared(&self) -> Result<()> {
        let n = 40;
        let (layers, _) = two_layers(self.variant, self.options);
        let seen = layers.each_ref().map(|layer| match layer.support(n) {
            Support::All => Some(vec![true; n * n]),
            Support::Listed(blocks) => Some(blocks.union()),
            Support::Chosen => None,
        });
        let cx = Context::new(Mask::from_lengths(&[n], n)?, 1);
        let x = random(&[1, n, 12], 1);
        let one = |x: &Tensor| layers[0].forward(x, &cx);
        // With a residual, as in a model.
        let two = |x: &Tensor| layers[1].forward(&(x + layers[0].forward(x, &cx)?)?, &cx);
        let [Some(first), Some(second)] = seen else {
            // Which positions is the input's choice, but a position's own query matters.
            let found = dependencies(&one, &x)?;
            let own = (0..n).all(|i| found[i * n + i]);
            ensure!(own, "an output does not depend on its own input");
            return Ok(());
        };
        let closure = |i: usize, j: usize| {
            (0..n).any(|k| (k == i || second[i * n + k]) && (k == j || first[k * n + j]))
        };
        // An output always depends on its own input, if it sees anything, by its query.
        let own = |i: usize| first[i * n..][..n].iter().any(|&s| s);
        let declared = |i: usize, j: usize| first[i * n + j] || (i == j && own(i));
        let both = |i: usize, j: usize| second[i * n..][..n].contains(&true) && closure(i, j);
        for (what, found, declared) in [
            ("one layer", dependencies(&one, &x)?, &declared as &dyn Fn(usize, usize) -> bool),
            ("two layers", dependencies(&two, &x)?, &both),
        ] {
            for (at, &found) in found.iter().enumerate() {
                let (i, j) = (at / n, at % n);
                let said = declared(i, j);
                ensure!(found == said, "{what}: output {i} on input {j}: {found}, declared {said}");
            }
        }
        Ok(())
    }

    fn weights_sum_to_one(&self) -> Result<()> {
        if !self.variant.normalised {
            return Ok(());
        }
        let (attention, weights) = self.layer();
        let n = 30;
        // Values of 1: the last feature of every token is 1, and the value is that feature.
        let one: Vec<f64> = (0..8 * 12).map(|i| f64::from(i % 12 == 11)).collect();
        let one = Tensor::from_vec(one, (8, 12), &Device::Cpu)?;
        let vars = weights.vars();
        let values: Vec<_> =
            vars.iter().filter(|(name, _)| name.ends_with("value.weight")).collect();
        ensure!(!values.is_empty(), "no weight is called value.weight");
        for (_, var) in values {
            var.set(&one)?;
        }
        let Some(output) = vars.get("attention.output.weight") else {
            candle_core::bail!("no weight is called output.weight")
        };
        let expected = output.as_tensor().sum(1)?;
        let x = Tensor::cat(
            &[random(&[2, n, 11], 1), Tensor::ones((2, n, 1), DType::F64, &Device::Cpu)?],
            2,
        )?;
        let cx = Context::new(Mask::from_lengths(&[n, 13], n)?, 1);
        let y = attention.forward(&x, &cx)?;
        let blind = match attention.support(n) {
            Support::Listed(blocks) => blocks.blind(),
            Support::All | Support::Chosen => vec![false; n],
        };
        for (b, len) in [(0, n), (1, 13)] {
            // Rows that see something whole, and the shorter example's first half.
            for i in (0..len).filter(|&i| !blind[i] && (b == 0 || i < 6)) {
                let off = difference(&y.get(b)?.get(i)?, &expected);
                // Denominators may have 1e-6 added.
                ensure!(off < 1e-5, "weights of row {i} sum to something else: {off:e}");
            }
        }
        Ok(())
    }

    fn calls_repeat(&self) -> Result<()> {
        let (attention, _) = self.layer();
        let x = random(&[2, 20, 12], 1);
        let mask = Mask::from_lengths(&[20, 13], 20)?;
        let y = |cx: Context| attention.forward(&x, &cx);
        let train = || Context::new(mask.clone(), 1).training(5, 0);
        ensure!(difference(&y(train())?, &y(train())?) == 0.0, "training does not repeat");
        let at = |step| y(Context::new(mask.clone(), 1).evaluating(step));
        ensure!(difference(&at(3)?, &at(997)?) == 0.0, "evaluation depends on the step");
        Ok(())
    }

    fn costs_grow_as_claimed(&self) -> Result<()> {
        let (attention, _) = self.layer();
        let flops = |n| attention.cost(n).flops;
        let saved = |n| attention.cost(n).saved;
        let slope = |f: &dyn Fn(usize) -> f64| (f(16384) / f(4096)).log2() / 2.0;
        let (flops, saved) = (slope(&flops), slope(&saved));
        let summary = self.variant.summary;
        if summary.contains("linear time") {
            ensure!(flops < 1.15, "linear time, and FLOPs grow like n^{flops:.2}");
        }
        if summary.contains("linear time") || summary.contains("linear memory") {
            ensure!(saved < 1.15, "kept values grow like n^{saved:.2}");
        }
        Ok(())
    }
}

/// Whether output i changes with input j, n x n, to the bit.
fn dependencies(f: &dyn Fn(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Vec<bool>> {
    let (_, n, width) = x.dims3()?;
    let (y, values) = (flat(&f(x)?), flat(x));
    let mut found = vec![false; n * n];
    for j in 0..n {
        let mut moved = values.clone();
        moved[j * width..][..width].iter_mut().for_each(|v| *v += 0.5);
        let moved = flat(&f(&Tensor::from_vec(moved, x.shape(), x.device())?)?);
        for i in 0..n {
            let row = |y: &[f64]| y[i * width..][..width].to_vec();
            found[i * n + j] = row(&y) != row(&moved);
        }
    }
    Ok(found)
}

/// The power of n by which the memory of one training pass grows from 4,096 to 8,192
/// positions, by the counting allocator ([`crate::measure::Counting`]), which the process must
/// have and nothing else may use meanwhile. `None` without it.
pub fn memory_growth(variant: &Variant, options: &str) -> Option<f64> {
    live()?;
    let peak = |n: usize| -> Result<f64> {
        let weights = Weights::new(1);
        let attention = told(build(variant, options, (0, 1), n, &weights))?;
        let x = candle_core::Var::from_tensor(&random(&[1, n, 12], 1))?;
        let cx = Context::new(Mask::from_lengths(&[n], n)?, 1).training(1, 0);
        reset_peak_live();
        let before = live().unwrap_or(0);
        attention.forward(&x, &cx)?.sqr()?.sum_all()?.backward()?;
        Ok((peak_live().unwrap_or(0) - before) as f64)
    };
    let peaks = [4096, 8192].map(|n| peak(n).unwrap_or_else(|e| panic!("{}: {e}", variant.name)));
    Some((peaks[1] / peaks[0]).log2())
}
