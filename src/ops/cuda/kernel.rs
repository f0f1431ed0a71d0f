//! Kernelised attention: see kernels/kernel.cu.

use super::device::{Fresh, Kernel, Module, address, blocks, device, launch, suffix};
use super::node::node;
use crate::ops::kernel::Kind;
use crate::ops::{Features, Kernelised};
use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{DType, Result, Tensor};

/// Positions of a tile and features of a slab, as the kernels have them.
const SIDE: usize = 64;
/// The widest head that the kernels take.
const WIDEST: usize = 128;
/// Blocks that fill a large GPU a few times. A constant, so that what is summed in which order
/// is the same on all.
const PLENTY: usize = 528;
/// Blocks that one axis of a launch may have.
const MOST_HEADS: usize = 65_535;

/// Whether the kernels take `x`, of b examples and `width` columns of queries.
pub(in crate::ops) fn kernelises(x: &Tensor, how: &Kernelised, width: usize) -> bool {
    let unit = 16 / x.dtype().size_in_bytes();
    let features = match &how.features {
        Features::EluPlusOne => true,
        Features::Random { projection, .. } => projection.elem_count() > 0,
    };
    let heads = x.dims().first().map_or(0, |b| b * how.heads);
    super::serves(x)
        && (1..=MOST_HEADS).contains(&heads)
        && width.is_multiple_of(how.heads)
        && (1..=WIDEST).contains(&(width / how.heads))
        && (width / how.heads).is_multiple_of(unit)
        && features
}

/// `Call` of kernels/features.cuh.
#[repr(C)]
#[derive(Clone, Copy)]
struct Call {
    qkv: u64,
    o: u64,
    dqkv: u64,
    g: u64,
    valid: u64,
    projection: u64,
    sums: u64,
    state: u64,
    dstate: u64,
    key_tops: u64,
    query_tops: u64,
    inverse: u64,
    t: u64,
    h: i32,
    n: i32,
    w: i32,
    m: i32,
    slabs: i32,
    halves: i32,
    kind: i32,
    tiles: i32,
    chunk: i32,
    each: i32,
    root: f32,
    floor: f32,
    norm: f32,
    eps: f32,
}

// SAFETY: laid out as the kernels' own.
unsafe impl DeviceRepr for Call {}

/// Sizes of a call: examples, positions, heads and their width, and projected features.
#[derive(Clone, Copy)]
struct Sizes {
    b: usize,
    n: usize,
    h: usize,
    w: usize,
    m: usize,
    halves: usize,
}

impl Sizes {
    fn of(qkv: &Tensor, how: &Kernelised) -> Result<Self> {
        let ((b, n, row), h) = (qkv.dims3()?, how.heads);
        let w = row / 3 / h;
        let (m, halves) = match &how.features {
            Features::EluPlusOne => (w, 1),
            Features::Random { kind, projection, .. } => {
                (projection.dim(0)?, if *kind == Kind::Trigonometric { 2 } else { 1 })
            }
        };
        Ok(Self { b, n, h, w, m, halves })
    }

    /// The kernels' width that heads of these fit.
    fn width(&self) -> usize {
        self.w.next_power_of_two().max(16)
    }

    fn tiles(&self) -> usize {
        self.n.div_ceil(SIDE)
    }

    /// Of features, in all halves.
    fn slabs(&self) -> usize {
        self.m.div_ceil(SIDE) * self.halves
    }

    fn heads(&self) -> usize {
        self.b * self.h
    }

    /// Elements of a head's state.
    fn state(&self) -> usize {
        self.slabs() * SIDE * (self.width() + 4)
    }

    /// Tiles of a chunk: few chunks, but enough blocks, which take four tiles or more.
    fn chunk(&self) -> usize {
        let want = PLENTY.div_ceil(self.slabs() * self.heads());
        self.tiles().div_ceil(want.clamp(1, self.tiles().div_ceil(4)))
    }

    /// Tiles that a block goes through with a state that it has read once.
    fn each(&self) -> usize {
        match self.slabs() {
            1 => (self.tiles() * self.heads() / (2 * PLENTY)).clamp(1, 8),
            _ => 1,
        }
    }
}

