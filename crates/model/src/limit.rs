//! Upper bounds that configuration may lift.

/// The largest value of something, or no limit. Configuration, flags and requests write "no limit" as 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limit(usize);

impl Limit {
    /// No limit.
    pub const NONE: Limit = Limit(0);

    /// A limit of `max`, where 0 means unlimited.
    pub const fn new(max: usize) -> Self {
        Limit(max)
    }

    /// The limit as configuration writes it: 0 means unlimited.
    pub const fn as_configured(self) -> usize {
        self.0
    }

    /// The largest value, if there is a limit.
    pub const fn max(self) -> Option<usize> {
        match self.0 {
            0 => None,
            max => Some(max),
        }
    }

    /// The largest value, or `usize::MAX` without a limit.
    pub const fn or_max(self) -> usize {
        match self.0 {
            0 => usize::MAX,
            max => max,
        }
    }

    /// Whether a value is above the limit.
    pub const fn is_exceeded_by(self, value: usize) -> bool {
        value > self.or_max()
    }

    /// Whether a value is at the limit or above, so that nothing can be added.
    pub const fn is_reached_by(self, value: usize) -> bool {
        self.0 > 0 && value >= self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_allows_values_up_to_itself() {
        let limit = Limit::new(3);
        assert!(!limit.is_exceeded_by(3));
        assert!(limit.is_exceeded_by(4));
        assert_eq!(limit.max(), Some(3));
        assert_eq!(limit.or_max(), 3);
    }

    #[test]
    fn a_limit_is_reached_before_it_is_exceeded() {
        let limit = Limit::new(3);
        assert!(!limit.is_reached_by(2));
        assert!(limit.is_reached_by(3));
    }

    #[test]
    fn zero_is_no_limit() {
        assert_eq!(Limit::new(0), Limit::NONE);
        assert_eq!(Limit::NONE.max(), None);
        assert_eq!(Limit::NONE.or_max(), usize::MAX);
        assert!(!Limit::NONE.is_exceeded_by(usize::MAX));
        assert!(!Limit::NONE.is_reached_by(usize::MAX));
        assert_eq!(Limit::NONE.as_configured(), 0);
    }
}
