//! Checks the routing tree and lets children inherit.

use std::collections::{BTreeMap, BTreeSet};

use pharos_config::PromDuration;
use serde_saphyr::Spanned;

use super::Mistake;
use super::written::{Names, WrittenRoute, matchers};
use crate::interval::TimeInterval;
use crate::matcher::Syntax;
use crate::routing::{GroupBy, Route, RouteTree};

/// What routes refer to.
struct Known<'k> {
    receivers: &'k BTreeSet<&'k str>,
    intervals: &'k BTreeMap<String, Vec<TimeInterval>>,
    syntax: Syntax,
}

/// Checks the tree below a root.
pub(super) fn tree(
    root: Spanned<WrittenRoute>,
    receivers: &BTreeSet<&str>,
    intervals: &BTreeMap<String, Vec<TimeInterval>>,
    syntax: Syntax,
) -> Result<RouteTree, Mistake> {
    let place = root.referenced;
    let written = &root.value;
    let is_given = |names: &Names| names.as_ref().is_some_and(|names| !names.is_empty());
    let has_matchers = written.equal.as_ref().is_some_and(|equal| !equal.is_empty())
        || written.match_re.as_ref().is_some_and(|regexes| !regexes.is_empty())
        || is_given(&written.matchers);
    let reason = match () {
        () if written.receiver.as_ref().is_none_or(|receiver| receiver.value.is_empty()) => {
            "root route must specify a default receiver"
        }
        () if has_matchers => "root route must not have any matchers",
        () if is_given(&written.mute_time_intervals) => "root route must not have any mute time intervals",
        () if is_given(&written.active_time_intervals) => "root route must not have any active time intervals",
        () if written.continues == Some(true) => "cannot have continue in root route",
        () => {
            let known = Known { receivers, intervals, syntax };
            let mut routes = Vec::new();
            add(root, None, &known, &mut routes)?;
            return Ok(RouteTree(routes));
        }
    };
    Err(Mistake::at(place, reason))
}

/// Adds a route and its children; the parent is in `routes` already. Returns its position.
fn add(
    written: Spanned<WrittenRoute>,
    parent: Option<usize>,
    known: &Known<'_>,
    routes: &mut Vec<Route>,
) -> Result<usize, Mistake> {
    let Spanned { value: written, referenced: place, .. } = written;
    let matchers = matchers(&written.equal, &written.match_re, &written.matchers, place, known.syntax)?;
    let mut route = match parent.and_then(|parent| routes.get(parent)) {
        Some(parent) => parent.child(matchers),
        None => Route::defaults(),
    };
    if let Some(receiver) = written.receiver.filter(|receiver| !receiver.value.is_empty()) {
        if !known.receivers.contains(receiver.value.as_str()) {
            let reason = format!("undefined receiver {:?} used in route", receiver.value);
            return Err(Mistake::at(receiver.referenced, reason));
        }
        route.receiver = receiver.value;
    }
    if let Some(names) = written.group_by {
        route.group_by = group_by(names, known.syntax)?;
    }
    if let Some(labels) = written.labels {
        if let Some(name) = labels.keys().find(|name| !known.syntax.is_label_name(name)) {
            return Err(Mistake::at(place, format!("invalid label name {name:?} in route labels")));
        }
        route.labels.extend(labels);
    }
    if let Some(wait) = written.group_wait {
        route.group_wait = wait.value.into();
    }
    if let Some(interval) = written.group_interval {
        route.group_interval = not_zero(interval, "group_interval")?.into();
    }
    if let Some(interval) = written.repeat_interval {
        route.repeat_interval = not_zero(interval, "repeat_interval")?.into();
    }
    route.mute_time_intervals = intervals(written.mute_time_intervals, known)?;
    route.active_time_intervals = intervals(written.active_time_intervals, known)?;
    route.continues = written.continues.unwrap_or_default();
    let at = routes.len();
    routes.push(route);
    for child in written.routes.unwrap_or_default() {
        let child = add(child, Some(at), known, routes)?;
        if let Some(route) = routes.get_mut(at) {
            route.children.push(child);
        }
    }
    Ok(at)
}

fn group_by(names: Vec<Spanned<String>>, syntax: Syntax) -> Result<GroupBy, Mistake> {
    let mut labels = BTreeSet::new();
    let mut is_all = None;
    for Spanned { value: name, referenced, .. } in names {
        if name == "..." {
            is_all = Some(referenced);
        } else if !syntax.is_label_name(&name) {
            return Err(Mistake::at(referenced, format!("invalid label name {name:?} in group_by list")));
        } else if labels.contains(&name) {
            return Err(Mistake::at(referenced, format!("duplicated label {name:?} in group_by")));
        } else {
            labels.insert(name);
        }
    }
    match is_all {
        Some(place) if !labels.is_empty() => {
            let reason = "cannot have wildcard group_by (`...`) and other labels at the same time";
            Err(Mistake::at(place, reason))
        }
        Some(_) => Ok(GroupBy::All),
        None => Ok(GroupBy::Labels(labels)),
    }
}

fn not_zero(duration: Spanned<PromDuration>, field: &str) -> Result<PromDuration, Mistake> {
    match duration.value.is_zero() {
        true => Err(Mistake::at(duration.referenced, format!("{field} cannot be zero"))),
        false => Ok(duration.value),
    }
}

fn intervals(names: Names, known: &Known<'_>) -> Result<Vec<String>, Mistake> {
    let names = names.unwrap_or_default().into_iter();
    let checked = names.map(|name| match known.intervals.contains_key(&name.value) {
        true => Ok(name.value),
        false => {
            let reason = format!("undefined time interval {:?} used in route", name.value);
            Err(Mistake::at(name.referenced, reason))
        }
    });
    checked.collect()
}
