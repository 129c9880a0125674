//! Reading and writing keys.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::Api;
use super::query::{Query, path_key};
use super::reply::Reply;

const SUCCESS: &str = "Success";
const KEY_NOT_FOUND: &str = "Key not found";

impl Api {
    /// Runs a command.
    pub(super) async fn run(&self, words: impl IntoIterator<Item = Bytes>) -> Reply {
        Reply::of(&(self.call)(words.into_iter().collect()).await)
    }

    async fn write(&self, key: Bytes, value: Bytes, ttl_seconds: Option<u64>) -> Response {
        let limit = self.config.settings().proto_max_bulk_len;
        if key.len() > limit || value.len() > limit {
            return (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("A key or value may have at most {limit} bytes."),
            )
                .into_response();
        }
        let mut words = vec![Bytes::from_static(b"SET"), key, value];
        if let Some(seconds) = ttl_seconds {
            words.extend([Bytes::from_static(b"EX"), Bytes::from(seconds.to_string())]);
        }
        match self.run(words).await {
            Reply::Status => SUCCESS.into_response(),
            reply => reply.refused(),
        }
    }

    async fn read(&self, key: Bytes, content_type: &'static str) -> Response {
        match self.run([Bytes::from_static(b"GET"), key]).await {
            Reply::Value(value) => ([(header::CONTENT_TYPE, content_type)], value).into_response(),
            Reply::Nothing => (StatusCode::NOT_FOUND, KEY_NOT_FOUND).into_response(),
            reply => reply.refused(),
        }
    }

    async fn remove(&self, key: Bytes) -> Response {
        match self.run([Bytes::from_static(b"DEL"), key]).await {
            Reply::Integer(0) => (StatusCode::NOT_FOUND, KEY_NOT_FOUND).into_response(),
            Reply::Integer(_) => SUCCESS.into_response(),
            reply => reply.refused(),
        }
    }
}

pub(super) async fn put(State(api): State<Arc<Api>>, uri: Uri) -> Response {
    let parts = Query::parse(uri.query())
        .and_then(|query| Ok((query.required("key")?, query.required("val")?, query.ttl()?)));
    match parts {
        Ok((key, value, ttl)) => api.write(key, value, ttl).await,
        Err(error) => error.into_response(),
    }
}

pub(super) async fn get(State(api): State<Arc<Api>>, uri: Uri) -> Response {
    match Query::parse(uri.query()).and_then(|query| query.required("key")) {
        Ok(key) => api.read(key, "text/plain; charset=utf-8").await,
        Err(error) => error.into_response(),
    }
}

pub(super) async fn delete(State(api): State<Arc<Api>>, uri: Uri) -> Response {
    match Query::parse(uri.query()).and_then(|query| query.required("key")) {
        Ok(key) => api.remove(key).await,
        Err(error) => error.into_response(),
    }
}

pub(super) async fn kv(State(api): State<Arc<Api>>, request: Request) -> Response {
    let key = match path_key(request.uri().path()) {
        Ok(key) => key,
        Err(error) => return error.into_response(),
    };
    match *request.method() {
        Method::GET | Method::HEAD => api.read(key, "application/octet-stream").await,
        Method::DELETE => api.remove(key).await,
        Method::PUT => kv_put(&api, key, request).await,
        _ => {
            let allowed = [(header::ALLOW, "GET, HEAD, PUT, DELETE")];
            (StatusCode::METHOD_NOT_ALLOWED, allowed, Body::empty()).into_response()
        }
    }
}

async fn kv_put(api: &Api, key: Bytes, request: Request) -> Response {
    let ttl = match Query::parse(request.uri().query()).and_then(|query| query.ttl()) {
        Ok(ttl) => ttl,
        Err(error) => return error.into_response(),
    };
    let limit = api.config.settings().proto_max_bulk_len;
    let (parts, body) = request.into_parts();
    match api.bodies.receive(&parts.headers, body, limit).await {
        Ok(body) => api.write(key, body.bytes.clone(), ttl).await,
        Err(error) => error.into_response(),
    }
}
