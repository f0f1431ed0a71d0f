//! Which keys each query sees, in blocks.

use super::order::Order;
use candle_core::Result;
use std::ops::Range;
use std::sync::Arc;

/// The places `start, start + step, ...`, `len` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub len: usize,
    pub step: usize,
}

impl Span {
    pub fn new(start: usize, len: usize, step: usize) -> Self {
        Self { start, len, step: step.max(1) }
    }

    pub fn iter(self) -> impl Iterator<Item = usize> + Clone {
        (0..self.len).map(move |i| self.at(i))
    }

    pub fn at(self, i: usize) -> usize {
        self.start + i * self.step
    }

    /// Those of its places that come before `end`.
    pub fn before(self, end: usize) -> Self {
        let len = end.saturating_sub(self.start).div_ceil(self.step).min(self.len);
        Self { len, ..self }
    }

    /// `len` of its places, from the `first` on.
    pub(super) fn part(self, first: usize, len: usize) -> Self {
        Self { start: self.at(first), len, ..self }
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, len: range.len(), step: 1 }
    }
}

/// Which pairs of a query at place i and a key at place j count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    All,
    /// `first <= j - i <= last`.
    Within(isize, isize),
    /// All but those.
    Beyond(isize, isize),
    /// A query sees its own key only where it sees no other: [`LAST_RESORT`] is taken from
    /// that score (Kitaev et al. 2020, section 2).
    OthersFirst,
}

/// Taken from the scores of keys that are seen where nothing else is.
pub const LAST_RESORT: f64 = 1e5;

impl Rule {
    pub(super) fn allows(self, i: usize, j: usize) -> bool {
        let distance = j as isize - i as isize;
        match self {
            Self::All | Self::OthersFirst => true,
            Self::Within(first, last) => (first..=last).contains(&distance),
            Self::Beyond(first, last) => !(first..=last).contains(&distance),
        }
    }
}

/// A block of queries and the keys it sees, which are disjoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub queries: Span,
    pub keys: Vec<(Span, Rule)>,
}

/// Entries whose queries are disjoint.
pub type Part = Vec<Entry>;

/// What the lists of a pattern differ by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Per {
    Nothing,
    Head,
    Example,
    /// Each of so many heads of each example.
    Both(usize),
}

/// For each query the keys it sees, n queries and m keys: a list of parts for all heads and
/// examples, or one for each. A query that is in several parts sees what it sees in any of
/// them, a key twice where two parts show it.
#[derive(Debug, Clone)]
pub struct Blocks {
    n: usize,
    m: usize,
    lists: Vec<Vec<Part>>,
    per: Per,
    order: Option<Arc<Order>>,
}

impl Blocks {
    /// The same list for every head and example.
    pub fn new(n: usize, m: usize, parts: Vec<Part>) -> Self {
        Self { n, m, lists: vec![parts], per: Per::Nothing, order: None }
    }

    /// A list for each head.
    pub fn per_head(n: usize, m: usize, lists: Vec<Vec<Part>>) -> Self {
        Self { n, m, lists, per: Per::Head, order: None }
    }

    /// A list for each of so many heads of each example.
    pub fn each(n: usize, m: usize, heads: usize, lists: Vec<Vec<Part>>) -> Self {
        Self { n, m, lists, per: Per::Both(heads), order: None }
    }

    /// A list for each example, a part for each of the order's rounds. Places are those of
    /// the order, in which each round sorts the positions of each head anew; padding is in
    /// no list.
    pub fn sorted(order: Order, lists: Vec<Vec<Part>>) -> Self {
        let n = order.n();
        Self { n, m: n, lists, per: Per::Example, order: Some(Arc::new(order)) }
    }

    /// Every one of n queries sees every one of m keys.
    pub fn rectangle(n: usize, m: usize) -> Self {
        let all = Entry { queries: (0..n).into(), keys: vec![((0..m).into(), Rule::All)] };
        Self::new(n, m, vec![vec![all]])
    }

    /// Every query sees every key.
    pub fn full(n: usize) -> Self {
        Self::rectangle(n, n)
    }

    /// Contiguous blocks of `size` positions that see themselves only.
    pub fn local(n: usize, size: usize) -> Self {
        let entry = |block: Range<usize>| Entry {
            queries: block.clone().into(),
            keys: vec![(block.into(), Rule::All)],
        };
        Self::new(n, n, vec![blocks(n, size).map(entry).collect()])
    }

    /// The lists, and whether there is one for each head, and for each example.
    #[cfg(feature = "cuda")]
    pub(in crate::ops) fn lists(&self) -> &[Vec<Part>] {
        &self.lists
    }

    /// The same with an order that can be read here.
    pub(super) fn on_host(&self) -> Result<Self> {
        let order = self.order.as_ref().map(|order| order.on_host().map(Arc::new)).transpose()?;
        Ok(Self { order, lists: self.lists.clone(), ..*self })
    }

    /// Whether every query sees every key, once.
    #[cfg(feature = "cuda")]
    pub(in crate::ops) fn is_rectangle(&self) -> bool {
        let all = Self::rectangle(self.n, self.m);
        self.order.is_none() && self.per == Per::Nothing && self.lists == all.lists
    }

    /// The most queries of an entry.
    #[cfg(feature = "cuda")]
    pub(in crate::ops) fn longest(&self) -> usize {
        let entries = self.lists.iter().flatten().flatten();
        entries.map(|entry| entry.queries.len).max().unwrap_or(0)
    }

