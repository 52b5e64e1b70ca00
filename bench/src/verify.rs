//! Reads every sample back through raw range selectors. The server must return what was written: each sample once, with
//! its value, and nothing else.

mod compare;

use crate::api::{Api, Row};
use crate::cli::VerifyArgs;
use crate::error::Error;
use crate::fleet;
use crate::timeline::Timeline;
pub(crate) use compare::Outcome;
use compare::ReadBack;

/// The span of one query, seconds. Longer ones make large responses.
const QUERY_SPAN_S: i64 = 3600;
const QUERY_PATH: &str = "/api/v1/query";

/// Compares all hosts.
pub(crate) async fn run(args: VerifyArgs) -> Result<Outcome, Error> {
    let api = Api::new(&args.url, args.tenant, 1)?;
    let timeline = Timeline::ending_at(args.end, args.interval, args.steps);
    let mut outcome = Outcome::default();
    for host in args.hosts.range() {
        let series = fleet::host(host);
        let instance = series.first().map_or("", |series| series.label("instance"));
        let found = read_back(&api, instance, &timeline).await?;
        outcome.add(found.compare(&series, &timeline));
    }
    Ok(outcome)
}

/// All samples of an instance.
async fn read_back(api: &Api, instance: &str, timeline: &Timeline) -> Result<ReadBack, Error> {
    let mut found = ReadBack::default();
    let query = format!("{{instance=\"{instance}\"}}[{QUERY_SPAN_S}s]");
    for end in query_ends(timeline) {
        let body = api.form(QUERY_PATH, &[("query", query.clone()), ("time", end.to_string())]).await?;
        let rows: Vec<Row> = api.rows(QUERY_PATH, &body)?;
        found.add(&rows, (end - QUERY_SPAN_S) * 1000);
    }
    Ok(found)
}

/// The times of the queries, latest first. A range selector excludes its start, so the queries do not overlap.
fn query_ends(timeline: &Timeline) -> impl Iterator<Item = i64> {
    let start = timeline.start();
    std::iter::successors(Some(timeline.end), |end| Some(end - QUERY_SPAN_S)).take_while(move |end| *end >= start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_query_reads_an_hour() {
        assert_eq!(query_ends(&Timeline::ending_at(7200, 15, 240)).collect::<Vec<_>>(), [7200]);
    }

    #[test]
    fn a_sample_at_the_start_of_a_span_gets_a_query_of_its_own() {
        assert_eq!(query_ends(&Timeline::ending_at(7200, 15, 241)).collect::<Vec<_>>(), [7200, 3600]);
    }
}
