//! The patterns of KEYS and SCAN.

/// Whether `text` matches `pattern`: `*` is any bytes, `?` one byte, `[…]` one of a class (`^` negates, `-` makes a
/// range), `\` takes the next byte as it is. A class that is not closed ends with the pattern, as in Redis.
///
/// Time is at most the product of the two lengths: after a mismatch only the last `*` is tried again.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            retry = Some((rest, text));
            pattern = rest;
            continue;
        }
        match (text, step(pattern, text)) {
            ([], None) if pattern.is_empty() => return true,
            ([], _) => return false,
            ([_, after @ ..], Some(rest)) => (pattern, text) = (rest, after),
            (_, None) => match retry {
                Some((star, [_, after @ ..])) => {
                    retry = Some((star, after));
                    (pattern, text) = (star, after);
                }
                Some((_, [])) | None => return false,
            },
        }
    }
}

/// What is left of `pattern` if its first element, not a `*`, matches the first byte of `text`.
fn step<'p>(pattern: &'p [u8], text: &[u8]) -> Option<&'p [u8]> {
    let &byte = text.first()?;
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', class @ ..] => {
            let (is_in, rest) = class_contains(class, byte);
            is_in.then_some(rest)
        }
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte).then_some(rest),
    }
}

/// Whether a class, given without its `[`, contains `byte`, and what follows it.
fn class_contains(class: &[u8], byte: u8) -> (bool, &[u8]) {
    let (is_negated, mut rest) = match class {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut is_in = false;
    let rest = loop {
        match rest {
            [b'\\', literal, after @ ..] => {
                is_in |= *literal == byte;
                rest = after;
            }
            [b']', after @ ..] => break after,
            [] => break rest,
            [low, b'-', high, after @ ..] => {
                is_in |= (*low.min(high)..=*low.max(high)).contains(&byte);
                rest = after;
            }
            [literal, after @ ..] => {
                is_in |= *literal == byte;
                rest = after;
            }
        }
    };
    (is_in != is_negated, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_redis() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "a", true),
            ("*b*", "abc", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcdef", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-]llo", "h-llo", false),
            ("h[a-z]", "hz", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[\\]]", "]", true),
            ("[a", "a", true),
            ("[^a", "b", true),
            ("a\\", "a\\", true),
            ("[]", "a", false),
            ("**", "ab", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = b"*a".repeat(200);
        let text = vec![b'a'; 10_000];
        assert!(matches(&pattern, &text));
        let mut missing = pattern;
        missing.push(b'b');
        assert!(!matches(&missing, &text));
    }
}
