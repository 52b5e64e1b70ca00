//! Silences: which exist, who may change them how, and which of them apply to an alert.
//!
//! A silence is never removed by hand: it expires, and is forgotten after the retention. A change that would falsify the
//! past (other matchers, another start once it is active) expires the silence and creates another. Of two versions of a
//! silence the one that was changed last wins, so replicas that exchange silences in any order agree.

mod index;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pharos_gocompat::GoQuoted;
use pharos_model::MatchOp;

use crate::matcher::{Matcher, Syntax};
use crate::records::silence_size;
use index::Index;

/// A silence.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    /// A UUID; empty in a draft of a new one.
    pub id: String,
    /// It applies to alerts that satisfy all matchers of one of these sets.
    pub matcher_sets: Vec<Vec<Matcher>>,
    /// From when it applies.
    pub starts_at: Timestamp,
    /// Until when it applies, exclusive.
    pub ends_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// Who created it.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// More about it, for tools.
    pub annotations: BTreeMap<String, String>,
    /// When it is forgotten.
    pub expires_at: Timestamp,
}

/// Where a silence is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SilenceState {
    /// It applies.
    Active,
    /// It will apply.
    Pending,
    /// It has applied.
    Expired,
}

impl SilenceState {
    /// The state as the API shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            SilenceState::Active => "active",
            SilenceState::Pending => "pending",
            SilenceState::Expired => "expired",
        }
    }
}

impl Silence {
    /// The state at a moment.
    pub fn state(&self, now: Timestamp) -> SilenceState {
        match () {
            () if now < self.starts_at => SilenceState::Pending,
            () if now < self.ends_at => SilenceState::Active,
            () => SilenceState::Expired,
        }
    }
}

/// Why a silence was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// No silence has the id.
    #[error("silence not found")]
    NotFound,
    /// The silence is not valid.
    #[error("invalid silence: {0}")]
    Invalid(String),
    /// The silence is larger than allowed.
    #[error("silence exceeded maximum size: {size} bytes (limit: {limit} bytes)")]
    TooLarge {
        /// Its size, bytes.
        size: usize,
        /// The limit, bytes.
        limit: usize,
    },
    /// There are as many silences as allowed.
    #[error("exceeded maximum number of silences: {count} (limit: {limit})")]
    TooMany {
        /// How many there are, expired ones included.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The change is in force, but may be lost by a restart.
    #[error("the silence could not be written to disk: {0}")]
    NotDurable(String),
}

/// Limits on silences. Zero means no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct SilenceLimits {
    /// How many there may be, expired ones included.
    pub max_silences: usize,
    /// Size of one, bytes.
    pub max_bytes: usize,
}

/// What is known about the silences of one set of labels, so that the next question about it is cheap.
#[derive(Clone, Debug, Default)]
pub struct SilenceMemory {
    /// The silences up to this one were looked at.
    seen: u64,
    /// Those that apply or will apply.
    ids: Vec<Arc<str>>,
}

/// All silences.
pub struct Silences {
    by_id: HashMap<Arc<str>, Arc<Silence>>,
    index: Index,
    retention: Duration,
    limits: SilenceLimits,
    syntax: Syntax,
}

impl Silences {
    /// No silences.
    pub fn new(retention: Duration, limits: SilenceLimits, syntax: Syntax) -> Self {
        Silences { by_id: HashMap::new(), index: Index::default(), retention, limits, syntax }
    }

    /// The silence with an id.
    pub fn get(&self, id: &str) -> Option<&Arc<Silence>> {
        self.by_id.get(id)
    }

