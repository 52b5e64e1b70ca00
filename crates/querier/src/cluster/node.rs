//! A node to read from, in this process or behind the network, with the same reads.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::{Budget, Fragment, FragmentAnswer, Labels, Matcher, Metadata, SelectRequest, SeriesSet, TimeRange};
use pharos_transport::query::{ReadError, RemoteSet};
use pharos_transport::{Completeness, RemoteSource, Scope, SeriesExemplars, SeriesSource};

/// A role of a node.
#[derive(Clone)]
pub(crate) enum Node {
    /// In this process.
    Local(Arc<dyn SeriesSource>),
    /// In another process.
    Remote(RemoteSource),
}

/// A selection on a node.
pub(crate) enum Selected {
    /// In this process.
    Local(Arc<dyn SeriesSet>),
    /// In another process.
    Remote(Arc<RemoteSet>),
}

impl Node {
    /// Runs blocking work on a thread that may block.
    async fn blocking<T: Send + 'static, E: Into<ReadError> + Send + 'static>(
        source: &Arc<dyn SeriesSource>,
        work: impl FnOnce(&dyn SeriesSource) -> Result<T, E> + Send + 'static,
    ) -> Result<T, ReadError> {
        let source = source.clone();
        match tokio::task::spawn_blocking(move || work(source.as_ref())).await {
            Ok(done) => done.map_err(Into::into),
            Err(error) => Err(ReadError::Unreachable(format!("this node failed to answer: {error}"))),
        }
    }

    /// As [`Node::blocking`], after the source has confirmed that it has what the scope requires. Remote sources check that
    /// themselves.
    async fn covered<T: Send + 'static, E: Into<ReadError> + Send + 'static>(
        source: &Arc<dyn SeriesSource>,
        scope: Scope,
        budget: Arc<Budget>,
        work: impl FnOnce(&dyn SeriesSource, &Scope, &Arc<Budget>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, ReadError> {
        let check_and_work = move |source: &dyn SeriesSource| {
            source.covers(&scope, budget.remaining())?;
            work(source, &scope, &budget).map_err(Into::into)
        };
        Self::blocking::<T, ReadError>(source, check_and_work).await
    }

    pub(crate) async fn select(
        &self,
        scope: Scope,
        request: SelectRequest,
        budget: Arc<Budget>,
    ) -> Result<Selected, ReadError> {
        match self {
            Node::Remote(source) => Ok(Selected::Remote(Arc::new(source.select(&scope, &request, &budget).await?))),
            Node::Local(source) => {
                let select = move |source: &dyn SeriesSource, scope: &Scope, budget: &Arc<Budget>| {
                    source.select(scope, &request, budget)
                };
                Ok(Selected::Local(Self::covered(source, scope, budget, select).await?))
            }
        }
    }

    pub(crate) async fn completeness(
        &self,
        scope: Scope,
        lasting: Duration,
        budget: Arc<Budget>,
    ) -> Result<Completeness, ReadError> {
        match self {
            Node::Remote(source) => source.read_completeness(&scope, lasting, &budget).await,
            Node::Local(source) => Self::blocking(source, move |source| source.completeness(&scope, lasting)).await,
        }
    }

    pub(crate) async fn series(
        &self,
        scope: Scope,
        matchers: Arc<[Matcher]>,
        range: TimeRange,
        limit: usize,
        budget: Arc<Budget>,
    ) -> Result<Vec<Labels>, ReadError> {
        match self {
            Node::Remote(source) => source.read_series(&scope, &matchers, range, limit, &budget).await,
            Node::Local(source) => {
                let read = move |source: &dyn SeriesSource, scope: &Scope, _: &Arc<Budget>| {
                    source.series(scope, &matchers, range, limit)
                };
                Self::covered(source, scope, budget, read).await
            }
        }
    }

    /// Label names, or the values of a label.
    pub(crate) async fn names(
        &self,
        scope: Scope,
        label: Option<Arc<str>>,
        matchers: Arc<[Matcher]>,
        range: TimeRange,
        budget: Arc<Budget>,
    ) -> Result<Vec<String>, ReadError> {
        match self {
            Node::Remote(source) => source.read_names(&scope, label.as_deref(), &matchers, range, &budget).await,
            Node::Local(source) => {
                let read = move |source: &dyn SeriesSource, scope: &Scope, _: &Arc<Budget>| match &label {
                    Some(label) => source.label_values(scope, label, &matchers, range),
                    None => source.label_names(scope, &matchers, range),
                };
                Self::covered(source, scope, budget, read).await
            }
        }
    }

    pub(crate) async fn exemplars(
        &self,
        scope: Scope,
        matchers: Arc<[Matcher]>,
        range: TimeRange,
        budget: Arc<Budget>,
    ) -> Result<Vec<SeriesExemplars>, ReadError> {
        match self {
            Node::Remote(source) => source.read_exemplars(&scope, &matchers, range, &budget).await,
            Node::Local(source) => {
                Self::blocking(source, move |source| source.exemplars(&scope, &matchers, range)).await
            }
        }
    }

    pub(crate) async fn metadata(
        &self,
        scope: Scope,
        budget: Arc<Budget>,
    ) -> Result<Vec<(String, Metadata)>, ReadError> {
        match self {
            Node::Remote(source) => source.read_metadata(&scope, &budget).await,
            Node::Local(source) => Self::blocking(source, move |source| source.metadata(&scope)).await,
        }
    }

    pub(crate) async fn evaluate(
        &self,
        scope: Scope,
        fragment: Arc<Fragment>,
        budget: Arc<Budget>,
    ) -> Result<FragmentAnswer, ReadError> {
        match self {
            Node::Remote(source) => source.read_fragment(&scope, &fragment, &budget).await,
            Node::Local(source) => {
                let read = move |source: &dyn SeriesSource, scope: &Scope, budget: &Arc<Budget>| {
                    source.evaluate(scope, &fragment, budget)
                };
                Self::covered(source, scope, budget, read).await
            }
        }
    }
}
