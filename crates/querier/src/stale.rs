//! What queries do while this node cannot prove that its view of the cluster is current.

use pharos_cluster::Unproven;

/// What happens to a query whose view is not proved to be current.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StaleReads {
    /// It is answered under the last view, with a warning that names the time up to which the response is known to be complete.
    #[default]
    Warn,
    /// It fails.
    Refuse,
}

/// The error of a query that is refused because its view may be out of date.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot confirm that this node's view of the cluster is current, so the response might lack samples: {reason}")]
pub struct StaleView {
    pub(crate) reason: String,
}

/// The warning in a response under an unproven view.
pub(crate) fn warning(unproven: &Unproven) -> String {
    let time = unproven.as_of_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    match time {
        Some(time) => format!("as of {time:.3}; later samples may be missing: {unproven}"),
        None => {
            format!("samples may be missing, because this node's view of the cluster was never confirmed: {unproven}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unproven(as_of_ms: Option<i64>) -> Unproven {
        Unproven { as_of_ms, reason: "no leader is known".into() }
    }

    #[test]
    fn the_warning_names_the_time_up_to_which_the_response_is_complete() {
        let expected = "as of 2023-11-14T22:13:20.125Z; later samples may be missing: no leader is known";
        assert_eq!(warning(&unproven(Some(1_700_000_000_125))), expected);
    }

    #[test]
    fn without_such_a_time_any_sample_may_be_missing() {
        for as_of_ms in [None, Some(i64::MAX)] {
            assert!(warning(&unproven(as_of_ms)).starts_with("samples may be missing"), "{as_of_ms:?}");
        }
    }
}
