//! Who sends a request, and whether it may see what concerns other tenants.
//!
//! Targets and the configuration belong to the tenant that scrapes, which is the default one. Requests in the name of
//! another tenant see them only if [`TenantDetails`] permits it, and so do requests that would see the names of all tenants.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use pharos_model::TenantId;

use crate::error::{ApiError, ErrorKind};
use crate::query_log::ClientAddress;
use crate::{Api, tenant_of};

/// Who may see what concerns other tenants than the one that a request names, `--web.tenant-details`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TenantDetails {
    /// Requests from the same machine that no proxy and no page of another origin sent.
    #[default]
    Loopback,
    /// Every request.
    Everyone,
    /// No request.
    Nobody,
}

impl TenantDetails {
    /// Whether a request may see what concerns other tenants.
    pub fn are_shown_to(self, headers: &HeaderMap, peer: Option<IpAddr>) -> bool {
        match self {
            TenantDetails::Loopback => is_from_this_machine(headers, peer),
            TenantDetails::Everyone => true,
            TenantDetails::Nobody => false,
        }
    }
}

/// Whether a request comes from the same machine. Those that a proxy or a page of another origin sent do not count.
pub fn is_from_this_machine(headers: &HeaderMap, peer: Option<IpAddr>) -> bool {
    let foreign = [header::ORIGIN.as_str(), header::FORWARDED.as_str(), "x-forwarded-for"];
    peer.is_some_and(|peer| peer.to_canonical().is_loopback())
        && !foreign.iter().any(|name| headers.contains_key(*name))
}

/// The sender of a request.
pub(crate) struct Viewer {
    pub(crate) tenant: TenantId,
    /// Whether it may see what concerns other tenants.
    pub(crate) sees_all: bool,
}

impl Viewer {
    /// Whether it may see targets and the configuration.
    pub(crate) fn sees_configured(&self) -> bool {
        self.sees_all || self.tenant == TenantId::default()
    }

    /// Fails unless the configuration may be shown.
    ///
    /// # Errors
    /// The request names another tenant and `--web.tenant-details` does not permit it.
    pub(crate) fn check_configured(&self) -> Result<(), ApiError> {
        if self.sees_configured() {
            return Ok(());
        }
        let reason = format!("tenant {} may not see the settings of the server: see --web.tenant-details", self.tenant);
        Err(ApiError::new(ErrorKind::Unavailable, reason))
    }
}

impl FromRequestParts<Arc<Api>> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<ClientAddress>().map(|address| address.0);
        let sees_all = api.config.tenant_details.are_shown_to(&parts.headers, peer);
        Ok(Viewer { tenant: tenant_of(&parts.headers)?, sees_all })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_same_machine_sees_all_tenants_by_default_but_not_through_a_proxy() {
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 0, 0, 1]));
        let proxied =
            HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), HeaderValue::from_static("10.0.0.1"))]);
        let default = TenantDetails::default();
        assert!(default.are_shown_to(&HeaderMap::new(), Some(here)));
        assert!(!default.are_shown_to(&proxied, Some(here)));
        assert!(!default.are_shown_to(&HeaderMap::new(), Some(there)));
        assert!(!default.are_shown_to(&HeaderMap::new(), None));
        assert!(TenantDetails::Everyone.are_shown_to(&proxied, Some(there)));
        assert!(!TenantDetails::Nobody.are_shown_to(&HeaderMap::new(), Some(here)));
    }
}
