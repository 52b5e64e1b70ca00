//! The read path: what is in memory.
//!
//! That is what no block holds yet, and what blocks have taken over less than the grace period ago. [`SeriesSource::complete_from`]
//! says from which time on nothing else need be asked; what both have before that, the merge shows once.

use std::sync::Arc;
use std::time::Duration;

use pharos_head::HeadFilter;
use pharos_model::{Budget, Labels, Matcher, Metadata, SelectError, SelectRequest, SeriesSet, TenantId, TimeRange};
use pharos_rpc::{SeriesExemplars, SeriesSource};

use crate::Ingester;
use crate::complete::{Facts, complete_from};

impl SeriesSource for Ingester {
    fn complete_from(&self, tenant: &TenantId, lasting: Duration) -> i64 {
        // The view first: a block of it was cut from windows that the head tells of afterwards.
        let view = self.meta.view();
        let windows = self.head.windows(tenant);
        let (identity, now_ms, grace) = (&*self.config.identity, self.clock.now_ms(), self.config.grace);
        let catalogue = view.catalogue.tenant(tenant.as_str());
        let blocks = catalogue.into_iter().flat_map(|t| &t.blocks).map(Arc::as_ref);
        complete_from(Facts { identity, now_ms, lasting, grace }, blocks, &windows)
    }

    fn select(
        &self,
        tenant: &TenantId,
        request: &SelectRequest,
        budget: &Arc<Budget>,
    ) -> Result<Arc<dyn SeriesSet>, SelectError> {
        budget.check()?;
        self.head.select(tenant, request, HeadFilter::ALL)
    }

    fn series(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>, SelectError> {
        let mut found = self.head.series(tenant, matchers, range, HeadFilter::ALL);
        if limit > 0 {
            found.truncate(limit);
        }
        Ok(found)
    }

    fn label_names(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<String>, SelectError> {
        Ok(self.head.label_names(tenant, matchers, range, HeadFilter::ALL))
    }

    fn label_values(
        &self,
        tenant: &TenantId,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<String>, SelectError> {
        Ok(self.head.label_values(tenant, name, matchers, range, HeadFilter::ALL))
    }

    fn exemplars(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<SeriesExemplars>, SelectError> {
        let found = self.head.exemplars(tenant, &[matchers.to_vec()], range, None);
        Ok(found.into_iter().map(|s| SeriesExemplars { labels: s.labels, exemplars: s.exemplars }).collect())
    }

    fn metadata(&self, tenant: &TenantId) -> Result<Vec<(String, Metadata)>, SelectError> {
        Ok(self.head.metadata(tenant).into_iter().collect())
    }
}