    pub(in crate::ops) fn varies(&self) -> (bool, bool) {
        let each = matches!(self.per, Per::Both(_));
        (each || self.per == Per::Head, each || self.per == Per::Example)
    }

    /// Queries.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Keys.
    pub fn m(&self) -> usize {
        self.m
    }

    pub(in crate::ops) fn order(&self) -> Option<&Order> {
        self.order.as_deref()
    }

    /// The number of lists must be that of what they differ by.
    pub(super) fn fits(&self, batch: usize, heads: usize) -> bool {
        let order = self.order.as_ref().is_none_or(|order| order.fits(batch, heads));
        order
            && self.lists.len()
                == match self.per {
                    Per::Nothing => 1,
                    Per::Head => heads,
                    Per::Example => batch,
                    Per::Both(of) if of == heads => batch * heads,
                    Per::Both(_) => return false,
                }
    }

    pub(super) fn parts(&self, (example, head): (usize, usize)) -> &[Part] {
        match self.per {
            Per::Nothing => &self.lists[0],
            Per::Head => &self.lists[head],
            Per::Example => &self.lists[example],
            Per::Both(heads) => &self.lists[example * heads + head],
        }
    }

    /// The same with an entry more in the first part of every list.
    pub fn with_entry(mut self, entry: Option<Entry>) -> Self {
        if let Some(entry) = entry {
            for part in self.lists.iter_mut().filter_map(|list| list.first_mut()) {
                part.push(entry.clone());
            }
        }
        self
    }

    /// Whether query i sees key j in any list, n x n; keys beyond n are copies.
    pub fn union(&self) -> Vec<bool> {
        let mut seen = vec![false; self.n * self.n];
        for list in &self.lists {
            visit(list, |_| None, |i, j, _| seen[i * self.n + j % self.n] = true);
        }
        seen
    }

    /// The largest number of parts of a list.
    pub(in crate::ops) fn rounds(&self) -> usize {
        self.lists.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Query-key pairs that are computed for one head of an example, on the average.
    pub fn pairs(&self) -> f64 {
        let keys = |entry: &Entry| entry.keys.iter().map(|(span, _)| span.len).sum::<usize>();
        let entries = self.lists.iter().flatten().flatten();
        let all: usize = entries.map(|entry| entry.queries.len * keys(entry)).sum();
        all as f64 / self.lists.len().max(1) as f64
    }

    /// The most keys that a query sees in all lists together; keys beyond n are copies. Takes
    /// time like the pairs, and memory like the entries.
    pub fn widest(&self) -> usize {
        // For each query its entries, and for each key the last query that saw it.
        let mut entries: Vec<Vec<&Entry>> = vec![Vec::new(); self.n];
        for entry in self.lists.iter().flatten().flatten() {
            entry.queries.iter().for_each(|i| entries[i].push(entry));
        }
        let mut last = vec![usize::MAX; self.n];
        let count = |(i, entries): (usize, Vec<&Entry>)| {
            let mut seen = 0;
            for &(span, rule) in entries.into_iter().flat_map(|entry| &entry.keys) {
                for j in span.iter().filter(|&j| rule.allows(i, j)) {
                    seen += usize::from(std::mem::replace(&mut last[j % self.n], i) != i);
                }
            }
            seen
        };
        entries.into_iter().enumerate().map(count).max().unwrap_or(0)
    }

    /// Whether a query sees nothing in some list, [n].
    pub fn blind(&self) -> Vec<bool> {
        let mut blind = vec![false; self.n];
        for list in &self.lists {
            let mut seen = vec![false; self.n];
            visit(list, |_| None, |i, _, _| seen[i] = true);
            blind.iter_mut().zip(seen).for_each(|(blind, seen)| *blind |= !seen);
        }
        blind
    }

    /// How often query i of an example and head sees key j, n x m, row-major.
    pub fn dense(&self, example: usize, head: usize) -> Vec<f32> {
        let mut seen = vec![0.0; self.n * self.m];
        self.visit(example, head, |i, j, _| seen[i * self.m + j] += 1.0);
        seen
    }

    /// Every pair that is seen: query, key, and whether only where nothing else is.
    pub(super) fn visit(&self, example: usize, head: usize, see: impl FnMut(usize, usize, bool)) {
        let order = |round| self.order.as_ref().map(|order| order.row(round, example, head));
        visit(self.parts((example, head)), order, see);
    }
}

/// Every pair that a list shows, of positions that each round may have in another order.
fn visit<'a>(
    list: &[Part],
    order: impl Fn(usize) -> Option<&'a [u32]>,
    mut see: impl FnMut(usize, usize, bool),
) {
    for (round, part) in list.iter().enumerate() {
        let order = order(round);
        let position = |place: usize| order.map_or(place, |order| order[place] as usize);
        for Entry { queries, keys } in part {
            for i in queries.iter() {
                for &(span, rule) in keys {
                    for j in span.iter().filter(|&j| rule.allows(i, j)) {
                        see(position(i), position(j), rule == Rule::OthersFirst && i == j);
                    }
                }
            }
        }
    }
}

/// Contiguous blocks of `size` positions that cover `0..n`, the last one shorter where it
/// must be.
pub fn blocks(n: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    let size = size.max(1);
    (0..n).step_by(size).map(move |first| first..(first + size).min(n))
}
