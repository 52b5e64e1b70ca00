//! One bit a step.

/// A set of steps. Bits at or past `len` are always zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
    len: usize,
}

impl Bitmap {
    /// The empty set over `len` steps.
    pub(crate) fn new(len: usize) -> Self {
        Bitmap { words: vec![0; len.div_ceil(64)], len }
    }

    /// Becomes the empty set over `len` steps, keeping its memory.
    pub(crate) fn reset(&mut self, len: usize) {
        self.words.clear();
        self.words.resize(len.div_ceil(64), 0);
        self.len = len;
    }

    /// Becomes the set of all steps.
    pub(crate) fn fill(&mut self) {
        self.words.fill(u64::MAX);
        let tail = self.len % 64;
        if let (Some(last), true) = (self.words.last_mut(), tail != 0) {
            *last = (1 << tail) - 1;
        }
    }

    /// The number of steps that there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a step.
    pub(crate) fn set(&mut self, step: usize) {
        self.words[step / 64] |= 1 << (step % 64);
    }

    /// Removes a step.
    pub(crate) fn unset(&mut self, step: usize) {
        self.words[step / 64] &= !(1 << (step % 64));
    }

    /// Whether a step is in the set.
    pub(crate) fn get(&self, step: usize) -> bool {
        self.words[step / 64] >> (step % 64) & 1 == 1
    }

    /// The number of steps in the set.
    pub(crate) fn count(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether no step is in the set.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }

    /// Whether every step is in the set.
    pub(crate) fn is_full(&self) -> bool {
        self.count() == self.len
    }

    /// Keeps what is in `other` too.
    pub(crate) fn intersect(&mut self, other: &Bitmap) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
    }

    /// Adds all of `other`.
    pub(crate) fn unite(&mut self, other: &Bitmap) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
    }

    /// Removes all of `other`.
    pub(crate) fn subtract(&mut self, other: &Bitmap) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= !b);
    }

    /// Whether the sets share a step.
    pub(crate) fn intersects(&self, other: &Bitmap) -> bool {
        self.words.iter().zip(&other.words).any(|(a, b)| a & b != 0)
    }

    /// The steps of the set, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(i, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    i * 64 + bit
                })
            })
        })
    }

    /// The bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.words.capacity() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_steps() {
        let mut a = Bitmap::new(130);
        assert!(a.is_empty() && !a.is_full());
        [0, 63, 64, 129].into_iter().for_each(|s| a.set(s));
        assert_eq!(a.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        let mut all = Bitmap::new(130);
        all.fill();
        assert!(all.is_full() && all.count() == 130);
        all.subtract(&a);
        assert!(all.count() == 126 && !all.intersects(&a));
        all.unite(&a);
        assert!(all.is_full());
        all.intersect(&a);
        assert_eq!(all, a);
        a.unset(63);
        assert!(!a.get(63) && a.get(64) && a.len() == 130);
    }
}
