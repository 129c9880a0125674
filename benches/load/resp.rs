//! As much of RESP2 as a load generator speaks.

/// A reply at the head of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    Status(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Bulk(&'a [u8]),
    Null,
}

/// Appends `parts` as a command.
pub(crate) fn command(parts: &[&[u8]], out: &mut Vec<u8>) {
    header(b'*', parts.len(), out);
    for part in parts {
        header(b'$', part.len(), out);
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

fn header(kind: u8, count: usize, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = count;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).expect("a remainder of ten is a digit");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.push(kind);
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// The reply that `buffer` begins with and its length in bytes; `None` while it is not whole.
///
/// Errors with what is not RESP, which ends the connection.
pub(crate) fn reply(buffer: &[u8]) -> Result<Option<(Reply<'_>, usize)>, String> {
    let Some(end) = buffer.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let line = &buffer[1..end];
    let whole = end + 2;
    Ok(Some(match buffer[0] {
        b'+' => (Reply::Status(line), whole),
        b'-' => (Reply::Error(line), whole),
        b':' => (Reply::Integer(integer(line)?), whole),
        b'$' => match usize::try_from(integer(line)?) {
            Err(_) => (Reply::Null, whole),
            Ok(length) if buffer.len() < whole + length + 2 => return Ok(None),
            Ok(length) => (Reply::Bulk(&buffer[whole..whole + length]), whole + length + 2),
        },
        other => return Err(format!("a reply begins with byte {other}")),
    }))
}

fn integer(line: &[u8]) -> Result<i64, String> {
    let text = std::str::from_utf8(line).map_err(|error| error.to_string())?;
    text.parse().map_err(|_| format!("{text} is not an integer"))
}
