//! `read`: remote read.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use pharos_model::{Budget, Labels};

use crate::error::ApiError;
use crate::remote_read::{self, ReadLimits};
use crate::{Frontend, tenant_of};

/// Largest request that is read, bytes.
const MAX_REQUEST_BYTES: usize = 32 << 20;

/// `POST /api/v1/read`
pub(super) async fn read(State(frontend): State<Arc<Frontend>>, headers: HeaderMap, body: Body) -> Response {
    let decoded = async {
        let tenant = tenant_of(&headers)?;
        let body = to_bytes(body, MAX_REQUEST_BYTES).await.map_err(|e| ApiError::bad_data(e.to_string()))?;
        Ok::<_, ApiError>((tenant, body))
    };
    let (tenant, body) = match decoded.await {
        Ok(decoded) => decoded,
        Err(error) => return error.into_response(),
    };
    let config = &frontend.config;
    let budget = Arc::new(Budget::new(frontend.clock.clone(), config.timeout, config.max_memory_bytes));
    let limits = ReadLimits {
        max_samples: config.remote_read_sample_limit,
        external_labels: Labels::from_pairs(config.external_labels.iter().map(|(n, v)| (n, v))),
        ..ReadLimits::new(budget)
    };
    remote_read::read(body, Arc::new(frontend.sources.of_tenant(tenant)), limits).await
}
