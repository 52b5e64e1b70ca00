//! The reads of a source, as values: the same read asks a source of this process or one on another node.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use pharos_model::fragment::FragmentRow;
use pharos_model::wire::{Malformed, columns};
use pharos_model::{
    Budget, Exemplar, Fragment, FragmentAnswer, Labels, Matcher, Metadata, MetricType, SelectRequest, SeriesSet,
    TimeRange,
};
use prost::Message;

use super::client::{RemoteSource, within};
use super::completeness::Completeness;
use super::convert::{millis, summary_of, write_fragment, write_matchers, write_range};
use super::error::ReadError;
use super::labels::read_labels;
use super::remote_set::{RemoteSet, broken_off};
use super::source::{Scope, SeriesExemplars, SeriesSource};
use crate::query_v1 as wire;

/// The sources that have to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Ingesters, and stores for the time of which ingesters may lack samples.
    Samples,
    /// Ingesters and stores, both for the whole time.
    All,
    /// Ingesters only.
    Ingesters,
}

/// A read of one source.
pub trait Read: Clone + Send + Sync + 'static {
    /// The response.
    type Found: Send + 'static;

    /// The sources that have the response together.
    const SOURCES: Sources;

    /// The time that is read.
    fn range(&self) -> TimeRange;

    /// The same read of only a part of its time.
    fn of_part(self, part: TimeRange) -> Self;

    /// Reads a source of this process. Blocks.
    ///
    /// # Errors
    /// The source's own.
    fn local(&self, source: &dyn SeriesSource, scope: &Scope, budget: &Arc<Budget>) -> Result<Self::Found, ReadError>;

    /// Reads a source on another node. The budget bounds the response, and the read ends with it.
    ///
    /// # Errors
    /// The source's own, or the node is unreachable.
    fn remote(
        &self,
        source: &RemoteSource,
        scope: &Scope,
        budget: &Arc<Budget>,
    ) -> impl Future<Output = Result<Self::Found, ReadError>> + Send;
}

/// From when on a source has all samples, now and until `lasting` has passed.
#[derive(Clone, Copy, Debug)]
pub struct ReadCompleteness {
    /// How long the response must stay right.
    pub lasting: Duration,
}

impl Read for ReadCompleteness {
    type Found = Completeness;
    const SOURCES: Sources = Sources::Ingesters;

    fn range(&self) -> TimeRange {
        TimeRange::ALL
    }

    fn of_part(self, _: TimeRange) -> Self {
        self
    }

    fn local(&self, source: &dyn SeriesSource, scope: &Scope, _: &Arc<Budget>) -> Result<Completeness, ReadError> {
        Ok(source.completeness(scope, self.lasting)?)
    }

    async fn remote(
        &self,
        source: &RemoteSource,
        scope: &Scope,
        budget: &Arc<Budget>,
    ) -> Result<Completeness, ReadError> {
        let asked = Some(source.asked(scope, budget));
        let request = wire::CompletenessRequest { asked, lasting_ms: millis(self.lasting) };
        let mut client = source.client()?;
        within(budget, async {
            let answer = source.opened(client.completeness(request).await)?;
            Ok(answer.into())
        })
        .await
    }
}

/// The series that a source selected.
pub enum Selected {
    /// In this process.
    Local(Arc<dyn SeriesSet>),
    /// On another node.
    Remote(Arc<RemoteSet>),
}

/// The series that match. Their samples are fetched on demand.
impl Read for SelectRequest {
    type Found = Selected;
    const SOURCES: Sources = Sources::Samples;

    fn range(&self) -> TimeRange {
        self.range
    }

    fn of_part(self, part: TimeRange) -> Self {
        SelectRequest { range: self.range.intersect(&part), ..self }
    }

    fn local(&self, source: &dyn SeriesSource, scope: &Scope, budget: &Arc<Budget>) -> Result<Selected, ReadError> {
        Ok(Selected::Local(source.select(scope, self, budget)?))
    }

    async fn remote(&self, source: &RemoteSource, scope: &Scope, budget: &Arc<Budget>) -> Result<Selected, ReadError> {
        Ok(Selected::Remote(Arc::new(source.select(scope, self, budget).await?)))
    }
}

/// The label sets of matching series with samples in a range, ascending.
#[derive(Clone, Debug)]
pub struct ReadSeries {
    /// Conditions that all must hold.
    pub matchers: Arc<[Matcher]>,
    /// The time of the samples.
    pub range: TimeRange,
    /// Most label sets; 0 for all.
    pub limit: usize,
}