    /// All silences in any order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Silence>> {
        self.by_id.values()
    }

    /// How many silences there are, expired ones included.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are no silences.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Creates a silence, or changes the one with the id of the draft. `new_id` makes an id where one is needed. Returns what
    /// changed, the silence that results last.
    ///
    /// # Errors
    /// The draft is not valid, its id is unknown, or a limit is reached. Nothing changed.
    pub fn set(
        &mut self,
        mut draft: Silence,
        now: Timestamp,
        new_id: impl FnOnce() -> Result<String, String>,
    ) -> Result<Vec<Arc<Silence>>, SilenceError> {
        validate(&draft, self.syntax).map_err(SilenceError::Invalid)?;
        let previous = match draft.id.as_str() {
            "" => None,
            id => Some(self.by_id.get(id).ok_or(SilenceError::NotFound)?.clone()),
        };
        draft.updated_at = previous.as_deref().map_or(now, |previous| later_than(previous.updated_at, now));
        if previous.as_deref().is_some_and(|previous| can_update(previous, &draft, now)) {
            self.complete(&mut draft)?;
            return Ok(vec![self.put(draft)]);
        }
        let (count, limit) = (self.len(), self.limits.max_silences);
        if limit > 0 && count >= limit {
            return Err(SilenceError::TooMany { count, limit });
        }
        draft.id = new_id().map_err(SilenceError::Invalid)?;
        draft.starts_at = draft.starts_at.max(now);
        self.complete(&mut draft)?;
        let mut changed = Vec::new();
        if let Some(previous) = previous {
            changed.extend(self.expire(&previous.id, now)?);
        }
        changed.push(self.put(draft));
        Ok(changed)
    }

    /// Ends a silence now. Returns what changed: nothing if it had expired already.
    ///
    /// # Errors
    /// No silence has the id.
    pub fn expire(&mut self, id: &str, now: Timestamp) -> Result<Option<Arc<Silence>>, SilenceError> {
        let mut silence = Silence::clone(self.by_id.get(id).ok_or(SilenceError::NotFound)?);
        match silence.state(now) {
            SilenceState::Expired => return Ok(None),
            SilenceState::Active => {}
            SilenceState::Pending => silence.starts_at = now,
        }
        silence.ends_at = now;
        silence.updated_at = later_than(silence.updated_at, now);
        silence.expires_at = self.expiry(now);
        Ok(Some(self.put(silence)))
    }

    /// Takes a silence of another replica or of the disk. False if it is past its time, or not younger than the one we have.
    pub fn merge(&mut self, silence: Silence, now: Timestamp) -> bool {
        let is_known = |known: &Arc<Silence>| known.updated_at >= silence.updated_at;
        if silence.expires_at < now || self.by_id.get(silence.id.as_str()).is_some_and(is_known) {
            return false;
        }
        self.put(silence);
        true
    }

    /// Forgets silences that ended longer ago than the retention. Returns how many.
    pub fn collect_garbage(&mut self, now: Timestamp) -> usize {
        let before = self.len();
        self.by_id.retain(|_, silence| silence.expires_at > now);
        let removed = before - self.len();
        if removed > 0 {
            self.index.retain(|id| self.by_id.contains_key(id));
        }
        removed
    }

    /// The ids of the active silences that apply to labels, ascending. `memory` belongs to these labels.
    pub fn muting<'l>(
        &self,
        labels: impl Iterator<Item = (&'l str, &'l str)> + Clone,
        memory: &mut SilenceMemory,
        now: Timestamp,
    ) -> Vec<Arc<str>> {
        if memory.seen == self.index.newest() && memory.ids.is_empty() {
            return Vec::new();
        }
        let is_alive =
            |id: &Arc<str>| self.by_id.get(id).is_some_and(|silence| silence.state(now) != SilenceState::Expired);
        memory.ids.retain(is_alive);
        let value = |name: &str| labels.clone().find(|(n, _)| *n == name).map_or("", |(_, value)| value);
        for id in self.index.candidates(labels.clone(), memory.seen) {
            let applies = |silence: &Arc<Silence>| {
                silence.matcher_sets.iter().any(|set| set.iter().all(|matcher| matcher.matches(value(matcher.name()))))
            };
            if is_alive(id) && !memory.ids.contains(id) && self.by_id.get(id).is_some_and(applies) {
                memory.ids.push(id.clone());
            }
        }
        memory.seen = self.index.newest();
        let is_active =
            |id: &&Arc<str>| self.by_id.get(*id).is_some_and(|silence| silence.state(now) == SilenceState::Active);
        let mut active: Vec<Arc<str>> = memory.ids.iter().filter(is_active).cloned().collect();
        active.sort_unstable();
        active
    }

    fn expiry(&self, ends_at: Timestamp) -> Timestamp {
        ends_at.checked_add(self.retention).unwrap_or(Timestamp::MAX)
    }

    /// Sets when a draft is forgotten, and checks its size.
    fn complete(&self, draft: &mut Silence) -> Result<(), SilenceError> {
        draft.expires_at = self.expiry(draft.ends_at);
        let limit = self.limits.max_bytes;
        if limit == 0 {
            return Ok(());
        }
        let size = silence_size(draft);
        if size > limit { Err(SilenceError::TooLarge { size, limit }) } else { Ok(()) }
    }

    fn put(&mut self, silence: Silence) -> Arc<Silence> {
        let (id, silence): (Arc<str>, _) = (Arc::from(silence.id.as_str()), Arc::new(silence));
        if self.by_id.insert(id.clone(), silence.clone()).is_none() {
            self.index.add(&id, &silence.matcher_sets);
        }
        silence
    }
}

/// A time of a change that is after the previous one, even if the clock was set back.
pub fn later_than(previous: Timestamp, now: Timestamp) -> Timestamp {
    now.max(previous.checked_add(Duration::from_millis(1)).unwrap_or(Timestamp::MAX))
}

/// Whether a silence can become `new` without changing what it did in the past.
fn can_update(previous: &Silence, new: &Silence, now: Timestamp) -> bool {
    if previous.matcher_sets != new.matcher_sets {
        return false;
    }
    match previous.state(now) {
        SilenceState::Active => previous.starts_at.as_second() == new.starts_at.as_second() && new.ends_at >= now,
        SilenceState::Pending => new.starts_at >= now,
        SilenceState::Expired => false,
    }
}

/// Checks a draft. The error says what is wrong with it.
fn validate(draft: &Silence, syntax: Syntax) -> Result<(), String> {
    if draft.matcher_sets.is_empty() {
        return Err("at least one matcher set required".into());
    }
    for (number, set) in draft.matcher_sets.iter().enumerate() {
        if set.is_empty() {
            return Err(format!("matcher set {number} is empty"));
        }
        for (position, matcher) in set.iter().enumerate() {
            if !syntax.is_label_name(matcher.name()) {
                let name = GoQuoted(matcher.name());
                return Err(format!("invalid label matcher {position} in set {number}: invalid label name {name}"));
            }
        }
        let matches_empty =
            |matcher: &Matcher| matches!(matcher.op(), MatchOp::Equal | MatchOp::Regex) && matcher.matches("");
        if set.iter().all(matches_empty) {
            return Err(format!("matcher set {number}: at least one matcher must not match the empty string"));
        }
    }
    if draft.ends_at < draft.starts_at {
        return Err("end time must not be before start time".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
