//! The weights that attentions compute and do not keep.

use super::composed;
use candle_core::{Result, Tensor};
use std::cell::RefCell;

thread_local! {
    static RECORDED: RefCell<Option<Vec<Tensor>>> = const { RefCell::new(None) };
}

/// Runs `f` on the composed faces and returns the attention weights of each call in it, before
/// dropout: [b, heads, n, m], quadratic memory.
pub fn recorded<R>(f: impl FnOnce() -> Result<R>) -> Result<(R, Vec<Tensor>)> {
    RECORDED.set(Some(Vec::new()));
    let result = composed(f);
    let weights = RECORDED.take().unwrap_or_default();
    Ok((result?, weights))
}

/// Keeps the weights that `weights` computes, where someone asked for them.
pub(super) fn record(weights: impl FnOnce() -> Result<Tensor>) -> Result<()> {
    if RECORDED.with_borrow(Option::is_none) {
        return Ok(());
    }
    let weights = weights()?.detach();
    RECORDED.with_borrow_mut(|all| all.as_mut().map(|all| all.push(weights)));
    Ok(())
}