/// What the backward pass needs besides operands and output: of each head the sums over its
/// keys, [b h, features, width + 4], of each row and head one over its denominator, and
/// stabilisers of keys and queries where there are some.
pub(super) struct Kept {
    projection: Option<Tensor>,
    valid: Tensor,
    state: Tensor,
    key_tops: Option<Tensor>,
    query_tops: Option<Tensor>,
    inverse: Tensor,
}

/// A call without any memory.
fn call(how: &Kernelised, x: Sizes) -> Call {
    let (kind, floor) = match how.features {
        Features::EluPlusOne => (0, 0.0),
        Features::Random { kind: Kind::Positive, eps, .. } => (1, eps),
        Features::Random { kind: Kind::Trigonometric, .. } => (2, 0.0),
        Features::Random { kind: Kind::Relu, eps, .. } => (3, eps),
    };
    Call {
        qkv: 0,
        o: 0,
        dqkv: 0,
        g: 0,
        valid: 0,
        projection: 0,
        sums: 0,
        state: 0,
        dstate: 0,
        key_tops: 0,
        query_tops: 0,
        inverse: 0,
        t: 0,
        h: x.h as i32,
        n: x.n as i32,
        w: x.w as i32,
        m: x.m as i32,
        slabs: (x.slabs() / x.halves) as i32,
        halves: x.halves as i32,
        kind,
        tiles: x.tiles() as i32,
        chunk: x.chunk() as i32,
        each: x.each() as i32,
        root: (x.w as f64).powf(-0.25) as f32,
        floor: floor as f32,
        norm: (x.m as f64).powf(-0.5) as f32,
        eps: how.eps as f32,
    }
}

/// Runs a kernel for these features, of blocks [x, y, z] with room for `tiles` tiles of
/// operands and `parts` f32 matrices.
fn run(
    name: &str,
    (call, x): (Call, Sizes),
    like: &Tensor,
    size: (usize, usize, usize),
    (tiles, parts): (usize, usize),
) -> Result<()> {
    let width = x.width();
    let kernel =
        Kernel::get(&device(like)?, Module::Kernel, &format!("{name}_{}_{width}", suffix(like)))?;
    // In bf16 an f32 matrix is two.
    let bytes = like.dtype().size_in_bytes();
    let (row, tiles) = match bytes {
        2 => (width + 8, tiles + 2 * parts),
        _ => (width + 4, tiles + parts),
    };
    let shared = (tiles * SIDE * row * bytes + 512 * 4) as u32;
    kernel.allow(shared)?;
    launch!(kernel, blocks(size, (128, 1), shared), call)
}

/// The infix of kernels' names, and how many f32 matrices its projection is.
fn family(how: &Kernelised) -> (&'static str, usize) {
    match how.features {
        Features::EluPlusOne => ("elu", 0),
        Features::Random { .. } => ("random", 1),
    }
}

/// Sums over the positions of each head, [b h, features, width + 4]: the state, from keys and
/// values, or its slope, from queries.
fn sums(of: &str, call: Call, x: Sizes, how: &Kernelised, like: &Tensor) -> Result<Tensor> {
    let device = device(like)?;
    let ((infix, projection), chunks) = (family(how), x.tiles().div_ceil(x.chunk()));
    let parts = Fresh::new((x.heads(), chunks, x.state()), DType::F32, &device)?;
    let call = Call { sums: parts.address, ..call };
    let size = (chunks, x.slabs(), x.heads());
    run(&format!("kernel_{of}_{infix}"), (call, x), like, size, (4, projection))?;
    if chunks == 1 {
        return Ok(parts.into_tensor());
    }
    let whole = Fresh::new((x.heads(), x.state()), DType::F32, &device)?;
    let kernel = Kernel::get(&device, Module::Kernel, "kernel_add_chunks")?;
    // Four elements each.
    let count = x.state() / 4;
    let size = blocks((count.div_ceil(256), x.heads(), 1), (256, 1), 0);
    launch!(kernel, size, parts.address, whole.address, chunks as i32, count as i32)?;
    Ok(whole.into_tensor())
}

