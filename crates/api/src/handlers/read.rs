//! `read`: serves remote reads within the tenant's limits.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use pharos_model::{Labels, Purpose};

use super::respond;
use crate::error::ApiError;
use crate::remote_read::request::MAX_REQUEST_BYTES;
use crate::remote_read::{self, ReadLimits};
use crate::{Api, tenant_of};

/// How many times longer than its decompressed bytes a request may be in memory: an empty matcher has two bytes in the message.
const DECODED_FACTOR: usize = 32;

/// Handles `POST /api/v1/read`.
pub(super) async fn read(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Response {
    let decoded = async {
        let tenant = tenant_of(&headers)?;
        let hold = api.memory.open(&tenant, Purpose::Query);
        let body = crate::body::read(body, MAX_REQUEST_BYTES, &hold).await?;
        let declared = snap::raw::decompress_len(&body).unwrap_or(0).min(MAX_REQUEST_BYTES);
        hold.draw((declared * DECODED_FACTOR) as u64)?;
        Ok::<_, ApiError>((tenant, body, hold))
    };
    let (tenant, body, _hold) = match decoded.await {
        Ok(decoded) => decoded,
        Err(error) => return error.into_response(),
    };
    let config = &api.config;
    let tenants_limits = api.config.limits.load().of(&tenant).clone();
    let turn =
        match api.reads.admit(&api.admission.party(&tenant), tenants_limits.max_queued, tenants_limits.timeout).await {
            Ok(turn) => turn,
            Err(error) => return ApiError::from(error).into_response(),
        };
    let limits = ReadLimits {
        max_samples: config.remote_read_sample_limit,
        max_series: tenants_limits.max_series,
        max_frame_bytes: config.remote_read_frame_bytes,
        _turn: Some(turn),
        external_labels: Labels::from_pairs(config.external_labels.iter().map(|(n, v)| (n, v))),
        tenant: tenant.clone(),
        ..ReadLimits::new(api.budget(&tenant), api.unsent.clone())
    };
    match api.sources.of_tenant(tenant).await {
        Ok(querier) => {
            // The headers go out before the samples are read.
            querier.settle().await;
            let warnings = querier.warnings();
            let response = remote_read::read(body.into(), Arc::new(querier), limits).await;
            respond::with_warning_headers(response, &warnings)
        }
        Err(stale) => ApiError::from(stale).into_response(),
    }
}
