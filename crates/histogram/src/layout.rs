//! One side of a histogram as an ascending sequence of indices and cells.
//!
//! A cell is a count, or a count with its compensation ([`crate::compensated`]). Reading ends with the spans or with the
//! cells, whichever end first, so that long spans cost nothing.

use crate::histogram::Span;

/// The contents of a bucket.
pub(crate) trait Cell: Copy {
    /// A cell that holds a count.
    fn of(count: f64) -> Self;
    /// Adds another cell.
    fn absorb(&mut self, other: Self);
    /// Whether the cell is empty.
    fn is_zero(self) -> bool;
}

impl Cell for f64 {
    fn of(count: f64) -> Self {
        count
    }

    fn absorb(&mut self, other: Self) {
        *self += other;
    }

    fn is_zero(self) -> bool {
        self == 0.0
    }
}

/// One side: the indices of its buckets and a cell for each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side<C> {
    pub(crate) spans: Vec<Span>,
    pub(crate) cells: Vec<C>,
}

/// An iterator over the first `limit` bucket indices that spans name.
#[derive(Clone)]
pub(crate) struct Indices<'a> {
    spans: std::slice::Iter<'a, Span>,
    next: i64,
    left_in_span: u32,
    limit: usize,
}

/// The first `limit` bucket indices that spans name, ascending.
pub(crate) fn indices(spans: &[Span], limit: usize) -> Indices<'_> {
    Indices { spans: spans.iter(), next: 0, left_in_span: 0, limit }
}

impl Iterator for Indices<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        if self.limit == 0 {
            return None;
        }
        while self.left_in_span == 0 {
            let span = self.spans.next()?;
            self.next += i64::from(span.offset);
            self.left_in_span = span.length;
        }
        let index = self.next;
        self.next += 1;
        self.left_in_span -= 1;
        self.limit -= 1;
        Some(index)
    }
}

/// The cells of a side with their indices, ascending.
pub(crate) fn indexed<'a, C: Copy>(spans: &'a [Span], cells: &'a [C]) -> impl Iterator<Item = (i64, C)> + Clone + 'a {
    indices(spans, cells.len()).zip(cells.iter().copied())
}

/// The bucket of schema `target` that contains the bucket `index` of the finer schema `origin`.
pub(crate) fn target_index(index: i64, origin: i32, target: i32) -> i64 {
    let shift = i64::from(origin).saturating_sub(i64::from(target)).clamp(0, 63);
    ((index - 1) >> shift) + 1
}

impl<C: Cell> Side<C> {
    /// An empty side with room for `buckets`.
    pub(crate) fn with_capacity(buckets: usize) -> Self {
        Side { spans: Vec::new(), cells: Vec::with_capacity(buckets) }
    }

    /// Appends a bucket. `last` is the index of the previous one. A bucket whose index does not ascend is added to the
    /// previous one; hostile spans have such indices, and a reduced resolution relies on it.
    pub(crate) fn push(&mut self, last: &mut Option<i64>, index: i64, cell: C) {
        match (*last, self.spans.last_mut(), self.cells.last_mut()) {
            (Some(before), Some(_), Some(cell_before)) if index <= before => return cell_before.absorb(cell),
            (Some(before), Some(span), _) if index == before + 1 => span.length += 1,
            (Some(before), Some(_), _) => self.spans.push(Span { offset: offset(index - before - 1), length: 1 }),
            _ => self.spans.push(Span { offset: offset(index), length: 1 }),
        }
        self.cells.push(cell);
        *last = Some(index);
    }

    /// A side from ascending buckets.
    pub(crate) fn collect(buckets: impl Iterator<Item = (i64, C)>) -> Self {
        let mut side = Side::with_capacity(buckets.size_hint().0);
        let mut last = None;
        for (index, cell) in buckets {
            side.push(&mut last, index, cell);
        }
        side
    }

    /// The buckets, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, C)> + Clone + '_ {
        indexed(&self.spans, &self.cells)
    }

    /// Adds the buckets of `other`, which ascend.
    pub(crate) fn merge(&mut self, other: impl Iterator<Item = (i64, C)>) {
        let mut other = other.peekable();
        if other.peek().is_none() {
            return;
        }
        let mut merged = Side::with_capacity(self.cells.len() + 8);
        let mut last = None;
        for (index, mut cell) in self.iter() {
            while let Some((before, added)) = other.next_if(|(at, _)| *at < index) {
                merged.push(&mut last, before, added);
            }
            while let Some((_, added)) = other.next_if(|(at, _)| *at == index) {
                cell.absorb(added);
            }
            merged.push(&mut last, index, cell);
        }
        for (index, added) in other {
            merged.push(&mut last, index, added);
        }
        *self = merged;
    }

    /// The side at a coarser schema.
    pub(crate) fn reduced(buckets: impl Iterator<Item = (i64, C)>, origin: i32, target: i32) -> Self {
        // Buckets that fall together do not ascend any more, so that `push` adds them up.
        Side::collect(buckets.map(|(index, cell)| (target_index(index, origin, target), cell)))
    }

    /// Drops empty buckets, except for runs of at most `max_empty` between populated ones. Gaps of at most `max_empty` are
    /// filled.
    pub(crate) fn compact(&mut self, max_empty: u32) {
        let clean = !self.cells.iter().any(|c| c.is_zero())
            && self.spans.iter().all(|s| s.length > 0)
            && self.spans.iter().skip(1).all(|s| i64::from(s.offset) > i64::from(max_empty));
        if clean {
            return;
        }
        let mut compacted: Side<C> = Side::with_capacity(self.cells.len());
        let mut last: Option<i64> = None;
        for (index, cell) in self.iter().filter(|(_, cell)| !cell.is_zero()) {
            if let Some(before) = last.filter(|before| index - before - 1 <= i64::from(max_empty)) {
                for gap in before + 1..index {
                    compacted.push(&mut last, gap, C::of(0.0));
                }
            }
            compacted.push(&mut last, index, cell);
        }
        *self = compacted;
    }
}

/// A distance between indices as the offset of a span.
fn offset(distance: i64) -> i32 {
    distance.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}
