//! The CUDA face of an op against the CPU's.

use crate::common::{flat, random};
use crate::gpu::gpu;
use candle_core::{DType, Device, Result, Tensor, Var};

/// Float error of f32 sums of a few thousand terms, as a share of the whole tensor's norm.
pub const F32: f64 = 2e-5;
/// Products of bf16 operands: 2^-9 each, and in a whole layer six of them after one another.
pub const BF16: f64 = 4e-2;

pub fn values(x: &Tensor) -> Vec<f64> {
    flat(&x.to_device(&Device::Cpu).unwrap())
}

pub fn norm(x: impl Iterator<Item = f64>) -> f64 {
    x.map(|x| x * x).sum::<f64>().sqrt()
}

/// ‖a - b‖ / max(‖b‖, least), NaN if there is one in a or b.
pub fn off(a: &Tensor, b: &Tensor, least: f64) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let (a, b) = (values(a), values(b));
    norm(a.iter().zip(&b).map(|(a, b)| a - b)) / norm(b.into_iter()).max(least)
}

pub type Op<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

/// Value and gradients of `sum(op(inputs) * cotangent)` on a device, of inputs that were rounded
/// to a type before.
pub fn run(
    op: Op,
    inputs: &[Tensor],
    like: DType,
    (dtype, device): (DType, &Device),
) -> Vec<Tensor> {
    let var = |x: &Tensor| Var::from_tensor(&x.to_dtype(like)?.to_dtype(dtype)?.to_device(device)?);
    let vars = inputs.iter().map(var).collect::<Result<Vec<Var>>>().unwrap();
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let y = op(&tensors).unwrap();
    let cotangent = random(y.dims(), 1000).to_dtype(like).unwrap().to_dtype(y.dtype()).unwrap();
    let cotangent = cotangent.to_device(device).unwrap();
    let grads = (&y * cotangent).unwrap().sum_all().unwrap().backward().unwrap();
    let of = |v: &Var| grads.get(v.as_tensor()).expect("a gradient for every operand").clone();
    [y].into_iter().chain(vars.iter().map(of)).collect()
}

/// What the error of a value (`None`) or of a gradient may be.
pub fn bound(dtype: DType, _: Option<usize>) -> f64 {
    if dtype == DType::BF16 { BF16 } else { F32 }
}

/// The CUDA face in f32 and bf16 against the CPU's in f64 of the same rounded operands, and
/// against itself. What operands lose to rounding is not the kernels' doing, and exponentials of
/// it are large.
pub fn agree(name: &str, inputs: &[Tensor], op: Op) {
    agree_within(bound, |_| 1e-6, name, inputs, op);
}

/// The same with other bounds, and errors as shares of at least `least` of the exact output, where
/// gradients may be zero but for rounding.
pub fn agree_within(
    bound: impl Fn(DType, Option<usize>) -> f64,
    least: impl Fn(&Tensor) -> f64,
    name: &str,
    inputs: &[Tensor],
    op: Op,
) {
    let Some(gpu) = gpu() else { return };
    for dtype in [DType::F32, DType::BF16] {
        let exact = run(op, inputs, dtype, (DType::F64, &Device::Cpu));
        let found = run(op, inputs, dtype, (dtype, &gpu));
        let again = run(op, inputs, dtype, (dtype, &gpu));
        let least = least(&exact[0]);
        for (i, ((x, twice), right)) in found.iter().zip(&again).zip(&exact).enumerate() {
            let what = if i == 0 { "value".into() } else { format!("gradient {}", i - 1) };
            let off = off(x, right, least);
            assert!(
                off < bound(dtype, i.checked_sub(1)),
                "{name} {dtype:?}: {what} is off by {off:e}"
            );
            let same = values(x) == values(twice);
            assert!(same, "{name} {dtype:?}: {what} is not the same twice");
        }
    }
}