impl Read for ReadSeries {
    type Found = Vec<Labels>;
    const SOURCES: Sources = Sources::Samples;

    fn range(&self) -> TimeRange {
        self.range
    }

    fn of_part(self, part: TimeRange) -> Self {
        ReadSeries { range: self.range.intersect(&part), ..self }
    }

    fn local(&self, source: &dyn SeriesSource, scope: &Scope, budget: &Arc<Budget>) -> Result<Vec<Labels>, ReadError> {
        Ok(source.series(scope, &self.matchers, self.range, self.limit, budget)?)
    }

    async fn remote(
        &self,
        source: &RemoteSource,
        scope: &Scope,
        budget: &Arc<Budget>,
    ) -> Result<Vec<Labels>, ReadError> {
        let request = wire::SeriesRequest {
            asked: Some(source.asked(scope, budget)),
            matchers: write_matchers(&self.matchers),
            range: Some(write_range(self.range)),
            limit: self.limit as u64,
        };
        let (mut client, mut found) = (source.client()?, Vec::new());
        let receiving = source.receive(budget, client.series(request), |answer, held| {
            read_labels(&answer.labels, &mut found, |bytes| held.take(bytes))
        });
        receiving.await?;
        Ok(found)
    }
}

/// The values of a label over the matching series, or the label names of these series. Ascending.
#[derive(Clone, Debug)]
pub struct ReadNames {
    /// The label whose values are read; `None` for label names.
    pub label: Option<Arc<str>>,
    /// Conditions that all must hold.
    pub matchers: Arc<[Matcher]>,
    /// The time of the samples.
    pub range: TimeRange,
}

impl Read for ReadNames {
    type Found = Vec<String>;
    const SOURCES: Sources = Sources::Samples;

    fn range(&self) -> TimeRange {
        self.range
    }

    fn of_part(self, part: TimeRange) -> Self {
        ReadNames { range: self.range.intersect(&part), ..self }
    }

    fn local(&self, source: &dyn SeriesSource, scope: &Scope, budget: &Arc<Budget>) -> Result<Vec<String>, ReadError> {
        Ok(source.names(scope, self.label.as_deref(), &self.matchers, self.range, budget)?)
    }

    async fn remote(
        &self,
        source: &RemoteSource,
        scope: &Scope,
        budget: &Arc<Budget>,
    ) -> Result<Vec<String>, ReadError> {
        let request = wire::NamesRequest {
            asked: Some(source.asked(scope, budget)),
            matchers: write_matchers(&self.matchers),
            range: Some(write_range(self.range)),
            label: self.label.as_deref().map(str::to_string),
        };
        let (mut client, mut found) = (source.client()?, Vec::new());
        let receiving = source.receive(budget, client.names(request), |answer, held| {
            held.take(answer.encoded_len())?;
            found.extend(answer.names);
            Ok(())
        });
        receiving.await?;
        Ok(found)
    }
}

/// The exemplars of the matching series. No source keeps all of them.
#[derive(Clone, Debug)]
pub struct ReadExemplars {
    /// Conditions that all must hold.
    pub matchers: Arc<[Matcher]>,
    /// The time of the exemplars.
    pub range: TimeRange,
}

impl Read for ReadExemplars {
    type Found = Vec<SeriesExemplars>;
    const SOURCES: Sources = Sources::All;

    fn range(&self) -> TimeRange {
        self.range
    }

    fn of_part(self, part: TimeRange) -> Self {
        ReadExemplars { range: self.range.intersect(&part), ..self }
    }

    fn local(
        &self,
        source: &dyn SeriesSource,
        scope: &Scope,
        budget: &Arc<Budget>,
    ) -> Result<Vec<SeriesExemplars>, ReadError> {
        Ok(source.exemplars(scope, &self.matchers, self.range, budget)?)
    }

    async fn remote(
        &self,
        source: &RemoteSource,
        scope: &Scope,
        budget: &Arc<Budget>,
    ) -> Result<Vec<SeriesExemplars>, ReadError> {
        let request = wire::SeriesRequest {
            asked: Some(source.asked(scope, budget)),
            matchers: write_matchers(&self.matchers),
            range: Some(write_range(self.range)),
            limit: 0,
        };
        let (mut client, mut found) = (source.client()?, Vec::new());
        let labels = |bytes: &[u8]| Labels::from_canonical(bytes).map_err(|_| Malformed("label set is not canonical"));
        let receiving = source.receive(budget, client.exemplars(request), |answer, held| {
            held.take(answer.encoded_len())?;
            let exemplar = |e: &wire::Exemplar| Ok(Exemplar { labels: labels(&e.labels)?, value: e.value, t: e.t });
            let exemplars: Result<Vec<Exemplar>, Malformed> = answer.exemplars.iter().map(exemplar).collect();
            found.push(SeriesExemplars { labels: labels(&answer.labels)?, exemplars: exemplars? });
            Ok(())
        });
        receiving.await?;
        Ok(found)
    }
}

