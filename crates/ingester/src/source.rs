//! The read path: what is not in blocks yet.
//!
//! Everything from the tenant's boundary on, and late samples before it that no block holds. What is flushed between
//! this answer and that of the store nodes is in both; the merge shows it once.

use std::sync::Arc;

use pharos_head::HeadFilter;
use pharos_model::{Budget, Labels, Matcher, Metadata, SelectError, SelectRequest, SeriesSet, TenantId, TimeRange};
use pharos_rpc::{SeriesExemplars, SeriesSource};

use crate::Ingester;

impl Ingester {
    fn filter(&self, tenant: &TenantId) -> HeadFilter {
        let view = self.meta.view();
        let boundary = view.catalogue.tenant(tenant.as_str()).and_then(|t| t.boundary);
        HeadFilter { from: boundary.unwrap_or(i64::MIN), ..HeadFilter::ALL }
    }
}

impl SeriesSource for Ingester {
    fn select(
        &self,
        tenant: &TenantId,
        request: &SelectRequest,
        budget: &Arc<Budget>,
    ) -> Result<Arc<dyn SeriesSet>, SelectError> {
        budget.check()?;
        self.head.select(tenant, request, self.filter(tenant))
    }

    fn series(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>, SelectError> {
        let mut found = self.head.series(tenant, matchers, range, self.filter(tenant));
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
        Ok(self.head.label_names(tenant, matchers, range, self.filter(tenant)))
    }

    fn label_values(
        &self,
        tenant: &TenantId,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<String>, SelectError> {
        Ok(self.head.label_values(tenant, name, matchers, range, self.filter(tenant)))
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
