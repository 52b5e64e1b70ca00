//! What one agent tells another about a target that moves to it, and its encoding on the wire.

use pharos_model::labels::check_canonical;
use pharos_model::{Labels, TenantId, series_hash};
use pharos_transport::agent_v1 as wire;

use crate::cache::TrackedSeries;
use crate::targets::Placement;

/// How often a record may be forwarded. Past that, owners change faster than the record travels, and it is dropped.
const MAX_HOPS: u32 = 16;
/// What the encoding of a series adds to its labels at most, bytes.
const ENCODED_OVERHEAD: usize = 16;
/// How far the next slot may be from now, beyond one interval, milliseconds.
const MAX_SLOT_DISTANCE_MS: i64 = 600_000;
/// The exclusive bound of an interval, milliseconds: about 34 years.
const MAX_INTERVAL_MS: i64 = 1 << 40;

/// The series of a target's last scrape, and what finds its slots and their owners.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HandoffRecord {
    /// Labels that the target's series have in common.
    pub(crate) labels: Labels,
    pub(crate) url: String,
    /// From which the target's slots and their owners follow.
    pub(crate) placement: Placement,
    pub(crate) interval_ms: i64,
    /// The first slot in which the sender did not scrape.
    pub(crate) next_ms: i64,
    /// Whether its scrapes report the extra metrics.
    pub(crate) extra: bool,
    /// The series of its last scrape.
    pub(crate) series: Vec<TrackedSeries>,
    /// How often the record was forwarded.
    pub(crate) hops: u32,
    /// The ownership epoch that the sender knew.
    pub(crate) epoch: u64,
}

impl HandoffRecord {
    /// The memory that the record takes, bytes, approximately.
    pub(crate) fn bytes(&self) -> usize {
        let series: usize = self.series.iter().map(|series| series.canonical.len() + size_of::<TrackedSeries>()).sum();
        series + self.labels.as_bytes().len() + self.url.len() + size_of::<HandoffRecord>()
    }

    /// Encodes the record for its next hop, in parts with series of about `part_bytes` each. There is at least one part, which
    /// has everything but the series that follow in others; none if the record has used up its hops.
    pub(crate) fn to_parts(&self, part_bytes: usize) -> impl Iterator<Item = wire::HandOverRequest> + '_ {
        let mut first = (self.hops < MAX_HOPS).then(|| wire::HandOverRequest {
            labels: self.labels.as_bytes().to_vec().into(),
            url: self.url.clone(),
            hash: self.placement.slot,
            owner_hash: self.placement.owner,
            interval_ms: self.interval_ms.max(0) as u64,
            next_ms: self.next_ms,
            extra: self.extra,
            series: Vec::new(),
            hops: self.hops + 1,
            epoch: self.epoch,
        });
        let mut rest = if first.is_some() { &self.series[..] } else { &[] };
        std::iter::from_fn(move || {
            let header = first.take();
            if header.is_none() && rest.is_empty() {
                return None;
            }
            let mut bytes = 0;
            let fits = |series: &&TrackedSeries| {
                bytes += series.canonical.len() + ENCODED_OVERHEAD;
                bytes <= part_bytes
            };
            let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
            let (part, others) = rest.split_at(count);
            rest = others;
            Some(wire::HandOverRequest {
                series: part.iter().map(encode_series).collect(),
                ..header.unwrap_or_default()
            })
        })
    }

    /// The memory that the series of a part will take, bytes, approximately.
    pub(crate) fn bytes_of(part: &wire::HandOverRequest) -> usize {
        part.series.iter().map(|series| series.labels.len() + size_of::<TrackedSeries>()).sum()
    }

    /// Adds the series of another part.
    pub(crate) fn add(&mut self, part: wire::HandOverRequest, tenant: &TenantId) -> Result<(), String> {
        self.series.reserve(part.series.len());
        for series in part.series {
            check_canonical(&series.labels).map_err(|error| format!("series labels of {}: {error}", self.labels))?;
            let hash = series_hash(tenant, &series.labels);
            let canonical = series.labels[..].into();
            self.series.push(TrackedSeries { canonical, hash, is_histogram: series.histogram });
        }
        Ok(())
    }

    /// Decodes and checks what another agent sent. The error names the field that cannot be right.
    pub(crate) fn from_request(
        mut request: wire::HandOverRequest,
        tenant: &TenantId,
        now_ms: i64,
    ) -> Result<HandoffRecord, String> {
        let labels = Labels::from_canonical(&request.labels).map_err(|error| format!("target labels: {error}"))?;
        let interval_ms = i64::try_from(request.interval_ms)
            .ok()
            .filter(|interval| (1..MAX_INTERVAL_MS).contains(interval))
            .ok_or_else(|| format!("interval of {} ms for {labels} is out of range", request.interval_ms))?;
        if request.next_ms.abs_diff(now_ms) > (interval_ms + MAX_SLOT_DISTANCE_MS) as u64 {
            return Err(format!("next slot {} of {labels} is too far from now, {now_ms}", request.next_ms));
        }
        if request.hops > MAX_HOPS {
            return Err(format!("record of {labels} was forwarded {} times, the limit is {MAX_HOPS}", request.hops));
        }
        let series = wire::HandOverRequest { series: std::mem::take(&mut request.series), ..Default::default() };
        let wire::HandOverRequest { url, hash, owner_hash, next_ms, extra, hops, epoch, .. } = request;
        // Older agents find owners by the hash of the slots.
        let owner = if owner_hash == 0 { hash } else { owner_hash };
        let (placement, none) = (Placement { owner, slot: hash }, Vec::new());
        let mut record =
            HandoffRecord { labels, url, placement, interval_ms, next_ms, extra, series: none, hops, epoch };
        record.add(series, tenant)?;
        Ok(record)
    }
}

fn encode_series(series: &TrackedSeries) -> wire::HandedSeries {
    wire::HandedSeries { labels: series.canonical.to_vec().into(), histogram: series.is_histogram }
}

#[cfg(test)]
mod tests;