/// The descriptions of metric families, by name. A family may have several. Only ingesters have them.
#[derive(Clone, Copy, Debug)]
pub struct ReadMetadata;

impl Read for ReadMetadata {
    type Found = Vec<(String, Metadata)>;
    const SOURCES: Sources = Sources::Ingesters;

    fn range(&self) -> TimeRange {
        TimeRange::ALL
    }

    fn of_part(self, _: TimeRange) -> Self {
        self
    }

    fn local(&self, source: &dyn SeriesSource, scope: &Scope, _: &Arc<Budget>) -> Result<Self::Found, ReadError> {
        Ok(source.metadata(scope)?)
    }

    async fn remote(
        &self,
        source: &RemoteSource,
        scope: &Scope,
        budget: &Arc<Budget>,
    ) -> Result<Self::Found, ReadError> {
        let request = wire::MetadataRequest { asked: Some(source.asked(scope, budget)) };
        let (mut client, mut found) = (source.client()?, Vec::new());
        let receiving = source.receive(budget, client.metadata(request), |answer, held| {
            held.take(answer.encoded_len())?;
            found.extend(answer.families.into_iter().map(|family| {
                let kind = MetricType::parse(&family.r#type).unwrap_or_default();
                (family.name, Metadata { kind, unit: family.unit, help: family.help })
            }));
            Ok(())
        });
        receiving.await?;
        Ok(found)
    }
}

/// The value of a fragment of a query over the series of one source. The caller divides its steps among the sources.
impl Read for Arc<Fragment> {
    type Found = FragmentAnswer;
    const SOURCES: Sources = Sources::Samples;

    fn range(&self) -> TimeRange {
        TimeRange::new(self.steps.start, self.steps.end)
    }

    fn of_part(self, _: TimeRange) -> Self {
        self
    }

    fn local(
        &self,
        source: &dyn SeriesSource,
        scope: &Scope,
        budget: &Arc<Budget>,
    ) -> Result<FragmentAnswer, ReadError> {
        Ok(source.evaluate(scope, self, budget)?)
    }

    async fn remote(
        &self,
        source: &RemoteSource,
        scope: &Scope,
        budget: &Arc<Budget>,
    ) -> Result<FragmentAnswer, ReadError> {
        let request = write_fragment(source.asked(scope, budget), self);
        let mut client = source.client()?;
        let (mut rows, mut names_go, mut summary) = (Vec::new(), false, None);
        let steps = self.steps.count();
        let receiving = source.receive(budget, client.evaluate(request), |answer, held| {
            held.take(answer.encoded_len())?;
            if let Some(last) = answer.summary {
                summary = Some(last);
                return Ok(());
            }
            names_go |= answer.names_go;
            rows.extend(rows_of(&answer, steps, |bytes| held.take(bytes))?);
            Ok(())
        });
        receiving.await?;
        let (notes, stats) = summary_of(summary.ok_or_else(|| broken_off(source))?);
        Ok(FragmentAnswer { rows, names_go, notes, stats })
    }
}

/// Decodes a part of a fragment's value over `steps` steps. `take` gets the memory of each piece before it is allocated.
fn rows_of(
    answer: &wire::EvaluateAnswer,
    steps: usize,
    mut take: impl FnMut(usize) -> Result<(), ReadError>,
) -> Result<Vec<FragmentRow>, ReadError> {
    let (mut labels, mut first) = (Vec::new(), Vec::new());
    read_labels(&answer.labels, &mut labels, &mut take)?;
    read_labels(&answer.first, &mut first, &mut take)?;
    let mut rows = columns::decode(&answer.columns, steps, &mut take)?;
    if labels.len() != rows.len() || !first.is_empty() && first.len() != rows.len() {
        return Err(Malformed("as many label sets as rows were expected").into());
    }
    let mut first = first.into_iter();
    for (row, labels) in rows.iter_mut().zip(labels) {
        (row.labels, row.first) = (labels, first.next());
    }
    Ok(rows)
}
