//! Strided views over slices and their product, checked before the pointers are used.

use super::{Real, filled, spread};
use crate::ops::profile;
use gemm::Parallelism;
use rayon::prelude::*;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// A read-only `rows x cols` view; element (i, j) is at `i * row + j * col`.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row: usize,
    col: usize,
}

fn spans(rows: usize, cols: usize, row: usize, col: usize) -> usize {
    if rows == 0 || cols == 0 { 0 } else { (rows - 1) * row + (cols - 1) * col + 1 }
}

impl<'a, T> Mat<'a, T> {
    /// Rows of `stride` elements, of which the first `cols` are seen.
    pub(crate) fn rows(data: &'a [T], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(spans(rows, cols, stride, 1) <= data.len(), "matrix view out of bounds");
        Self { data, rows, cols, row: stride, col: 1 }
    }

    /// Number of rows.
    pub(crate) fn count(&self) -> usize {
        self.rows
    }

    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    /// `rows` rows from this one on.
    fn beginning(self, first: usize, rows: usize) -> Self {
        assert!(first + rows <= self.rows, "rows out of bounds");
        let start = (first * self.row).min(self.data.len());
        Self { data: &self.data[start..], rows, ..self }
    }

    /// `cols` columns from this one on.
    fn columns(self, first: usize, cols: usize) -> Self {
        self.t().beginning(first, cols).t()
    }

    pub(crate) fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row: self.col, col: self.row, ..self }
    }

    /// Every `step`-th column from this one on, `cols` of them.
    pub(crate) fn every(self, first: usize, cols: usize, step: usize) -> Self {
        assert!(cols == 0 || first + (cols - 1) * step < self.cols, "columns out of bounds");
        let start = (first * self.col).min(self.data.len());
        Self { data: &self.data[start..], cols, col: self.col * step, ..self }
    }

    /// Asks for all rows at once, where their elements lie side by side: the processor does not
    /// foresee rows with gaps between them, and who reads them in turn waits for each.
    pub(crate) fn fetch(&self) {
        #[cfg(target_arch = "x86_64")]
        if self.col == 1 {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            const LINE: usize = 64;
            for row in (0..self.rows).map(|i| self.row(i)) {
                for part in row.chunks(LINE / size_of::<T>()) {
                    // SAFETY: a hint about an address, which changes nothing.
                    unsafe { _mm_prefetch::<_MM_HINT_T1>(part.as_ptr().cast()) };
                }
            }
        }
    }

    /// Row i, where its elements lie side by side.
    pub(crate) fn row(&self, i: usize) -> &'a [T] {
        assert!(i < self.rows && self.col == 1, "no such row, or one with gaps");
        &self.data[i * self.row..][..self.cols]
    }
}

/// Elements from row to row, of so many elements each: whole cache lines, an odd number of them.
/// Rows that are a multiple of 4 KB apart have all places of a column in one set of the first
/// cache, which holds eight or twelve.
pub(crate) fn apart<T>(cols: usize) -> usize {
    const LINE: usize = 64;
    ((cols * size_of::<T>()).div_ceil(LINE) | 1) * LINE / size_of::<T>()
}

/// `aᵀ` laid out anew in `room`, which products on its right side read fastest: the library
/// packs contiguous rows by vectors and others by single elements, again for every product.
pub(crate) fn turned<'r, T: Real>(a: Mat<'_, T>, room: &'r mut Vec<T>) -> Mat<'r, T> {
    const ROWS: usize = 16;
    const COLUMNS: usize = 64;
    let stride = apart::<T>(a.rows);
    room.resize(a.cols * stride, T::ZERO);
    room.par_chunks_mut(COLUMNS * stride).enumerate().for_each(|(block, to)| {
        for first in (0..a.rows).step_by(ROWS) {
            let count = ROWS.min(a.rows - first);
            for (j, to) in to.chunks_exact_mut(stride).enumerate() {
                let from = &a.data[first * a.row + (block * COLUMNS + j) * a.col..];
                let from = from.iter().step_by(a.row);
                to[first..first + count].iter_mut().zip(from).for_each(|(to, &x)| *to = x);
            }
        }
    });
    Mat::rows(room, a.cols, a.rows, stride)
}

