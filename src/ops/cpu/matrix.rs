//! Strided views over slices and their product, checked before the pointers are used.

use super::{Real, filled};
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

    /// `rows` rows from this one on.
    fn beginning(self, first: usize, rows: usize) -> Self {
        assert!(first + rows <= self.rows, "rows out of bounds");
        let start = (first * self.row).min(self.data.len());
        Self { data: &self.data[start..], rows, ..self }
    }

    pub(crate) fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row: self.col, col: self.row, ..self }
    }
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

/// `dst = dst * add + scale * a b`, where `add` says whether dst is kept or overwritten.
pub(crate) fn gemm<T: Real>(
    dst: &mut MatMut<'_, T>,
    add: bool,
    scale: T,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    parallel: bool,
) {
    assert!(a.rows == dst.rows && b.cols == dst.cols && a.cols == b.rows, "gemm shapes differ");
    if dst.rows == 0 || dst.cols == 0 {
        return;
    }
    profile::product(a.rows, a.cols, b.cols);
    let parallelism =
        if parallel { Parallelism::Rayon(rayon::current_num_threads()) } else { Parallelism::None };
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
            parallelism,
        )
    }
}

/// Rows of one task of a narrow product.
const ROWS: usize = 256;

/// `dst = scale * a b` on all threads, where `dst` has as many rows as `a` and no gaps.
///
/// Weights are packed for each task, so wide ones are left to the product's own threads, which
/// share them; narrow ones are faster by rows, one thread each.
pub(crate) fn product<T: Real>(dst: &mut [T], scale: T, a: Mat<'_, T>, b: Mat<'_, T>) {
    assert!(dst.len() == a.rows * b.cols, "product into another shape");
    multiply(&Shared::new(dst), scale, a, b);
}

/// The same into memory that holds nothing yet.
pub(crate) fn product_in<'d, T: Real>(
    dst: &'d mut [MaybeUninit<T>],
    scale: T,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
) -> &'d mut [T] {
    assert!(dst.len() == a.rows * b.cols, "product into another shape");
    if a.cols == 0 {
        dst.fill(MaybeUninit::new(T::ZERO));
    } else {
        multiply(&Shared::unwritten(dst), scale, a, b);
    }
    // SAFETY: MaybeUninit<T> is laid out as T, and a product that does not add writes every
    // element.
    unsafe { &mut *(std::ptr::from_mut(dst) as *mut [T]) }
}

/// `scale * a b`, without gaps.
pub(crate) fn product_of<T: Real>(scale: T, a: Mat<'_, T>, b: Mat<'_, T>) -> Vec<T> {
    // SAFETY: the product is all of the buffer.
    unsafe {
        filled(a.rows * b.cols, |out| {
            product_in(out, scale, a, b);
        })
    }
}

fn multiply<T: Real>(dst: &Shared<'_, T>, scale: T, a: Mat<'_, T>, b: Mat<'_, T>) {
    if a.rows <= ROWS || a.cols * b.cols > 128 * 128 {
        // SAFETY: the only view.
        let mut dst = unsafe { dst.view(0, a.rows, b.cols, b.cols) };
        return gemm(&mut dst, false, scale, a, b, true);
    }
    (0..a.rows.div_ceil(ROWS)).into_par_iter().for_each(|i| {
        let rows = ROWS.min(a.rows - i * ROWS);
        // SAFETY: the task owns these rows.
        let mut dst = unsafe { dst.view(i * ROWS * b.cols, rows, b.cols, b.cols) };
        gemm(&mut dst, false, scale, a.beginning(i * ROWS, rows), b, false);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The promise the whole crate leans on: a product has the same bytes for any
    /// number of threads.
    #[test]
    fn products_do_not_depend_on_threads() {
        for (m, k, n) in [(257, 64, 130), (33, 1024, 65), (2000, 64, 64), (64, 3000, 64)] {
            let fill = |len: usize, salt: u32| -> Vec<f32> {
                let lanes = crate::random::Key::new(salt as u64).lanes();
                (0..len as u32).map(|i| crate::random::bits(lanes, i) as f32 / 4e9 - 0.5).collect()
            };
            let (a, b) = (fill(m * k, 1), fill(k * n, 2));
            let run = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut c = vec![0f32; m * n];
                pool.install(|| {
                    let mut dst = MatMut::rows(&mut c, m, n, n);
                    let (a, b) = (Mat::rows(&a, m, k, k), Mat::rows(&b, k, n, n));
                    gemm(&mut dst, false, 1.0, a, b, true);
                });
                c.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
            };
            let one = run(1);
            for threads in [2, 3, 4, 7] {
                assert!(one == run(threads), "{m}x{k}x{n}: {threads} threads differ");
            }
        }
    }

    #[test]
    #[should_panic(expected = "out of bounds")]
    fn a_view_past_its_buffer_is_refused() {
        Mat::rows(&[0f32; 11], 3, 4, 4);
    }
}
