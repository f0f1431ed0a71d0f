//! Where the rows of operands and gradients lie in their buffers.

use super::pattern::Span;
use crate::ops::cpu::{Mat, Real, Shared, gemm};

/// One example and head.
pub(super) type Head = (usize, usize);

/// Sizes of one call: examples, queries, heads, and the width of a head of v.
#[derive(Clone, Copy)]
pub(super) struct Dims {
    pub b: usize,
    pub n: usize,
    pub h: usize,
    pub dv: usize,
}

impl Dims {
    /// Offset of row `i` in a [b, h, n] buffer.
    pub(super) fn row(&self, (b, h): Head, i: usize) -> usize {
        (b * self.h + h) * self.n + i
    }
}

/// A [examples, positions, heads * width] buffer or columns of one, or a [examples, heads,
/// positions, width] buffer.
#[derive(Clone, Copy)]
pub(super) struct Field {
    start: usize,
    example: usize,
    pub row: usize,
    head: usize,
    pub width: usize,
}

impl Field {
    /// Heads of `width` in rows of `row` elements, from element `start` of each row on. With
    /// `examples` of 1 all examples have the same rows.
    pub(super) fn new(start: usize, width: usize, row: usize, n: usize, examples: usize) -> Self {
        let example = if examples == 1 { 0 } else { n * row };
        Self { start, example, row, head: width, width }
    }

    /// Heads of `n` rows each, one head after the other.
    pub(super) fn planes((heads, n, width): (usize, usize, usize), examples: usize) -> Self {
        let example = if examples == 1 { 0 } else { heads * n * width };
        Self { start: 0, example, row: width, head: n * width, width }
    }

    /// Whether all examples have the same rows.
    pub(super) fn is_shared(&self) -> bool {
        self.example == 0
    }

    /// The same with a buffer of `len` elements for each example.
    pub(super) fn apart(self, len: usize) -> Self {
        Self { example: len, ..self }
    }

    pub(super) fn at(&self, (b, h): Head, i: usize) -> usize {
        self.start + b * self.example + i * self.row + h * self.head
    }
}

/// Places of a span, or the positions an order has there.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub span: Span,
    pub order: Option<&'a [u32]>,
}

impl Places<'_> {
    pub(super) fn len(&self) -> usize {
        self.span.len
    }

    /// The positions, where they follow one another.
    pub(super) fn side_by_side(&self) -> Option<std::ops::Range<usize>> {
        let Span { start, len, step } = self.span;
        (self.order.is_none() && step == 1).then(|| start..start + len)
    }

    /// The position at the i-th place.
    pub(super) fn position(&self, i: usize) -> usize {
        let place = self.span.at(i);
        self.order.map_or(place, |order| order[place] as usize)
    }
}

/// An operand: a buffer and where its rows lie.
#[derive(Clone, Copy)]
pub(super) struct Operand<'a, T> {
    pub data: &'a [T],
    pub field: Field,
}

impl<'a, T: Real> Operand<'a, T> {
    pub(super) fn row(&self, head: Head, i: usize) -> &'a [T] {
        &self.data[self.field.at(head, i)..][..self.field.width]
    }

    /// The rows at these places, where they lie.
    pub(super) fn in_place(&self, head: Head, span: Span) -> Mat<'a, T> {
        let start = self.field.at(head, span.start);
        Mat::rows(&self.data[start..], span.len, self.field.width, self.field.row * span.step)
    }

    /// Appends the rows at these places.
    pub(super) fn collect(&self, head: Head, places: Places, to: &mut Vec<T>) {
        for i in 0..places.len() {
            to.extend_from_slice(self.row(head, places.position(i)));
        }
    }

    /// The rows at these places: where they lie, or collected in `scratch` if they are in
    /// another order.
    pub(super) fn rows<'s>(&self, head: Head, places: Places, scratch: &'s mut Vec<T>) -> Mat<'s, T>
    where
        'a: 's,
    {
        if places.order.is_none() {
            return self.in_place(head, places.span);
        }
        scratch.clear();
        self.collect(head, places, scratch);
        Mat::rows(scratch, places.len(), self.field.width, self.field.width)
    }
}

/// A gradient: a buffer that several tasks write to, and where its rows lie.
#[derive(Clone, Copy)]
pub(super) struct Slope<'s, T> {
    pub data: &'s Shared<'s, T>,
    pub field: Field,
}

impl<T: Real> Slope<'_, T> {
    /// Adds `scale * a b` to the rows at these places.
    ///
    /// # Safety
    /// No other task may touch these rows of this head.
    pub(super) unsafe fn add(
        &self,
        head: Head,
        places: Places,
        scale: T,
        (a, b): (Mat<'_, T>, Mat<'_, T>),
        scratch: &mut Vec<T>,
    ) {
        let (count, width) = (places.len(), self.field.width);
        if places.order.is_none() {
            let (start, row) =
                (self.field.at(head, places.span.start), self.field.row * places.span.step);
            // SAFETY: passed on to the caller.
            let mut rows = unsafe { self.data.view(start, count, width, row) };
            return gemm(&mut rows, true, scale, a, b);
        }
        scratch.resize(count * width, T::ZERO);
        let mut product = crate::ops::cpu::MatMut::rows(scratch, count, width, width);
        gemm(&mut product, false, scale, a, b);
        // SAFETY: passed on to the caller.
        unsafe { self.scatter(head, places, &scratch[..count * width]) };
    }

    /// Adds rows to those at these places.
    ///
    /// # Safety
    /// No other task may touch these rows of this head.
    pub(super) unsafe fn scatter(&self, head: Head, places: Places, add: &[T]) {
        for (i, add) in add.chunks_exact(self.field.width.max(1)).enumerate() {
            // SAFETY: passed on to the caller.
            let mut row = unsafe { self.row(head, places.position(i)) };
            row.row_mut(0).iter_mut().zip(add).for_each(|(to, &x)| *to += x);
        }
    }

    /// # Safety
    /// No other view of this row may be alive.
    pub(super) unsafe fn row(&self, head: Head, i: usize) -> crate::ops::cpu::MatMut<'_, T> {
        let width = self.field.width;
        // SAFETY: passed on to the caller.
        unsafe { self.data.view(self.field.at(head, i), 1, width, width) }
    }
}
