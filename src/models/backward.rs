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

/// Gradients of weights, of which one may be in several stores: their sum is its own.
pub(crate) type Stores = Vec<GradStore>;

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

impl Classifier {
    /// The loss of the scores, and the gradients of all weights.
    pub(crate) fn backward(
        &self,
        ids: &Ids,
        cx: &Context,
        loss: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<(Tensor, Stores)> {
        if !self.recompute && !self.section.reversible {
            let loss = loss(&self.forward(ids, cx)?)?;
            let store = loss.backward()?;
            return Ok((loss, vec![store]));
        }
        let (x, inner) = self.embedding.forward(ids, cx)?;
        let run = if self.section.reversible { Self::reversed } else { Self::recomputed };
        let head = |x: &Tensor| loss(&self.classify(x, cx)?);
        let (loss, slope, mut stores) = run(self, &x, &inner, &head)?;
        stores.push(through(&x, &slope)?);
        Ok((loss, stores))
    }

    fn recomputed(
        &self,
        x: &Tensor,
        cx: &Context,
        head: &dyn Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<(Tensor, Tensor, Stores)> {
        let mut inputs = vec![x.detach()];
        for (i, block) in self.blocks.iter().enumerate() {
            let y = block.forward(&inputs[i], &cx.enter("layer", i))?.detach();
            inputs.push(y);
        }
        let leaf = Var::from_tensor(&inputs.pop().expect("one for each layer and one more"))?;
        let loss = head(&leaf)?;
        let mut store = loss.backward()?;
        let mut slope = take(&mut store, &leaf)?;
        let mut stores = vec![store];
        for (i, block) in self.blocks.iter().enumerate().rev() {
            let leaf = Var::from_tensor(&inputs.pop().expect("one for each layer"))?;
            let y = block.forward(&leaf, &cx.enter("layer", i))?;
            let mut store = through(&y, &slope)?;
            slope = take(&mut store, &leaf)?;
            stores.push(store);
        }
        Ok((loss.detach(), slope, stores))
    }

    fn reversed(
        &self,
        x: &Tensor,
        cx: &Context,
        head: &dyn Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<(Tensor, Tensor, Stores)> {
        let (mut y1, mut y2) = (x.detach(), x.detach());
        for (i, block) in self.blocks.iter().enumerate() {
            let cx = cx.enter("layer", i);
            y1 = (y1 + block.attend(&y2, &cx)?.detach())?;
            y2 = (y2 + block.feed(&y1, &cx)?.detach())?;
        }
        let leaf = Var::from_tensor(&((&y1 + &y2)? * 0.5)?)?;
        let loss = head(&leaf)?;
        let mut store = loss.backward()?;
        let half = (take(&mut store, &leaf)? * 0.5)?;
        let (mut s1, mut s2) = (half.clone(), half);
        let mut stores = vec![store];
        for (i, block) in self.blocks.iter().enumerate().rev() {
            let cx = cx.enter("layer", i);
            let leaf = Var::from_tensor(&y1)?;
            let fed = block.feed(&leaf, &cx)?;
            let mut store = through(&fed, &s2)?;
            s1 = (s1 + take(&mut store, &leaf)?)?;
            stores.push(store);
            y2 = (y2 - fed.detach())?;

            let leaf = Var::from_tensor(&y2)?;
            let mixed = block.attend(&leaf, &cx)?;
            let mut store = through(&mixed, &s1)?;
            s2 = (s2 + take(&mut store, &leaf)?)?;
            stores.push(store);
            y1 = (y1 - mixed.detach())?;
        }
        Ok((loss.detach(), (s1 + s2)?, stores))
    }
}
