//! Loss and gradients with less memory than one graph over all layers takes.
//!
//! - Recomputed: the forward pass keeps each layer's input alone, and the backward pass
//!   computes the layer again (Chen et al. 2016, arXiv:1604.06174).
//! - Reversible: it keeps the last layer's two outputs alone, and the backward pass computes
//!   each layer's inputs from its outputs (Gomez et al. 2017, arXiv:1707.04585).
//!
//! Both rest on layers being pure functions of (weights, x, context): called again they give
//! the same bytes, dropout included.

use super::Classifier;
use crate::layers::Context;
use crate::ops::Ids;
use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var, bail};
use std::collections::BTreeMap;

/// The weights, and what their gradients have come to so far, by name.
pub(crate) struct Sums<'a> {
    vars: &'a BTreeMap<String, Var>,
    by_name: BTreeMap<String, Tensor>,
}

impl<'a> Sums<'a> {
    pub(crate) fn new(vars: &'a BTreeMap<String, Var>) -> Self {
        Self { vars, by_name: BTreeMap::new() }
    }

    /// Adds what a store has of the weights. The rest of it, gradients of constants among
    /// them, is freed.
    fn add(&mut self, mut store: GradStore) -> Result<()> {
        for (name, var) in self.vars {
            if let Some(gradient) = store.remove(var) {
                let sum = match self.by_name.remove(name) {
                    Some(sum) => (sum + gradient)?,
                    None => gradient,
                };
                self.by_name.insert(name.clone(), sum);
            }
        }
        Ok(())
    }

    /// The gradients, or the name of a weight that has none.
    pub(crate) fn finish(self) -> std::result::Result<BTreeMap<String, Tensor>, String> {
        match self.vars.keys().find(|name| !self.by_name.contains_key(*name)) {
            Some(name) => Err(name.clone()),
            None => Ok(self.by_name),
        }
    }
}

/// The gradient of a leaf of the store's graph.
fn take(store: &mut GradStore, leaf: &Var) -> Result<Tensor> {
    match store.remove(leaf) {
        Some(gradient) => Ok(gradient),
        None => bail!("a layer does not depend on its input"),
    }
}

/// Gradients of `sum(y * slope)`.
fn through(y: &Tensor, slope: &Tensor) -> Result<GradStore> {
    (y * slope.detach())?.sum_all()?.backward()
}

/// The loss of the encoder's output, and its slope there.
fn from_head(
    x: &Tensor,
    sums: &mut Sums,
    head: &dyn Fn(&Tensor) -> Result<Tensor>,
) -> Result<(Tensor, Tensor)> {
    let leaf = Var::from_tensor(x)?;
    let loss = head(&leaf)?;
    let mut store = loss.backward()?;
    let slope = take(&mut store, &leaf)?;
    sums.add(store)?;
    Ok((loss.detach(), slope))
}

/// A layer computed again: its output, and the slope of its input from that of its output.
fn again(
    x: &Tensor,
    slope: &Tensor,
    sums: &mut Sums,
    layer: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<(Tensor, Tensor)> {
    let leaf = Var::from_tensor(x)?;
    let y = layer(&leaf)?;
    let mut store = through(&y, slope)?;
    let slope = take(&mut store, &leaf)?;
    sums.add(store)?;
    Ok((y.detach(), slope))
}

impl Classifier {
    /// The loss of the scores; adds the gradients of all weights to `sums`.
    pub(crate) fn backward(
        &self,
        ids: &Ids,
        cx: &Context,
        sums: &mut Sums,
        loss: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        if !self.recompute && !self.section.reversible {
            let loss = loss(&self.forward(ids, cx)?)?;
            sums.add(loss.backward()?)?;
            return Ok(loss.detach());
        }
        let (x, inner) = self.embedding.forward(ids, cx)?;
        let run = if self.section.reversible { Self::reversed } else { Self::recomputed };
        let head = |x: &Tensor| loss(&self.classify(x, cx)?);
        let (loss, slope) = run(self, &x, &inner, sums, &head)?;
        sums.add(through(&x, &slope)?)?;
        Ok(loss)
    }

    fn recomputed(
        &self,
        x: &Tensor,
        cx: &Context,
        sums: &mut Sums,
        head: &dyn Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        let (mut x, mut inputs) = (x.detach(), Vec::new());
        for (i, block) in self.blocks.iter().enumerate() {
            let y = block.forward(&x, &cx.enter("layer", i))?.detach();
            inputs.push(std::mem::replace(&mut x, y));
        }
        let (loss, mut slope) = from_head(&x, sums, head)?;
        for (i, (block, input)) in self.blocks.iter().zip(inputs).enumerate().rev() {
            let layer = |x: &Tensor| block.forward(x, &cx.enter("layer", i));
            slope = again(&input, &slope, sums, layer)?.1;
        }
        Ok((loss, slope))
    }

    fn reversed(
        &self,
        x: &Tensor,
        cx: &Context,
        sums: &mut Sums,
        head: &dyn Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        let (mut y1, mut y2) = (x.detach(), x.detach());
        for (i, block) in self.blocks.iter().enumerate() {
            let cx = cx.enter("layer", i);
            y1 = (y1 + block.attend(&y2, &cx, false)?.detach())?;
            y2 = (y2 + block.feed(&y1, &cx, false)?.detach())?;
        }
        let (loss, slope) = from_head(&((&y1 + &y2)? * 0.5)?, sums, head)?;
        let half = (slope * 0.5)?;
        let (mut s1, mut s2) = (half.clone(), half);
        for (i, block) in self.blocks.iter().enumerate().rev() {
            let cx = cx.enter("layer", i);
            let (fed, slope) = again(&y1, &s2, sums, |x| block.feed(x, &cx, false))?;
            (s1, y2) = ((s1 + slope)?, (y2 - fed)?);
            let (mixed, slope) = again(&y2, &s1, sums, |x| block.attend(x, &cx, false))?;
            (s2, y1) = ((s2 + slope)?, (y1 - mixed)?);
        }
        Ok((loss, (s1 + s2)?))
    }
}