/// What [`turned`] made in `room` of a matrix of so many rows, of one at least; `None` if nothing.
pub(crate) fn laid<T: Real>(room: &[T], rows: usize) -> Option<Mat<'_, T>> {
    let stride = apart::<T>(rows);
    (!room.is_empty()).then(|| Mat::rows(room, room.len() / stride, rows, stride))
}

/// `b`, or where its rows have gaps and four pieces of rows or more are to be multiplied with
/// it, a copy in `room` whose rows have none: the copy costs about what packing it once does.
pub(crate) fn right<'r, T: Real>(b: Mat<'r, T>, rows: usize, room: &'r mut Vec<T>) -> Mat<'r, T> {
    if b.col == 1 || rows.div_ceil(piece(rows)) < 4 { b } else { turned(b.t(), room) }
}

/// A `rows x cols` output view with rows of `stride` elements. Several may cover one
/// buffer at once (heads interleaved in a row), as long as no element is in two.
pub(crate) struct MatMut<'a, T> {
    data: *mut T,
    rows: usize,
    cols: usize,
    row: usize,
    life: PhantomData<&'a mut [T]>,
}

impl<'a, T> MatMut<'a, T> {
    pub(crate) fn rows(data: &'a mut [T], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(spans(rows, cols, stride, 1) <= data.len(), "matrix view out of bounds");
        Self { data: data.as_mut_ptr(), rows, cols, row: stride, life: PhantomData }
    }

    /// `rows` rows from this one on.
    pub(crate) fn beginning(&mut self, first: usize, rows: usize) -> MatMut<'_, T> {
        assert!(first + rows <= self.rows, "rows out of bounds");
        let skipped = if rows == 0 { 0 } else { first * self.row };
        // SAFETY: the view was checked against its buffer when it was made, and has the rows.
        let data = unsafe { self.data.add(skipped) };
        MatMut { data, rows, cols: self.cols, row: self.row, life: PhantomData }
    }

    pub(crate) fn row_mut(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.rows, "row out of bounds");
        // SAFETY: the view was checked against its buffer when it was made, its rows do
        // not overlap (cols <= row, checked in `Shared::view`), and it is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(i * self.row), self.cols) }
    }
}

/// An output buffer written from several threads at disjoint places.
pub(crate) struct Shared<'a, T> {
    data: *mut T,
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: access goes through `view`, whose caller promises disjointness.
unsafe impl<T: Send> Sync for Shared<'_, T> {}
unsafe impl<T: Send> Send for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(data: &'a mut [T]) -> Self {
        Self { data: data.as_mut_ptr(), len: data.len(), life: PhantomData }
    }

    /// A buffer that holds nothing yet: views of it may be written, not read.
    fn unwritten(data: &'a mut [MaybeUninit<T>]) -> Self {
        Self { data: data.as_mut_ptr().cast(), len: data.len(), life: PhantomData }
    }

    /// # Safety
    /// No element of the view may be in another view that is alive.
    pub(crate) unsafe fn view(
        &self,
        start: usize,
        rows: usize,
        cols: usize,
        stride: usize,
    ) -> MatMut<'_, T> {
        assert!(cols <= stride, "rows of a view overlap");
        assert!(start + spans(rows, cols, stride, 1) <= self.len, "matrix view out of bounds");
        // SAFETY: start is within the buffer (checked above).
        let data = unsafe { self.data.add(start) };
        MatMut { data, rows, cols, row: stride, life: PhantomData }
    }
}

/// `dst = dst * add + scale * a b`, where `add` says whether dst is kept or overwritten. On the
/// calling thread: the library's own threads each pack all of one operand, or wait while one
/// packs it, and meet twice for every 512 columns of `a`; two of them were 1.4 times as fast as
/// one, where the pieces below are 1.9 times as fast.
pub(crate) fn gemm<T: Real>(
    dst: &mut MatMut<'_, T>,
    add: bool,
    scale: T,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
) {
    assert!(a.rows == dst.rows && b.cols == dst.cols && a.cols == b.rows, "gemm shapes differ");
    if dst.rows == 0 || dst.cols == 0 {
        return;
    }
    profile::product(a.rows, a.cols, b.cols);
    // SAFETY: every view was checked against its buffer when it was made; shapes agree;
    // dst is borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            dst.rows,
            dst.cols,
            a.cols,
            dst.data,
            1,
            dst.row as isize,
            add,
            a.data.as_ptr(),
            a.col as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.col as isize,
            b.row as isize,
            T::ONE,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        )
    }
}

