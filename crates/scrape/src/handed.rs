//! What an agent tells another one of a target that moves to it, and its form on the wire.

use pharos_model::labels::check_canonical;
use pharos_model::{Labels, TenantId, series_hash};
use pharos_transport::agent_v1 as wire;

use crate::cache::TrackedSeries;

/// How often something is passed on; owners that change more often than that are given up on.
const MOST_HOPS: u32 = 16;
/// How far the moment may be from now, beyond an interval, milliseconds.
const MOST_AWAY_MS: i64 = 600_000;

/// What is known of a target.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Handed {
    /// Labels of its series.
    pub(crate) labels: Labels,
    pub(crate) url: String,
    /// What its owner and its moments are found by.
    pub(crate) hash: u64,
    pub(crate) interval_ms: i64,
    /// The first moment at which it was not scraped.
    pub(crate) next_ms: i64,
    /// Whether its scrapes report extra metrics.
    pub(crate) extra: bool,
    /// The series of its last scrape.
    pub(crate) series: Vec<TrackedSeries>,
    /// How often it was passed on.
    pub(crate) hops: u32,
    /// The ownership epoch that its sender knew.
    pub(crate) epoch: u64,
}

impl Handed {
    /// Bytes that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let series: usize = self.series.iter().map(|series| series.canonical.len() + size_of::<TrackedSeries>()).sum();
        series + self.labels.as_bytes().len() + self.url.len() + size_of::<Handed>()
    }

    /// The same, passed on once more; none when that was often enough.
    pub(crate) fn passed_on(&self) -> Option<wire::HandOverRequest> {
        (self.hops < MOST_HOPS).then(|| wire::HandOverRequest {
            labels: self.labels.as_bytes().to_vec().into(),
            url: self.url.clone(),
            hash: self.hash,
            interval_ms: self.interval_ms.max(0) as u64,
            next_ms: self.next_ms,
            extra: self.extra,
            series: self.series.iter().map(to_wire).collect(),
            hops: self.hops + 1,
            epoch: self.epoch,
        })
    }

    /// Reads what another agent sent. The error says what cannot be.
    pub(crate) fn read(mut request: wire::HandOverRequest, tenant: &TenantId, now_ms: i64) -> Result<Handed, String> {
        let labels = Labels::from_canonical(&request.labels).map_err(|error| format!("labels of a target: {error}"))?;
        let interval_ms = i64::try_from(request.interval_ms).ok().filter(|interval| (1..1 << 40).contains(interval));
        let interval_ms = interval_ms.ok_or_else(|| format!("interval {} of {labels}", request.interval_ms))?;
        if request.next_ms.abs_diff(now_ms) > (interval_ms + MOST_AWAY_MS) as u64 {
            return Err(format!("moment {} of {labels} is far from now, {now_ms}", request.next_ms));
        }
        if request.hops > MOST_HOPS {
            return Err(format!("{labels} was passed on {} times", request.hops));
        }
        let read = |series: wire::HandedSeries| {
            check_canonical(&series.labels).map_err(|error| format!("labels of a series of {labels}: {error}"))?;
            let hash = series_hash(tenant, &series.labels);
            Ok(TrackedSeries { canonical: series.labels[..].into(), hash, is_histogram: series.histogram })
        };
        let series = std::mem::take(&mut request.series).into_iter().map(read).collect::<Result<_, String>>()?;
        let wire::HandOverRequest { url, hash, next_ms, extra, hops, epoch, .. } = request;
        Ok(Handed { labels, url, hash, interval_ms, next_ms, extra, series, hops, epoch })
    }
}

fn to_wire(series: &TrackedSeries) -> wire::HandedSeries {
    wire::HandedSeries { labels: series.canonical.to_vec().into(), histogram: series.is_histogram }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed() -> Handed {
        let canonical = Labels::from_pairs([("__name__", "m"), ("job", "j")]).as_bytes().to_vec();
        let hash = series_hash(&TenantId::default(), &canonical);
        Handed {
            labels: Labels::from_pairs([("job", "j")]),
            url: "http://h:1/metrics".into(),
            hash: 7,
            interval_ms: 5000,
            next_ms: 1_005_000,
            extra: true,
            series: vec![TrackedSeries { canonical: canonical.into(), hash, is_histogram: true }],
            hops: 0,
            epoch: 3,
        }
    }

    fn read(request: wire::HandOverRequest) -> Result<Handed, String> {
        Handed::read(request, &TenantId::default(), 1_000_000)
    }

    #[test]
    fn what_is_handed_over_arrives() {
        let sent = handed();
        assert_eq!(read(sent.passed_on().unwrap()), Ok(Handed { hops: 1, ..sent.clone() }));
        assert_eq!(Handed { hops: MOST_HOPS, ..sent }.passed_on(), None);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let good = handed().passed_on().unwrap();
        let cut_off = good.series[0].labels.slice(..3);
        let series = vec![wire::HandedSeries { labels: cut_off, histogram: false }];
        for bad in [
            wire::HandOverRequest { labels: vec![255].into(), ..good.clone() },
            wire::HandOverRequest { interval_ms: 0, ..good.clone() },
            wire::HandOverRequest { interval_ms: u64::MAX, ..good.clone() },
            wire::HandOverRequest { next_ms: i64::MIN, ..good.clone() },
            wire::HandOverRequest { hops: 99, ..good.clone() },
            wire::HandOverRequest { series, ..good.clone() },
        ] {
            assert!(read(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
