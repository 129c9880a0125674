//! Who may use the data: the password, and no other site's pages.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Api;
use crate::config::{Announce, Password};
use crate::metrics::Counter;

const CHALLENGE: &str = "Basic realm=\"sisyphusdb\", charset=\"UTF-8\", Bearer realm=\"sisyphusdb\"";

const STRANGE_NAME: &str = "Without requirepass, the node answers to no name of the public DNS but \
     cluster-announce-hostname. Use its address.";

/// The ends of names that only who runs this network can give (RFC 6761, RFC 6762, ICANN SAC113).
const PRIVATE_DOMAINS: [&str; 3] = [".localhost", ".local", ".internal"];

/// Lets a request pass that has the password and does not come from another site.
pub(super) async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    if from_another_site(request.headers(), request.uri()) {
        return (StatusCode::FORBIDDEN, "Pages of other sites may not use this.").into_response();
    }
    let permitted = match &api.config.settings().requirepass {
        None if by_a_strange_name(request.headers(), request.uri(), &api.config.announce) => {
            return (StatusCode::FORBIDDEN, STRANGE_NAME).into_response();
        }
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

/// Whether the request names the node as a stranger may have named it. Who owns a name can let it lead to 127.0.0.1
/// once his page is loaded (DNS rebinding): to the browser the node is then the page's own site, and only the name
/// that it sends tells the difference. Whoever has the password has shown more than a name, so this is for nodes
/// without one.
fn by_a_strange_name(headers: &HeaderMap, uri: &Uri, announce: &Announce) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter().map(header::HeaderValue::as_bytes);
    let known = |host: &[u8]| Authority::try_from(host).is_ok_and(|host| is_ours(host.host(), announce));
    // What a request line names in full counts as well. No browser sends neither.
    !hosts.all(known) || uri.authority().is_some_and(|authority| !is_ours(authority.host(), announce))
}

/// Whether no stranger can own the name `host`: it is an address, announced, has no dot, or is of a private domain.
fn is_ours(host: &str, announce: &Announce) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if host.parse::<Ipv4Addr>().is_ok() || address.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok()) {
        return true;
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let announced = announce.hostname.iter().chain(&announce.ip);
    !host.contains('.')
        || PRIVATE_DOMAINS.iter().any(|domain| host.ends_with(domain))
        || announced.into_iter().any(|name| name.eq_ignore_ascii_case(&host))
}