/// The same without adding, into memory that holds nothing yet and has no gaps.
pub(crate) fn gemm_in<'d, T: Real>(
    dst: &'d mut [MaybeUninit<T>],
    scale: T,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
) -> &'d mut [T] {
    assert!(dst.len() == a.rows * b.cols, "product into another shape");
    let whole = Shared::unwritten(dst);
    // SAFETY: the only view.
    gemm(&mut unsafe { whole.view(0, a.rows, b.cols, b.cols) }, false, scale, a, b);
    // SAFETY: MaybeUninit<T> is laid out as T, and a product that does not add writes every
    // element, zeros where there is nothing to sum.
    unsafe { &mut *(std::ptr::from_mut(dst) as *mut [T]) }
}

/// Rows of a task, of so many: enough that packing the right side for each is paid back.
pub(crate) fn piece(rows: usize) -> usize {
    (rows / 4).next_multiple_of(64).clamp(64, 256)
}

/// Columns of a piece of a gradient of wide weights.
const COLUMNS: usize = 128;

/// Rows that one piece of a gradient of narrow weights sums over, at least, and pieces at most.
const DEPTH: usize = 1024;
const PIECES: usize = 32;

/// `dst = scale * a b` on all threads, where `dst` has as many rows as `a` and no gaps.
pub(crate) fn product<T: Real>(dst: &mut [T], scale: T, a: Mat<'_, T>, b: Mat<'_, T>) {
    assert!(dst.len() == a.rows * b.cols, "product into another shape");
    multiply(&Shared::new(dst), scale, a, b);
}

/// `scale * a b` on all threads, without gaps.
pub(crate) fn product_of<T: Real>(scale: T, a: Mat<'_, T>, b: Mat<'_, T>) -> Vec<T> {
    // SAFETY: the pieces are all of the buffer, and a product that does not add writes every
    // element, zeros where there is nothing to sum.
    unsafe { filled(a.rows * b.cols, |out| multiply(&Shared::unwritten(out), scale, a, b)) }
}

fn multiply<T: Real>(dst: &Shared<'_, T>, scale: T, a: Mat<'_, T>, b: Mat<'_, T>) {
    let (size, mut room) = (piece(a.rows), Vec::new());
    let b = right(b, a.rows, &mut room);
    spread((0..a.rows.div_ceil(size)).into_par_iter(), |(): &mut (), i| {
        let rows = size.min(a.rows - i * size);
        // SAFETY: the task owns these rows.
        let mut dst = unsafe { dst.view(i * size * b.cols, rows, b.cols, b.cols) };
        gemm(&mut dst, false, scale, a.beginning(i * size, rows), b);
    });
}

