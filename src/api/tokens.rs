//! Where clients fetch a token to show in place of a password (distribution v3, "Token Authentication Specification").

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use secrecy::ExposeSecret;
use serde_json::json;

use super::body::{ResponseBody, full};
use super::caller::Caller;
use super::error::ApiError;
use super::query::query_values;
use crate::access::Scope;

/// A token for whoever asks, for what they ask for, as far as they may: in part, and never refused as a whole.
///
/// Only by GET: clients that would rather send a form fall back to it.
pub(super) fn give(caller: &Caller<'_>, query: &str) -> Result<Response<ResponseBody>, ApiError> {
    let wanted: Vec<String> = query_values(query, "scope").collect();
    let parts = wanted.iter().flat_map(|scope| scope.split(' '));
    let scope = Scope::granted(parts, |image, action| caller.may(image, action));
    let (token, lifetime) = caller.pass(scope).ok_or(ApiError::NotFound)?;
    let token = token.expose_secret();
    // Older clients look for the one, newer ones for the other.
    let body = json!({"token": token, "access_token": token, "expires_in": lifetime.as_secs()}).to_string();
    let mut response = Response::new(full(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
