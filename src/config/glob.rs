//! Glob patterns over the names of directives and files: `*`, `?`, `[a-z]`, `[^a]` and `\x`.

/// Whether the whole of `text` matches `pattern`. Takes at most O(pattern × text) steps, whatever the pattern.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on if what follows the last `*` does not match: that star then takes one byte more.
    let mut retry = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            retry = Some((p, t));
            p += 1;
            continue;
        }
        if p == pattern.len() && t == text.len() {
            return true;
        }
        if let (Some(&byte), Some(length)) = (text.get(t), element_length(&pattern[p..]))
            && element_matches(&pattern[p..p + length], byte)
        {
            p += length;
            t += 1;
            continue;
        }
        match retry {
            Some((star, taken)) if taken < text.len() => {
                retry = Some((star, taken + 1));
                (p, t) = (star + 1, taken + 1);
            }
            _ => return false,
        }
    }
}

/// The length of the pattern element that stands first, or `None` at the end.
fn element_length(pattern: &[u8]) -> Option<usize> {
    Some(match pattern.first()? {
        b'\\' if pattern.len() > 1 => 2,
        b'[' => {
            let mut end = 1;
            while end < pattern.len() && pattern[end] != b']' {
                end += if pattern[end] == b'\\' { 2 } else { 1 };
            }
            (end + 1).min(pattern.len())
        }
        _ => 1,
    })
}

fn element_matches(element: &[u8], byte: u8) -> bool {
    match element[0] {
        b'?' => true,
        b'\\' if element.len() > 1 => element[1] == byte,
        b'[' => {
            let class = element[1..].strip_suffix(b"]").unwrap_or(&element[1..]);
            match class.strip_prefix(b"^") {
                Some(class) => !class_contains(class, byte),
                None => class_contains(class, byte),
            }
        }
        literal => literal == byte,
    }
}

fn class_contains(mut class: &[u8], byte: u8) -> bool {
    loop {
        class = match class {
            [] => return false,
            [b'\\', literal, rest @ ..] => {
                if *literal == byte {
                    return true;
                }
                rest
            }
            [from, b'-', to, rest @ ..] => {
                if (from.min(to)..=from.max(to)).contains(&&byte) {
                    return true;
                }
                rest
            }
            [literal, rest @ ..] => {
                if *literal == byte {
                    return true;
                }
                rest
            }
        }
    }
}

#[test]
fn patterns_match_as_in_redis() {
    for (pattern, text) in [
        ("*", ""),
        ("*max*entries", "hash-max-listpack-entries"),
        ("h?", "hz"),
        ("[th]z", "hz"),
        ("[^a]z", "hz"),
        ("[a-m]z", "hz"),
        ("[m-a]z", "hz"),
        (r"\*", "*"),
        (r"[\]]", "]"),
        ("save", "save"),
        ("**a**b", "aaab"),
    ] {
        assert!(matches(pattern, text), "{pattern} {text}");
    }
    for (pattern, text) in
        [("", "a"), ("h?", "h"), ("[^h]z", "hz"), (r"\*", "a"), ("a*b", "abc"), ("[", "a"), ("?", "")]
    {
        assert!(!matches(pattern, text), "{pattern} {text}");
    }
    let hostile = "a*".repeat(1_000) + "b";
    assert!(!matches(&hostile, &"a".repeat(10_000)));
}
