//! The syntax line of a command: its arity, and the argument tree that COMMAND DOCS prints.
//!
//! ```text
//! line    = item*
//! item    = WORD            a token that is sent as it stands        WITHVALUES
//!         | word            an argument, named                       key
//!         | [ choice ]      optional                                 [NX | XX]
//!         | < choice >      one of several, required                 <min | max>
//! choice  = line ( | line )*
//! ```
//!
//! `...` repeats what stands before it in its brackets: `key [key ...]`, `field value [field value ...]`,
//! `[MATCH pattern ...]`. A token followed by arguments in the same choice is one option: `EX seconds`.

/// The arity that `syntax` says, for a command whose name is `words` words long: the number of words of a request,
/// negative when that is a minimum.
///
/// # Panics
/// When the brackets do not match; in a `const` this is an error of the compiler.
pub(super) const fn arity(syntax: &str, words: i16) -> i16 {
    let bytes = syntax.as_bytes();
    let (least, open, end) = least_words(bytes, 0, 0);
    assert!(end == bytes.len(), "a bracket is closed that was not opened");
    if open { -(words + least) } else { words + least }
}

/// Walks one choice from `at` to the bracket `close` (0: to the end of the line). Returns the least number of words
/// that it takes, whether it may take more, and where it ended.
const fn least_words(bytes: &[u8], mut at: usize, close: u8) -> (i16, bool, usize) {
    let mut least_of_all = i16::MAX;
    let mut most_of_all = 0;
    let mut open = false;
    let mut words: i16 = 0;
    loop {
        if at == bytes.len() || bytes[at] == close {
            assert!(at < bytes.len() || close == 0, "a bracket is not closed");
            let least = if words < least_of_all { words } else { least_of_all };
            let most = if words > most_of_all { words } else { most_of_all };
            return (least, open || (least_of_all != i16::MAX && least != most), at);
        }
        match bytes[at] {
            b' ' => at += 1,
            b'|' => {
                least_of_all = if words < least_of_all { words } else { least_of_all };
                most_of_all = if words > most_of_all { words } else { most_of_all };
                words = 0;
                at += 1;
            }
            b'[' => {
                let (_, _, end) = least_words(bytes, at + 1, b']');
                open = true;
                at = end + 1;
            }
            b'<' => {
                let (least, inner_open, end) = least_words(bytes, at + 1, b'>');
                words += least;
                open = open || inner_open;
                at = end + 1;
            }
            b']' | b'>' => return (words, open, at),
            _ => {
                let from = at;
                while at < bytes.len() && !matches!(bytes[at], b' ' | b'[' | b']' | b'<' | b'>' | b'|') {
                    at += 1;
                }
                if at - from == 3 && bytes[from] == b'.' {
                    open = true;
                } else {
                    words += 1;
                }
            }
        }
    }
}

/// One argument in the tree of a syntax line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// The name shown: that of the value, or the token in lower case.
    pub name: String,
    /// What kind of argument it is, in the words of COMMAND DOCS.
    pub kind: Kind,
    /// The token that stands before the value, or is all of it.
    pub token: Option<String>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be repeated.
    pub multiple: bool,
    /// The arguments of a block, or the alternatives of a choice.
    pub inner: Vec<Argument>,
}

/// The kinds of argument that COMMAND DOCS knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any bytes.
    String,
    /// A whole number.
    Integer,
    /// A number with a fraction.
    Double,
    /// A key.
    Key,
    /// A glob.
    Pattern,
    /// A time since 1970.
    UnixTime,
    /// A token without a value.
    PureToken,
    /// One of the inner arguments.
    OneOf,
    /// All of the inner arguments.
    Block,
}

impl Kind {
    /// The word of COMMAND DOCS.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key => "key",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }

    /// The kind of the value called `name`. Names say what they hold, as in the documentation of Redis.
    fn of(name: &str) -> Self {
        match name {
            "key" | "newkey" | "source" | "destination" | "key1" | "key2" => Self::Key,
            "pattern" => Self::Pattern,
            "unix-time-seconds" | "unix-time-milliseconds" => Self::UnixTime,
            "seconds" | "milliseconds" | "count" | "offset" | "start" | "end" | "decrement" | "cursor"
            | "db" | "index" | "index1" | "index2" | "numkeys" | "destination-db" | "protover"
            | "client-id" | "maxage" | "version" | "len" => Self::Integer,
            "increment" => Self::Integer,
            "float-increment" => Self::Double,
            _ => Self::String,
        }
    }
}

/// Reads the whole of a syntax line.
///
/// # Panics
/// When the line is malformed; the table test reads every line.
pub fn parse(syntax: &str) -> Vec<Argument> {
    let words = split(syntax);
    let mut at = 0;
    let line = choice(&words, &mut at, "");
    assert_eq!(at, words.len(), "a bracket is closed that was not opened: {syntax}");
    assert_eq!(line.len(), 1, "a choice stands outside of brackets: {syntax}");
    line.into_iter().next().map(|line| line.items).unwrap_or_default()
}

/// Cuts a line into words and brackets.
fn split(syntax: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in syntax.split_ascii_whitespace() {
        let mut rest = word;
        while let Some(at) = rest.find(['[', ']', '<', '>', '|']) {
            if at > 0 {
                words.push(&rest[..at]);
            }
            words.push(&rest[at..=at]);
            rest = &rest[at + 1..];
        }
        if !rest.is_empty() {
            words.push(rest);
        }
    }
    words
}

/// One alternative of a choice, and whether it ends in `...`.
#[derive(Default)]
struct Line {
    items: Vec<Argument>,
    repeats: bool,
}

