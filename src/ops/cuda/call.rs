//! One call of an attention kernel: `Call` of kernels/attention.cuh, and its launch.

use super::device::{Kernel, Module, address, blocks, device, launch, suffix};
use super::rows::Drop;
use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{Result, Tensor};

/// Where the rows of an operand lie: in elements, from the start of its tensor.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub operand: usize,
    start: usize,
    example: usize,
    row: usize,
    head: usize,
}

impl Place {
    /// Heads of `width` in n rows of `row` elements, from element `start` of each row on.
    pub(super) fn new(
        operand: usize,
        start: usize,
        width: usize,
        (row, n): (usize, usize),
    ) -> Self {
        Self { operand, start, example: n * row, row, head: width }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Field {
    data: u64,
    example: i64,
    row: i64,
    head: i64,
}

impl Field {
    pub(super) fn new(data: u64, place: Place) -> Self {
        let [example, row, head] = [place.example, place.row, place.head].map(|x| x as i64);
        Self { data, example, row, head }
    }

    pub(super) fn of(x: &Tensor, place: Place) -> Result<Self> {
        let start = (place.start * x.dtype().size_in_bytes()) as u64;
        Ok(Self::new(address(x)? + start, place))
    }
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Call {
    pub q: Field,
    pub k: Field,
    pub v: Field,
    pub o: Field,
    pub g: Field,
    pub dq: Field,
    pub dk: Field,
    pub dv: Field,
    pub rows: u64,
    pub cols: u64,
    pub lists: u64,
    pub order: u64,
    pub queries: u64,
    pub keys: u64,
    pub terms: u64,
    pub dterms: u64,
    pub pairs: u64,
    pub dpairs: u64,
    pub distances: u64,
    pub constants: u64,
    pub ddistances: u64,
    pub lse: u64,
    pub dot: u64,
    pub drop: Drop,
    pub terms_example: i64,
    pub pairs_example: i64,
    pub pairs_head: i64,
    pub pairs_row: i64,
    pub per_head: i32,
    pub per_example: i32,
    pub b: i32,
    pub h: i32,
    pub n: i32,
    pub m: i32,
    pub qk: i32,
    pub w: i32,
    pub zero: i32,
    pub count: i32,
    pub again: i32,
    pub scale: f32,
}

// SAFETY: laid out as the kernels' own.
unsafe impl DeviceRepr for Call {}

/// What scores have besides `q . k` and a term for each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Pairs,
    Distances,
}

/// Bytes of shared memory of a block: tiles of operands, what is known of rows and columns, and
/// of distances a band of positions with what meets there.
fn shared(what: &str, (kind, width, warps): (Kind, usize, usize), size: usize) -> usize {
    let (row, rows) = (size * (width + 16 / size), warps * 16);
    let known = 16 * (rows + 2 * 64);
    let band = if kind == Kind::Distances { 2 * 128 * (row + 4) + 64 * 84 * 4 } else { 16 };
    let tiles = match what {
        "" => rows + 4 * 64,
        "_slopes" => 4 * 64,
        _ => 2 * rows + 4 * 64,
    };
    let slopes = if what == "_slopes" { 64 * 65 * 4 } else { 0 };
    tiles * row + known + band + slopes
}

/// Runs a kernel of some blocks for each head and example; without blocks nothing.
pub(super) fn run(
    what: &str,
    shape: (Kind, usize, usize),
    call: &Call,
    tiles: usize,
    examples: usize,
    like: &Tensor,
) -> Result<()> {
    if tiles == 0 {
        return Ok(());
    }
    let ((kind, width, warps), of) = (shape, suffix(like));
    let name = match kind {
        Kind::Plain => format!("attention{what}_{of}_{width}_{warps}"),
        Kind::Pairs => format!("pairs{what}_{of}_{width}"),
        Kind::Distances => format!("distances{what}_{of}_{width}"),
    };
    let module = Module::attention(like, kind != Kind::Plain);
    let kernel = Kernel::get(&device(like)?, module, &name)?;
    let shared = shared(what, shape, like.dtype().size_in_bytes()) as u32;
    kernel.allow(shared)?;
    let grid = (tiles, call.h as usize, examples);
    launch!(kernel, blocks(grid, (32 * warps as u32, 1), shared), *call)
}
