//! Requests to meta during startup, which are repeated until meta answers.
//!
//! Meta may be unavailable for as long as most of its nodes are down. A node that ended then would have to replay its log
//! again at the next start, so it waits, and says so. It ends only on an answer that a repetition cannot change: a refusal,
//! or the failure of its own disk.

use std::pin::pin;
use std::time::Duration;

use pharos_cluster::MetaError;

/// Interval of log lines while a node waits for its cluster.
pub(super) const WAIT_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Pause between two attempts. An attempt itself waits for a leader.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Repeats a request until it is answered. `purpose` says what for, in log lines and in the error.
pub(super) async fn until_answered<T, F>(purpose: &str, ask: impl Fn() -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, MetaError>>,
{
    let mut reason = "it has not answered yet".to_string();
    let mut log = tokio::time::interval(WAIT_LOG_INTERVAL);
    log.tick().await;
    let mut is_waiting = false;
    loop {
        let mut asked = pin!(ask());
        let answered = loop {
            tokio::select! {
                answered = &mut asked => break answered,
                _ = log.tick() => {
                    is_waiting = true;
                    tracing::warn!(purpose, reason, "meta does not answer; retrying until it does or the process is stopped");
                }
            }
        };
        match answered {
            Ok(answer) => {
                if is_waiting {
                    tracing::info!(purpose, "meta answers again");
                }
                return Ok(answer);
            }
            Err(error @ MetaError::Unavailable(_)) => reason = error.to_string(),
            Err(error) => return Err(format!("{purpose}: {error}")),
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use pharos_cluster::Refusal;

    use super::*;

    /// The first `failures` attempts find no leader.
    async fn asked(failures: u32, last: Result<u32, MetaError>) -> (Result<u32, String>, u32) {
        let (attempts, last) = (Cell::new(0), Cell::new(Some(last)));
        let ask = || async {
            attempts.set(attempts.get() + 1);
            match attempts.get() <= failures {
                true => Err(MetaError::Unavailable("no leader".into())),
                false => last.take().unwrap(),
            }
        };
        (until_answered("joining the cluster", ask).await, attempts.get())
    }

    #[tokio::test]
    async fn meta_that_does_not_answer_is_asked_again() {
        assert_eq!(asked(2, Ok(7)).await, (Ok(7), 3));
    }

    #[tokio::test]
    async fn a_refusal_ends_the_wait() {
        let refusal = Refusal::Removed { node: "A".into() };
        let (outcome, attempts) = asked(1, Err(refusal.into())).await;
        let expected =
            "joining the cluster: node A was removed from the cluster; it can only return with an empty data folder";
        assert_eq!((outcome, attempts), (Err(expected.into()), 2));
    }

    #[tokio::test]
    async fn a_failed_disk_ends_the_wait() {
        let (outcome, attempts) = asked(0, Err(MetaError::Stopped("disk full".into()))).await;
        assert_eq!(attempts, 1);
        assert!(outcome.unwrap_err().ends_with("disk full"));
    }
}
