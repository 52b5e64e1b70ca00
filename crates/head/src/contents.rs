//! What the segments of the log have of a tenant, which decides how long they are kept: a segment is needed while memory has
//! samples that may be from it.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::series::WindowGeneration;

/// The windows that each segment mentions, by their start, with the generations of which it has samples.
#[derive(Debug, Default)]
pub(crate) struct SegmentContents {
    segments: BTreeMap<u32, BTreeMap<i64, SmallVec<[u32; 2]>>>,
}

impl SegmentContents {
    /// Notes that a segment mentions a window.
    pub(crate) fn note_window(&mut self, segment: u32, window: i64) {
        self.segments.entry(segment).or_default().entry(window).or_default();
    }

    /// Notes that a segment has samples of a generation of a window.
    pub(crate) fn note_samples(&mut self, segment: u32, at: WindowGeneration) {
        let generations = self.segments.entry(segment).or_default().entry(at.start).or_default();
        if !generations.contains(&at.generation) {
            generations.push(at.generation);
        }
    }

    /// Whether any segment mentions a window.
    pub(crate) fn mention(&self, window: i64) -> bool {
        self.segments.values().any(|windows| windows.contains_key(&window))
    }

    /// Forgets the segments before the first one that is left.
    pub(crate) fn forget_before(&mut self, first: u32) {
        self.segments = self.segments.split_off(&first);
    }

    /// Of which generations the segments before `end` have samples, ascending by segment.
    pub(crate) fn samples_before(&self, end: u32) -> impl Iterator<Item = (u32, WindowGeneration)> {
        self.segments.range(..end).flat_map(|(segment, windows)| {
            windows.iter().flat_map(move |(start, generations)| {
                generations
                    .iter()
                    .map(move |generation| (*segment, WindowGeneration { start: *start, generation: *generation }))
            })
        })
    }

    /// Notes that memory has no sample any more that only a segment up to `last` has.
    pub(crate) fn clear_samples(&mut self, last: u32) {
        self.segments.range_mut(..=last).flat_map(|(_, windows)| windows.values_mut()).for_each(SmallVec::clear);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: i64, generation: u32) -> WindowGeneration {
        WindowGeneration { start, generation }
    }

    fn contents() -> SegmentContents {
        let mut contents = SegmentContents::default();
        contents.note_samples(1, at(0, 7));
        contents.note_samples(1, at(0, 7));
        contents.note_samples(2, at(0, 8));
        contents.note_window(2, 100);
        contents
    }

    fn samples(contents: &SegmentContents, end: u32) -> Vec<(u32, i64, u32)> {
        contents.samples_before(end).map(|(segment, at)| (segment, at.start, at.generation)).collect()
    }

    #[test]
    fn each_generation_is_listed_once_a_segment() {
        assert_eq!(samples(&contents(), 2), [(1, 0, 7)]);
        assert_eq!(samples(&contents(), 9), [(1, 0, 7), (2, 0, 8)]);
    }

    #[test]
    fn a_window_without_samples_is_mentioned_only() {
        assert!(contents().mention(100) && contents().mention(0) && !contents().mention(200));
    }

    #[test]
    fn forgotten_segments_mention_nothing() {
        let mut contents = contents();
        contents.forget_before(3);
        assert!(!contents.mention(0) && samples(&contents, 9).is_empty());
    }

    #[test]
    fn cleared_segments_still_mention_their_windows() {
        let mut contents = contents();
        contents.clear_samples(1);
        assert!(contents.mention(0));
        assert_eq!(samples(&contents, 9), [(2, 0, 8)]);
    }
}
