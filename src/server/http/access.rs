//! Who may use the data: the password, and no other site's pages.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Api;
use crate::config::Password;
use crate::metrics::Counter;

const CHALLENGE: &str = "Basic realm=\"sisyphusdb\", charset=\"UTF-8\", Bearer realm=\"sisyphusdb\"";

/// Lets a request pass that has the password and does not come from another site.
pub(super) async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    if from_another_site(request.headers(), request.uri()) {
        return (StatusCode::FORBIDDEN, "Pages of other sites may not use this.").into_response();
    }
    let permitted = match &api.config.settings().requirepass {
        None => true,
        Some(password) => authorized(request.headers(), password),
    };
    if !permitted {
        api.stats.count(Counter::AuthFailures, 1);
        let challenge = [(header::WWW_AUTHENTICATE, CHALLENGE)];
        return (StatusCode::UNAUTHORIZED, challenge, "Authentication required.").into_response();
    }
    next.run(request).await
}

/// `Basic` with the user `default` (or none), or `Bearer`, and the password.
fn authorized(headers: &HeaderMap, password: &Password) -> bool {
    let given = headers.get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes).unwrap_or_default();
    let Some(space) = given.iter().position(|byte| *byte == b' ') else {
        return false;
    };
    let (scheme, credentials) = (&given[..space], given[space..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return password.matches(credentials);
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return false;
    }
    let Ok(decoded) = STANDARD.decode(credentials) else {
        return false;
    };
    match decoded.iter().position(|byte| *byte == b':') {
        Some(colon) => {
            let user = &decoded[..colon];
            (user.is_empty() || user == b"default") && password.matches(&decoded[colon + 1..])
        }
        None => false,
    }
}

/// Whether a browser sends this for a page of another site. `/put` and `/delete` answer GET, as they always did, so an
/// image in any page could write; and a node on a developer's machine has no password.
fn from_another_site(headers: &HeaderMap, uri: &Uri) -> bool {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        return site != "same-origin" && site != "none";
    }
    let host = text(header::HOST).or_else(|| uri.authority().map(ToString::to_string));
    match text(header::ORIGIN) {
        None => false,
        Some(origin) => origin.split_once("://").map(|(_, origin)| origin) != host.as_deref(),
    }
}