/// The output [b, n, heads * width] of a contiguous `qkv` [b, n, 3 heads * width], and what is
/// kept.
pub(super) fn forward(qkv: &Tensor, how: &Kernelised) -> Result<(Fresh, Kept)> {
    let x = Sizes::of(qkv, how)?;
    how.check(x.b, x.n, x.h * x.w)?;
    let (at, device) = (qkv.device(), device(qkv)?);
    let stabilised = match &how.features {
        Features::Random { kind, .. } => (*kind != Kind::Relu, *kind == Kind::Positive),
        Features::EluPlusOne => (false, false),
    };
    let projection = match &how.features {
        Features::Random { projection, .. } => {
            Some(projection.to_dtype(DType::F32)?.to_device(at)?.contiguous()?.detach())
        }
        Features::EluPlusOne => None,
    };
    let valid = how.mask.bytes(at)?;
    let fresh = |columns: usize| Fresh::new((x.heads(), columns), DType::F32, &device);
    let key_tops = stabilised.0.then(|| fresh(x.tiles())).transpose()?;
    let query_tops = stabilised.1.then(|| fresh(x.n)).transpose()?;
    let inverse = fresh(x.n)?;
    let out = Fresh::new((x.b, x.n, x.h * x.w), qkv.dtype(), &device)?;
    let call = Call {
        qkv: address(qkv)?,
        o: out.address,
        valid: address(&valid)?,
        projection: projection.as_ref().map_or(Ok(0), address)?,
        key_tops: key_tops.as_ref().map_or(0, |tops| tops.address),
        query_tops: query_tops.as_ref().map_or(0, |tops| tops.address),
        inverse: inverse.address,
        ..call(how, x)
    };
    if key_tops.is_some() {
        run("kernel_tops", (call, x), qkv, (x.tiles(), x.heads(), 1), (1, 1))?;
    }
    let state = sums("keys", call, x, how, qkv)?;
    let call = Call { state: address(&state)?, ..call };
    let (infix, parts) = family(how);
    let size = (x.tiles().div_ceil(x.each()), x.heads(), 1);
    run(&format!("kernel_outputs_{infix}"), (call, x), qkv, size, (1, 1 + parts))?;
    let kept = Kept {
        projection,
        valid,
        state,
        key_tops: key_tops.map(Fresh::into_tensor),
        query_tops: query_tops.map(Fresh::into_tensor),
        inverse: inverse.into_tensor(),
    };
    Ok((out, kept))
}

/// The slope of `qkv`, from the output and its contiguous slope.
pub(super) fn backward(
    qkv: &Tensor,
    how: &Kernelised,
    kept: &Kept,
    (o, g): (&Tensor, &Tensor),
) -> Result<Tensor> {
    let (x, device) = (Sizes::of(qkv, how)?, device(qkv)?);
    let optional = |x: &Option<Tensor>| x.as_ref().map_or(Ok(0), address);
    let t = Fresh::new((x.heads(), x.n), DType::F32, &device)?;
    let dqkv = Fresh::new(qkv.shape(), qkv.dtype(), &device)?;
    let call = Call {
        qkv: address(qkv)?,
        o: address(o)?,
        dqkv: dqkv.address,
        g: address(g)?,
        valid: address(&kept.valid)?,
        projection: optional(&kept.projection)?,
        state: address(&kept.state)?,
        key_tops: optional(&kept.key_tops)?,
        query_tops: optional(&kept.query_tops)?,
        inverse: address(&kept.inverse)?,
        t: t.address,
        ..call(how, x)
    };
    let kernel = Kernel::get(&device, Module::Kernel, &format!("kernel_dots_{}", suffix(qkv)))?;
    launch!(kernel, blocks(((x.n * x.h).div_ceil(8), x.b, 1), (256, 1), 0), call)?;
    let dstate = sums("queries", call, x, how, qkv)?;
    let call = Call { dstate: address(&dstate)?, ..call };
    let (infix, parts) = family(how);
    let size = (x.tiles().div_ceil(x.each()), x.heads(), 1);
    for of in ["dq", "dkv"] {
        run(&format!("kernel_{of}_{infix}"), (call, x), qkv, size, (2, 1 + parts))?;
    }
    Ok(dqkv.into_tensor())
}

/// As [`crate::ops::kernel_attention`].
pub(in crate::ops) fn kernel_attention(qkv: &Tensor, how: &Kernelised) -> Result<Tensor> {
    let qkv = qkv.contiguous()?;
    let held = qkv.detach();
    let (o, kept) = forward(&held, how)?;
    let how = how.clone();
    node("kernel-attention", &[&qkv], o, move |o, g| {
        Ok(vec![Some(backward(&held, &how, &kept, (o, g))?)])
    })
}
