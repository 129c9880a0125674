//! The grammar of configuration lines, which is that of redis.conf, and of the units in it.
//!
//! A line is words separated by blanks. `"…"` understands `\n \r \t \b \a \\ \"` and `\xHH`; `'…'` only `\'`. A line
//! whose first character is `#`, and an empty one, say nothing; a `#` further on is part of a value.

/// A line whose quotes do not match, or whose closing quote is followed by something else than a blank.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unbalanced;

/// Splits a line into its words, with quotes and escapes undone.
pub(super) fn split(line: &str) -> Result<Vec<String>, Unbalanced> {
    let mut words = Vec::new();
    let mut rest = line.bytes().peekable();
    loop {
        while rest.next_if(u8::is_ascii_whitespace).is_some() {}
        if rest.peek().is_none() {
            return Ok(words);
        }
        let mut word = Vec::new();
        while let Some(byte) = rest.next_if(|byte| !byte.is_ascii_whitespace()) {
            match byte {
                b'"' => double_quoted(&mut rest, &mut word)?,
                b'\'' => single_quoted(&mut rest, &mut word)?,
                byte => {
                    word.push(byte);
                    continue;
                }
            }
            if rest.peek().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                return Err(Unbalanced);
            }
        }
        words.push(String::from_utf8(word).map_err(|_| Unbalanced)?);
    }
}

type Bytes<'a> = std::iter::Peekable<std::str::Bytes<'a>>;

fn double_quoted(rest: &mut Bytes<'_>, word: &mut Vec<u8>) -> Result<(), Unbalanced> {
    loop {
        match rest.next().ok_or(Unbalanced)? {
            b'"' => return Ok(()),
            b'\\' => word.push(escaped(rest)?),
            byte => word.push(byte),
        }
    }
}

fn escaped(rest: &mut Bytes<'_>) -> Result<u8, Unbalanced> {
    Ok(match rest.next().ok_or(Unbalanced)? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        b'x' => {
            let mut ahead = rest.clone();
            match (ahead.next().and_then(hex), ahead.next().and_then(hex)) {
                (Some(high), Some(low)) => {
                    *rest = ahead;
                    high << 4 | low
                }
                _ => b'x',
            }
        }
        byte => byte,
    })
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn single_quoted(rest: &mut Bytes<'_>, word: &mut Vec<u8>) -> Result<(), Unbalanced> {
    loop {
        match rest.next().ok_or(Unbalanced)? {
            b'\'' => return Ok(()),
            b'\\' if rest.next_if_eq(&b'\'').is_some() => word.push(b'\''),
            byte => word.push(byte),
        }
    }
}

/// Writes `word` so that [`split`] reads it back: in quotes if it needs them.
pub(super) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | '#');
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    let mut quoted = String::from('"');
    for c in word.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Reads a size: digits and one of Redis' units (`k` = 1000, `kb` = 1024, and so on), in either case.
pub(super) fn size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit: u64 = match text[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

/// Writes a size for people: with the largest unit that divides it.
pub(super) fn size_text(bytes: u64) -> String {
    for (shift, unit) in [(30, "gb"), (20, "mb"), (10, "kb")] {
        if bytes >> shift > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        split(line).unwrap()
    }

    #[test]
    fn blanks_separate_and_quotes_join() {
        assert_eq!(words("  save\t900  1 "), ["save", "900", "1"]);
        assert_eq!(words(r#"requirepass "a b\"c\x41\n\q""#), ["requirepass", "a b\"cA\nq"]);
        assert_eq!(words(r"logfile 'it\'s \n'"), ["logfile", r"it's \n"]);
        assert_eq!(words(r#"save """#), ["save", ""]);
        assert_eq!(words(r#"x "\x4g""#), ["x", "x4g"]);
        assert_eq!(words("timeout 5 # later"), ["timeout", "5", "#", "later"]);
        assert!(words("").is_empty());
    }

    #[test]
    fn quotes_that_do_not_match_are_an_error() {
        for line in [r#"a "b"#, "a 'b", r#"a "b"c"#, "a 'b'c", r#"a "\"#, r#"a "\xff""#] {
            assert_eq!(split(line), Err(Unbalanced), "{line}");
        }
    }

    #[test]
    fn sizes_have_redis_units() {
        let cases = [("0", 0), ("1k", 1000), ("1KB", 1024), ("2m", 2_000_000), ("2mb", 2 << 20)];
        for (text, bytes) in cases.into_iter().chain([("3g", 3_000_000_000), ("3Gb", 3 << 30), ("7b", 7)]) {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "k", "-1", "1.5mb", "1 mb", "1tb", "99999999999999999999", "18446744073709551615k"] {
            let empty = text.is_empty();
            assert_eq!(size(text), None, "{text} {empty}");
        }
        assert_eq!(size_text(64 << 20), "64mb");
        assert_eq!(size_text(1536), "1536");
        assert_eq!(size_text(3 << 30), "3gb");
        assert_eq!(size_text(0), "0");
    }

    proptest! {
        #[test]
        fn what_is_quoted_reads_back(word in any::<String>()) {
            prop_assert_eq!(words(&format!("name {}", quote(&word))), ["name".to_string(), word]);
        }

        #[test]
        fn a_size_reads_back(bytes: u64) {
            prop_assert_eq!(size(&size_text(bytes)), Some(bytes));
        }
    }
}
