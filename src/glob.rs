//! The globs of KEYS, SCAN MATCH, CONFIG GET and `include`: `*`, `?`, `[a-z]`, `[^a]`, and `\` before any of them.
//!
//! Only the last `*` is ever tried again, which is enough, since an earlier one that took more could not find a match
//! that the last one misses. So the time is at most the product of both lengths, whatever the pattern.

/// Whether all of `text` matches `pattern`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    run(pattern, text, false)
}

/// Whether all of `text` matches `pattern` when the case of ASCII letters is ignored.
pub fn matches_in_any_case(pattern: &[u8], text: &[u8]) -> bool {
    run(pattern, text, true)
}

fn run(pattern: &[u8], text: &[u8], fold: bool) -> bool {
    let mut pattern_at = 0;
    let mut text_at = 0;
    // Where the last `*` stood, and the text that it has not taken yet.
    let mut retry: Option<(usize, usize)> = None;
    while text_at < text.len() {
        if pattern.get(pattern_at) == Some(&b'*') {
            pattern_at += 1;
            retry = Some((pattern_at, text_at));
            continue;
        }
        if let Some(after) = one(&pattern[pattern_at..], text[text_at], fold) {
            pattern_at += after;
            text_at += 1;
            continue;
        }
        let Some((after_star, from)) = retry else { return false };
        pattern_at = after_star;
        text_at = from + 1;
        retry = Some((after_star, text_at));
    }
    pattern[pattern_at..].iter().all(|&rest| rest == b'*')
}

/// How many bytes of `pattern` the one element takes that matches `byte`.
fn one(pattern: &[u8], byte: u8, fold: bool) -> Option<usize> {
    let same = |a: u8, b: u8| if fold { a.eq_ignore_ascii_case(&b) } else { a == b };
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', ..] => class(pattern, byte, fold),
        [b'\\', escaped, ..] => same(escaped, byte).then_some(2),
        [literal, ..] => same(literal, byte).then_some(1),
    }
}

/// The same for a class. One that is not closed ends with the pattern, as in Redis.
fn class(pattern: &[u8], byte: u8, fold: bool) -> Option<usize> {
    let lower = |byte: u8| if fold { byte.to_ascii_lowercase() } else { byte };
    let byte = lower(byte);
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    loop {
        match pattern[at..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                found |= lower(escaped) == byte;
                at += 2;
            }
            [low, b'-', high, ..] => {
                let (low, high) = (lower(low.min(high)), lower(low.max(high)));
                found |= low <= byte && byte <= high;
                at += 3;
            }
            [literal, ..] => {
                found |= lower(literal) == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*c", "abbc", true),
            ("a*c", "abbcd", false),
            ("a**", "a", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[^e]llo", "hbllo", true),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h\\?llo", "hello", false),
            ("h\\?llo", "h?llo", true),
            ("[\\]]", "]", true),
            ("[abc", "b", true),
            ("a\\", "a\\", true),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("*a*b*c*", "xxaxxcxxbxx", false),
            ("*max*entries", "hash-max-listpack-entries", true),
            ("**a**b", "aaab", true),
            ("?", "", false),
            ("[", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn case_counts_unless_it_is_ignored() {
        assert!(!matches(b"A[B-C]", b"ab"));
        assert!(matches_in_any_case(b"A[B-C]", b"ab"));
    }

    #[test]
    fn hostile_patterns_take_no_exponential_time() {
        let pattern = b"*a".repeat(200);
        assert!(!matches(&pattern, &b"a".repeat(190)));
        assert!(!matches(b"a*a*a*a*a*a*a*a*a*a*a*b", &b"a".repeat(10_000)));
    }
}
