//! Sets of steps, one bit for each step of a grid.

/// A set of steps. The bits from `len` on are always zero.
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

    /// The memory of the steps of a set over `len` steps, bytes.
    pub(crate) fn bytes_over(len: usize) -> usize {
        len.div_ceil(64) * 8
    }

    /// Replaces the steps of the set. The words have a bit for each step; bits past the end of the set are dropped, and missing
    /// words are empty.
    pub(crate) fn copy_words(&mut self, words: &[u64]) {
        self.fill();
        let copied = words.iter().chain(std::iter::repeat(&0));
        self.words.iter_mut().zip(copied).for_each(|(word, copied)| *word &= copied);
    }

    /// The bits, 64 in a word.
    pub(crate) fn into_words(self) -> Vec<u64> {
        self.words
    }

    /// Empties the set for `len` steps and keeps its memory.
    pub(crate) fn reset(&mut self, len: usize) {
        self.words.clear();
        self.words.resize(len.div_ceil(64), 0);
        self.len = len;
    }

    /// Adds every step.
    pub(crate) fn fill(&mut self) {
        self.words.fill(u64::MAX);
        let tail = self.len % 64;
        if let (Some(last), true) = (self.words.last_mut(), tail != 0) {
            *last = (1 << tail) - 1;
        }
    }

    /// The number of steps of the grid.
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

    /// Removes the steps that are not in `other`.
    pub(crate) fn intersect(&mut self, other: &Bitmap) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
    }

    /// Adds the steps of `other`.
    pub(crate) fn unite(&mut self, other: &Bitmap) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
    }

    /// Removes the steps of `other`.
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

    /// The memory that the set holds, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.words.capacity() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than two words, so that the last one is partial.
    const LEN: usize = 130;

    fn steps(steps: &[usize]) -> Bitmap {
        let mut set = Bitmap::new(LEN);
        steps.iter().for_each(|step| set.set(*step));
        set
    }

    #[test]
    fn a_new_set_is_empty() {
        let set = Bitmap::new(LEN);
        assert!(set.is_empty());
        assert!(!set.is_full());
        assert_eq!(set.len(), LEN);
    }

    #[test]
    fn steps_are_iterated_in_order_across_words() {
        assert_eq!(steps(&[129, 64, 0, 63]).iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
    }

    #[test]
    fn a_full_set_has_no_bits_past_its_end() {
        let mut all = Bitmap::new(LEN);
        all.fill();
        assert!(all.is_full());
        assert_eq!(all.count(), LEN);
        assert_eq!(all.iter().last(), Some(LEN - 1));
    }

    #[test]
    fn sets_are_united_intersected_and_subtracted() {
        let some = steps(&[0, 63, 64, 129]);
        let mut all = Bitmap::new(LEN);
        all.fill();
        all.subtract(&some);
        assert_eq!(all.count(), LEN - 4);
        assert!(!all.intersects(&some));
        all.unite(&some);
        assert!(all.is_full());
        all.intersect(&some);
        assert_eq!(all, some);
    }

    #[test]
    fn removing_a_step_leaves_its_neighbours() {
        let mut set = steps(&[62, 63, 64]);
        set.unset(63);
        assert!(set.get(62));
        assert!(!set.get(63));
        assert!(set.get(64));
    }

    #[test]
    fn copied_words_replace_all_steps_and_end_with_the_set() {
        let mut set = steps(&[1, 70, 129]);
        set.copy_words(&[1 << 5]);
        assert_eq!(set, steps(&[5]));
        set.copy_words(&[u64::MAX; 4]);
        assert!(set.is_full());
        assert_eq!(set.count(), LEN);
    }

    #[test]
    fn resetting_forgets_all_steps() {
        let mut set = steps(&[1, 2, 129]);
        set.reset(3);
        assert!(set.is_empty());
        assert_eq!(set.len(), 3);
    }
}
