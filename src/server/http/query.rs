//! Keys and values out of an address: percent-decoded bytes, which need not be text.

use axum::http::StatusCode;
use bytes::Bytes;

/// A request that cannot be understood, with the reason.
pub(super) type BadRequest = (StatusCode, String);

fn bad(what: String) -> BadRequest {
    (StatusCode::BAD_REQUEST, what)
}

/// The parameters of an address, decoded. The first of several with one name counts.
pub(super) struct Query(Vec<(Vec<u8>, Vec<u8>)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, BadRequest> {
        let pair = |pair: &str| -> Result<(Vec<u8>, Vec<u8>), BadRequest> {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode_form(name)?, decode_form(value)?))
        };
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        pairs.map(pair).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(given, _)| given == name.as_bytes());
        found.map(|(_, value)| value.as_slice())
    }

    /// A parameter that must be there; it may be empty.
    pub(super) fn required(&self, name: &str) -> Result<Bytes, BadRequest> {
        let value = self.get(name).ok_or_else(|| bad(format!("Missing {name}")))?;
        Ok(Bytes::copy_from_slice(value))
    }

    /// `ttl`: a number of seconds, at least one.
    pub(super) fn ttl(&self) -> Result<Option<u64>, BadRequest> {
        let Some(text) = self.get("ttl") else {
            return Ok(None);
        };
        let seconds = std::str::from_utf8(text).ok().and_then(|text| text.parse::<u64>().ok());
        match seconds {
            Some(seconds) if seconds > 0 => Ok(Some(seconds)),
            _ => Err(bad("ttl must be a number of seconds, at least 1".to_string())),
        }
    }
}

/// The key in a path `/kv/{key}`, in which `+` and `/` stand for themselves.
pub(super) fn path_key(path: &str) -> Result<Bytes, BadRequest> {
    let key = path.strip_prefix("/kv/").ok_or_else(|| bad("Missing key".to_string()))?;
    decode(key.bytes()).map(Bytes::from)
}

/// Decodes a part of a query, in which `+` is a blank.
fn decode_form(text: &str) -> Result<Vec<u8>, BadRequest> {
    decode(text.bytes().map(|byte| if byte == b'+' { b' ' } else { byte }))
}

/// Decodes `%xx`. Unlike a lenient decoder it refuses what is not an escape: a key must not be guessed.
fn decode(mut bytes: impl Iterator<Item = u8>) -> Result<Vec<u8>, BadRequest> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => match (digit(bytes.next()), digit(bytes.next())) {
                (Some(high), Some(low)) => u8::try_from(high << 4 | low).expect("two hexadecimal digits"),
                _ => return Err(bad("% must be followed by two hexadecimal digits".to_string())),
            },
            byte => byte,
        });
    }
    Ok(decoded)
}