/// Reads alternatives up to the bracket `close`, or to the end.
fn choice(words: &[&str], at: &mut usize, close: &str) -> Vec<Line> {
    let mut lines = vec![Line::default()];
    while let Some(&word) = words.get(*at) {
        if word == close {
            return lines;
        }
        let line = lines.last_mut().expect("there is always a line");
        *at += 1;
        match word {
            "|" => lines.push(Line::default()),
            "..." => line.repeats = true,
            "[" | "<" => {
                let closing = if word == "[" { "]" } else { ">" };
                let inner = choice(words, at, closing);
                assert_eq!(words.get(*at), Some(&closing), "a bracket is not closed");
                *at += 1;
                group(line, inner, word == "[");
            }
            word => line.items.push(leaf(word)),
        }
    }
    assert_eq!(close, "", "a bracket is not closed");
    lines
}

/// A word that is a token or a value.
fn leaf(word: &str) -> Argument {
    let token = !word.contains(|c: char| c.is_ascii_lowercase());
    Argument {
        name: word.to_ascii_lowercase(),
        kind: if token { Kind::PureToken } else { Kind::of(word) },
        token: token.then(|| word.to_owned()),
        optional: false,
        multiple: false,
        inner: Vec::new(),
    }
}

/// Adds what a pair of brackets holds to `line`.
fn group(line: &mut Line, inner: Vec<Line>, optional: bool) {
    // `key [key ...]`: the brackets repeat what stands before them and add nothing of their own.
    if optional && inner.len() == 1 && inner[0].repeats {
        let repeated = &inner[0].items;
        let from = line.items.len().checked_sub(repeated.len());
        if let Some(from) = from.filter(|&from| !repeated.is_empty() && line.items[from..] == repeated[..]) {
            let block = line.items.split_off(from);
            let mut block = fold(block);
            block.multiple = true;
            line.items.push(block);
            return;
        }
    }
    let repeats = inner.iter().any(|line| line.repeats);
    let mut alternatives: Vec<Argument> = inner.into_iter().map(|line| fold(line.items)).collect();
    let mut argument = if alternatives.len() == 1 {
        alternatives.remove(0)
    } else {
        Argument {
            name: choice_name(&alternatives),
            kind: Kind::OneOf,
            token: None,
            optional: false,
            multiple: false,
            inner: alternatives,
        }
    };
    argument.optional = optional;
    argument.multiple |= repeats;
    line.items.push(argument);
}

/// What a choice is called: Redis names them by hand; ours are called after their first alternative.
fn choice_name(alternatives: &[Argument]) -> String {
    alternatives.first().map(|first| first.name.clone()).unwrap_or_default()
}

/// Makes one argument of several: a token and its value become the value with a token, more become a block.
fn fold(mut items: Vec<Argument>) -> Argument {
    match items.len() {
        1 => items.remove(0),
        2 if items[0].kind == Kind::PureToken
            && items[1].kind != Kind::PureToken
            && items[1].token.is_none() =>
        {
            let token = items[0].token.take();
            let mut value = items.remove(1);
            value.token = token;
            value
        }
        _ => {
            let token = items
                .first()
                .filter(|first| first.kind == Kind::PureToken)
                .and_then(|first| first.token.clone());
            if token.is_some() {
                items.remove(0);
            }
            Argument {
                name: items.first().map(|item| item.name.clone()).unwrap_or_default(),
                kind: Kind::Block,
                token,
                optional: false,
                multiple: false,
                inner: items,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arity_counts_required_words_and_is_negative_when_there_may_be_more() {
        for (syntax, expected) in [
            ("", 1),
            ("key", 2),
            ("key value [NX | XX] [GET]", -3),
            ("key [key ...]", -2),
            ("key field value [field value ...]", -4),
            ("key <min | max>", 3),
            ("key <EX seconds | PERSIST>", -3),
            ("[message]", -1),
            ("key ...", -2),
        ] {
            assert_eq!(arity(syntax, 1), expected, "{syntax}");
        }
        assert_eq!(arity("parameter value [parameter value ...]", 2), -4);
    }

    #[test]
    fn a_repeated_key_is_one_argument() {
        let tree = parse("key [key ...]");
        assert_eq!(tree.len(), 1);
        assert_eq!(tree[0].kind, Kind::Key);
        assert!(tree[0].multiple && !tree[0].optional);
    }

    #[test]
    fn repeated_pairs_are_a_block() {
        let tree = parse("key field value [field value ...]");
        assert_eq!(tree.len(), 2);
        assert_eq!(tree[1].kind, Kind::Block);
        assert!(tree[1].multiple);
        assert_eq!(tree[1].inner.len(), 2);
    }

    #[test]
    fn options_are_choices_of_tokens_and_values() {
        let tree = parse("key [NX | XX] [EX seconds | PERSIST] [COUNT count]");
        assert_eq!(tree.len(), 4);
        assert_eq!(tree[1].kind, Kind::OneOf);
        assert!(tree[1].optional);
        assert_eq!(tree[2].inner[0].token.as_deref(), Some("EX"));
        assert_eq!(tree[2].inner[0].kind, Kind::Integer);
        assert_eq!(tree[2].inner[1].kind, Kind::PureToken);
        assert_eq!((tree[3].name.as_str(), tree[3].token.as_deref()), ("count", Some("COUNT")));
    }

    #[test]
    fn an_option_with_two_values_is_a_block_with_a_token() {
        let tree = parse("[LIMIT offset count]");
        assert_eq!(tree[0].kind, Kind::Block);
        assert_eq!(tree[0].token.as_deref(), Some("LIMIT"));
        assert_eq!(tree[0].inner.len(), 2);
    }
}
