//! Replies of commands in RESP2, and what they mean in HTTP.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::unavailable;
use crate::keyspace::CommandError;
use crate::server::local::LocalReply;

/// The reply of one of the commands used here: none of them answers with an array.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Status,
    Integer(i64),
    Value(Bytes),
    Nothing,
    Error(String),
    /// There is no reply: it was not done.
    NotDone,
    /// There is no reply, or none that can be read: what happened is not known.
    Unknown,
}

impl Reply {
    pub(super) fn of(local: &LocalReply) -> Self {
        match local {
            LocalReply::Reply(reply) => Self::try_parse(reply).unwrap_or(Self::Unknown),
            LocalReply::NotDone => Self::NotDone,
            LocalReply::Unknown => Self::Unknown,
        }
    }

    fn try_parse(reply: &Bytes) -> Option<Self> {
        let end = reply.windows(2).position(|pair| pair == b"\r\n")?;
        let line = std::str::from_utf8(reply.get(1..end)?).ok();
        match reply.first()? {
            b'+' => Some(Self::Status),
            b'-' => Some(Self::Error(String::from_utf8_lossy(&reply[1..end]).into_owned())),
            b':' => line?.parse().ok().map(Self::Integer),
            b'$' if line? == "-1" => Some(Self::Nothing),
            b'$' => {
                let length: usize = line?.parse().ok()?;
                let from = end + 2;
                (reply.len() == from + length + 2).then(|| Self::Value(reply.slice(from..from + length)))
            }
            _ => None,
        }
    }

    /// The answer for a reply that is not what the command answers when it is done.
    pub(super) fn refused(self) -> Response {
        match self {
            Self::Error(error) => refused(error),
            Self::NotDone => unavailable("This was not done; try again.".to_string()),
            Self::Unknown | Self::Status | Self::Integer(_) | Self::Value(_) | Self::Nothing => {
                (StatusCode::GATEWAY_TIMEOUT, "It is not known whether this was done.").into_response()
            }
        }
    }
}

fn refused(error: String) -> Response {
    let prefix = error.split(' ').next().unwrap_or_default();
    let status = match prefix {
        // What these name had no effect and may succeed later.
        "LOADING" | "TRYAGAIN" | "CLUSTERDOWN" | "READONLY" | "MOVED" | "MASTERDOWN" | "OOM" | "BUSY"
        | "MISCONF" => {
            return unavailable(error);
        }
        "TIMEOUT" => StatusCode::GATEWAY_TIMEOUT,
        "WRONGTYPE" => StatusCode::CONFLICT,
        "NOAUTH" | "WRONGPASS" => StatusCode::UNAUTHORIZED,
        "NOPERM" => StatusCode::FORBIDDEN,
        _ if is_too_large(&error) => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    (status, error).into_response()
}

fn is_too_large(error: &str) -> bool {
    [CommandError::StringTooLong, CommandError::EffectsTooLarge]
        .iter()
        .any(|known| known.to_string() == error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(reply: &'static str) -> Reply {
        Reply::of(&LocalReply::Reply(Bytes::from_static(reply.as_bytes())))
    }

    #[test]
    fn replies_are_read_whole_or_not_at_all() {
        assert_eq!(parse("+OK\r\n"), Reply::Status);
        assert_eq!(parse(":-7\r\n"), Reply::Integer(-7));
        assert_eq!(parse("$-1\r\n"), Reply::Nothing);
        assert_eq!(parse("$0\r\n\r\n"), Reply::Value(Bytes::new()));
        assert_eq!(parse("$4\r\na\r\nb\r\n"), Reply::Value(Bytes::from_static(b"a\r\nb")));
        assert_eq!(parse("-ERR x y\r\n"), Reply::Error("ERR x y".to_string()));
        for broken in ["", "+", "+OK", "$5\r\nabc\r\n", "$x\r\n", ":1x\r\n", "*0\r\n", "\r\n"] {
            assert_eq!(parse(broken), Reply::Unknown, "{broken:?}");
        }
    }

    #[test]
    fn errors_keep_their_meaning() {
        for (error, status) in [
            ("WRONGTYPE Operation against a key", 409),
            ("TIMEOUT unknown", 504),
            ("OOM command not allowed", 503),
            ("LOADING Redis is loading", 503),
            (&CommandError::DiskFull.to_string(), 503),
            (&CommandError::StringTooLong.to_string(), 413),
            (&CommandError::EffectsTooLarge.to_string(), 413),
            ("ERR invalid expire time in 'set' command", 400),
        ] {
            let response = Reply::Error(error.to_string()).refused();
            assert_eq!(response.status(), status, "{error}");
            assert_eq!(response.headers().contains_key("retry-after"), status == 503, "{error}");
        }
        assert_eq!(Reply::of(&LocalReply::Unknown).refused().status(), 504);
        assert_eq!(Reply::of(&LocalReply::NotDone).refused().status(), 503);
    }
}
