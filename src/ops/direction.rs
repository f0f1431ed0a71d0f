//! The bucket of a hash by random rotations (Andoni et al. 2015).

use candle_core::{D, Result, Tensor};

/// Which of the directions and their opposites a row is nearest to: of `x` [.., f], rows times
/// directions, the index of the largest of `[x, -x]`, u32 [..]. Not differentiable.
pub fn nearest_direction(x: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if super::cuda::serves(x) {
        return super::cuda::nearest_direction(x);
    }
    Tensor::cat(&[x, &x.neg()?], D::Minus1)?.argmax(D::Minus1)
}