/// `dst = dst * add + aᵀ b` on all threads, without gaps: the gradient of weights, a few hundred
/// columns on either side and a sum over many rows.
pub(crate) fn transposed_product<T: Real>(dst: &mut [T], add: bool, a: Mat<'_, T>, b: Mat<'_, T>) {
    let (m, n, depth) = (a.cols, b.cols, a.rows);
    assert!(dst.len() == m * n && b.rows == depth, "product into another shape");
    if m.max(n) >= 4 * COLUMNS {
        let whole = Shared::new(dst);
        spread((0..m.max(n).div_ceil(COLUMNS)).into_par_iter(), |(): &mut (), i| {
            let start = i * COLUMNS;
            // SAFETY: the task owns these columns, or these rows.
            let (a, b, mut dst) = if n >= m {
                let count = COLUMNS.min(n - start);
                (a, b.columns(start, count), unsafe { whole.view(start, m, count, n) })
            } else {
                let count = COLUMNS.min(m - start);
                (a.columns(start, count), b, unsafe { whole.view(start * n, count, n, n) })
            };
            gemm(&mut dst, add, T::ONE, a.t(), b);
        });
        return;
    }
    let size = depth.div_ceil(PIECES).max(DEPTH);
    let sum = |start: usize, dst: &mut [T], add: bool| {
        let count = size.min(depth - start);
        let (a, b) = (a.beginning(start, count), b.beginning(start, count));
        gemm(&mut MatMut::rows(dst, m, n, n), add, T::ONE, a.t(), b);
    };
    if depth <= size {
        return sum(0, dst, add);
    }
    let sums = spread((0..depth.div_ceil(size)).into_par_iter(), |(): &mut (), i| {
        let mut sums = vec![T::ZERO; m * n];
        sum(i * size, &mut sums, false);
        sums
    });
    if !add {
        dst.fill(T::ZERO);
    }
    for sums in sums {
        dst.iter_mut().zip(sums).for_each(|(dst, sum)| *dst += sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(len: usize, salt: u64, as_float: fn(u32) -> f32) -> Vec<f32> {
        let lanes = crate::random::Key::new(salt).lanes();
        (0..len as u32).map(|i| as_float(crate::random::bits(lanes, i))).collect()
    }

    /// `a b` [m, n] and 1 + `aᵀ c` [k, n] of a [m, k], b [k, n] and c [m, n]: in pieces.
    fn both(
        (m, k, n): (usize, usize, usize),
        threads: usize,
        as_float: fn(u32) -> f32,
    ) -> (Vec<f32>, Vec<f32>) {
        let fill = |len, salt| fill(len, salt, as_float);
        let (a, b, c) = (fill(m * k, 1), fill(k * n, 2), fill(m * n, 3));
        let a = Mat::rows(&a, m, k, k);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let product = product_of(1.0, a, Mat::rows(&b, k, n, n));
            let mut transposed = vec![1.0; k * n];
            transposed_product(&mut transposed, true, a, Mat::rows(&c, m, n, n));
            (product, transposed)
        })
    }

    /// Sizes on either side of each way of dividing the work.
    const SIZES: [(usize, usize, usize); 6] = [
        (257, 64, 130),
        (33, 1024, 65),
        (2000, 64, 64),
        (64, 300, 513),
        (1100, 515, 40),
        (40_000, 5, 7),
    ];

    /// Of whole numbers up to 8, whose sums of 40,000 products f32 holds exactly in any order.
    #[test]
    fn products_in_pieces_are_products() {
        let whole = |bits: u32| (bits % 17) as f32 - 8.0;
        for (m, k, n) in SIZES {
            let fill = |len, salt| fill(len, salt, whole);
            let (a, b, c) = (fill(m * k, 1), fill(k * n, 2), fill(m * n, 3));
            let (product, transposed) = both((m, k, n), 2, whole);
            for i in 0..m {
                for j in (0..n).step_by(n / 30 + 1) {
                    let exact: f32 = (0..k).map(|t| a[i * k + t] * b[t * n + j]).sum();
                    assert_eq!(product[i * n + j], exact, "{m}x{k}x{n} at {i}, {j}");
                }
            }
            for i in 0..k {
                for j in (0..n).step_by(n / 30 + 1) {
                    let exact: f32 = (0..m).map(|t| a[t * k + i] * c[t * n + j]).sum();
                    assert_eq!(transposed[i * n + j], 1.0 + exact, "{m}x{k}x{n} at {i}, {j}");
                }
            }
        }
    }

    /// On either side of the rows from which the right side is laid out anew, and of its blocks.
    #[test]
    fn products_with_a_turned_matrix_are_products() {
        let whole = |bits: u32| (bits % 17) as f32 - 8.0;
        for (m, k, n) in [(192, 40, 33), (193, 64, 130), (600, 129, 15), (256, 1, 1)] {
            let (a, w) = (fill(m * k, 1, whole), fill(n * k, 2, whole));
            let product = product_of(1.0, Mat::rows(&a, m, k, k), Mat::rows(&w, n, k, k).t());
            for i in 0..m {
                for j in 0..n {
                    let exact: f32 = (0..k).map(|t| a[i * k + t] * w[j * k + t]).sum();
                    assert_eq!(product[i * n + j], exact, "{m}x{k}x{n} at {i}, {j}");
                }
            }
        }
    }

    /// The promise the whole crate leans on: a product has the same bytes for any
    /// number of threads.
    #[test]
    fn products_do_not_depend_on_threads() {
        let fraction = |bits: u32| bits as f32 / 4e9 - 0.5;
        for size in SIZES {
            let one = both(size, 1, fraction);
            for threads in [2, 3, 4, 7] {
                assert!(one == both(size, threads, fraction), "{size:?}: {threads} threads differ");
            }
        }
    }

    #[test]
    #[should_panic(expected = "out of bounds")]
    fn a_view_past_its_buffer_is_refused() {
        Mat::rows(&[0f32; 11], 3, 4, 4);
    }
}
