//! Which replica is sending which notification.
//!
//! A claim keeps the others from sending the same notification while the first attempt takes long. It is not needed for the
//! agreement about what was sent; the notification log is. So a claim that is lost costs a doubled notification at worst.

use std::collections::HashMap;

use jiff::Timestamp;

/// A claim of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// The notification.
    pub(super) key: String,
    /// The name of the replica.
    pub(super) holder: String,
    /// When it ends by itself.
    pub(super) until: Timestamp,
}

/// All claims that this replica knows.
#[derive(Debug, Default)]
pub(super) struct Claims(HashMap<String, Claim>);

impl Claims {
    /// The claim on a notification, if it has not ended.
    pub(super) fn get(&self, key: &str, now: Timestamp) -> Option<&Claim> {
        self.0.get(key).filter(|claim| claim.until > now)
    }

    /// Takes a claim. Of two that are made at once, the one whose holder's name is first wins. Returns the winner.
    pub(super) fn take(&mut self, claim: Claim, now: Timestamp) -> Claim {
        if let Some(known) = self.get(&claim.key, now).filter(|known| known.holder < claim.holder) {
            return known.clone();
        }
        self.0.insert(claim.key.clone(), claim.clone());
        claim
    }

    /// Ends a claim of a replica.
    pub(super) fn release(&mut self, key: &str, holder: &str) {
        if self.0.get(key).is_some_and(|claim| claim.holder == holder) {
            self.0.remove(key);
        }
    }

    /// Forgets claims that have ended.
    pub(super) fn collect_garbage(&mut self, now: Timestamp) {
        self.0.retain(|_, claim| claim.until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn claim(holder: &str, until: i64) -> Claim {
        Claim { key: "k".into(), holder: holder.into(), until: time(until) }
    }

    #[test]
    fn of_two_claims_the_first_name_wins() {
        let mut claims = Claims::default();
        assert_eq!(claims.take(claim("b", 10), time(0)).holder, "b");
        assert_eq!(claims.take(claim("c", 10), time(0)).holder, "b");
        assert_eq!(claims.take(claim("a", 10), time(0)).holder, "a");
    }

    #[test]
    fn a_claim_ends_by_itself_or_by_its_holder() {
        let mut claims = Claims::default();
        claims.take(claim("a", 10), time(0));
        assert!(claims.get("k", time(10)).is_none());
        assert_eq!(claims.take(claim("b", 20), time(10)).holder, "b");
        claims.release("k", "a");
        assert!(claims.get("k", time(11)).is_some());
        claims.release("k", "b");
        assert!(claims.get("k", time(11)).is_none());
        claims.take(claim("a", 10), time(0));
        claims.collect_garbage(time(10));
        assert!(claims.0.is_empty());
    }
}
