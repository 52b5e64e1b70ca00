//! The routing tree: which routes an alert takes, and how each of them groups and sends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::matcher::{InBraces, Matcher, all_match};

/// Labels of an alert, which are few, by name.
pub type LabelMap = BTreeMap<String, String>;

/// By which labels a route groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// By all labels: each alert is a group of its own.
    All,
    /// By these.
    Labels(BTreeSet<String>),
}

impl GroupBy {
    /// The labels that the group of an alert has.
    pub fn labels_of(&self, alert: &LabelMap) -> LabelMap {
        match self {
            GroupBy::All => alert.clone(),
            GroupBy::Labels(names) => {
                let found = names.iter().filter_map(|name| alert.get_key_value(name));
                found.map(|(name, value)| (name.clone(), value.clone())).collect()
            }
        }
    }
}

/// A route with what it inherited from its parents.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The receiver of its groups.
    pub receiver: String,
    /// How it groups.
    pub group_by: GroupBy,
    /// How long a new group waits for more alerts.
    pub group_wait: Duration,
    /// How long a group waits between two notifications.
    pub group_interval: Duration,
    /// After how long a notification is repeated.
    pub repeat_interval: Duration,
    /// Intervals in which the route is muted.
    pub mute_time_intervals: Vec<String>,
    /// Intervals outside of which the route is muted; without any it never is.
    pub active_time_intervals: Vec<String>,
    /// Labels of the route, whose values are templates.
    pub labels: LabelMap,
    /// What an alert must satisfy.
    pub matchers: Vec<Matcher>,
    /// Whether alerts that take this route try the next ones on the same level, too.
    pub continues: bool,
    /// The matchers of the route and its parents. Routes may share a key.
    pub key: String,
    /// Positions of its children in the tree.
    pub children: Vec<usize>,
}

impl Route {
    /// The defaults that the root starts from.
    pub fn defaults() -> Route {
        Route {
            receiver: String::new(),
            group_by: GroupBy::Labels(BTreeSet::new()),
            group_wait: Duration::from_secs(30),
            group_interval: Duration::from_secs(5 * 60),
            repeat_interval: Duration::from_secs(4 * 3600),
            mute_time_intervals: Vec::new(),
            active_time_intervals: Vec::new(),
            labels: LabelMap::new(),
            matchers: Vec::new(),
            continues: false,
            key: InBraces(&[]).to_string(),
            children: Vec::new(),
        }
    }

    /// A child that inherits everything that children inherit.
    pub fn child(&self, matchers: Vec<Matcher>) -> Route {
        Route {
            key: format!("{}/{}", self.key, InBraces(&matchers)),
            matchers,
            mute_time_intervals: Vec::new(),
            active_time_intervals: Vec::new(),
            continues: false,
            children: Vec::new(),
            ..self.clone()
        }
    }
}

/// All routes. The root is the first one.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteTree(pub Vec<Route>);

impl RouteTree {
    /// The positions of the routes that an alert takes: in each subtree the deepest that match, at least the root.
    pub fn matching(&self, labels: &LabelMap) -> Vec<usize> {
        let mut found = Vec::new();
        self.collect(0, labels, &mut found);
        found
    }

    /// Adds the routes of a subtree that an alert takes. False if the subtree does not match.
    fn collect(&self, at: usize, labels: &LabelMap, found: &mut Vec<usize>) -> bool {
        let Some(route) = self.0.get(at) else { return false };
        if !all_match(&route.matchers, |name| labels.get(name).map_or("", String::as_str)) {
            return false;
        }
        let before = found.len();
        for &child in &route.children {
            let matches = self.collect(child, labels, found);
            if matches && !self.0.get(child).is_some_and(|child| child.continues) {
                break;
            }
        }
        if found.len() == before {
            found.push(at);
        }
        true
    }
}

/// Prints labels as they stand in the key of a group: `{a="1", b="2"}`.
pub fn label_text(labels: &LabelMap) -> String {
    let pairs = labels.iter().map(|(name, value)| format!("{name}={}", pharos_gocompat::GoQuoted(value)));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests;
