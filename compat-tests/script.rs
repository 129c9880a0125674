//! Cases as text: requests, and what must come back.
//!
//! ```text
//! SET k "a value" => OK
//! GET k           => "a value"
//! GET none        => nil
//! 3> HGETALL h    => %["f", "v"]
//! b> INCR k       => -ERR value is not an integer or out of range
//! ```
//!
//! A line is one request; words are split at spaces, and quoted words know `\n`, `\x00` and `\"`. `3>` sends it on a
//! connection that speaks RESP3, `b>` on a second one. What is expected:
//!
//! | written | matches |
//! |---|---|
//! | `OK`, `+PONG` | a status |
//! | `-ERR …` | an error of exactly this text, to the end of the line |
//! | `12`, `5..9` | an integer; one of a range |
//! | `"text"`, `like "a*"` | a string; one that a glob matches |
//! | `nil` | a null of any kind |
//! | `,1.5` `#true` | a double, a boolean |
//! | `[…]` `%[…]` `~[…]` `>[…]` | an array, map, set, push with these elements |
//! | `any […]`, `any %[…]` | the same in any order; the pairs of a map stay together |
//! | `?`, `?error`, `?array`, `?map` | anything but an error; any error, array or map |
//! | `closed` | the end of the connection instead of a reply |

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

/// A reply of a client library, without what it cannot tell apart.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub(crate) enum Got {
    Status(String),
    Error(String),
    Integer(i64),
    Text(Vec<u8>),
    Nil,
    Double(f64),
    Boolean(bool),
    Array(Vec<Got>),
    Map(Vec<Got>),
    Set(Vec<Got>),
    Push(Vec<Got>),
    Closed,
}

/// In the language of the cases.
impl fmt::Display for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, kind: &str, inner: &[Self]| {
            write!(f, "{kind}[")?;
            for (at, element) in inner.iter().enumerate() {
                write!(f, "{}{element}", if at > 0 { ", " } else { "" })?;
            }
            write!(f, "]")
        };
        match self {
            Self::Status(text) => write!(f, "+{text}"),
            Self::Error(text) => write!(f, "-{text}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "\"{}\"", text.escape_ascii()),
            Self::Nil => write!(f, "nil"),
            Self::Double(number) => write!(f, ",{number}"),
            Self::Boolean(value) => write!(f, "#{value}"),
            Self::Array(inner) => list(f, "", inner),
            Self::Map(inner) => list(f, "%", inner),
            Self::Set(inner) => list(f, "~", inner),
            Self::Push(inner) => list(f, ">", inner),
            Self::Closed => write!(f, "closed"),
        }
    }
}

/// Which connection of a case sends a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The first.
    A,
    /// The second.
    B,
    /// One that speaks RESP3.
    Resp3,
}

/// One line of a case.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) sender: Sender,
    pub(crate) request: Vec<Vec<u8>>,
    pub(crate) expected: Expected,
}

/// What must come back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expected {
    Exactly(Got),
    Between(i64, i64),
    Like(String),
    Anything,
    AnyError,
    AnyOf(Container),
    Closed,
    Elements(Container, Vec<Expected>),
    InAnyOrder(Container, Vec<Expected>),
}

/// A kind of reply with elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Array,
    Map,
    Set,
    Push,
}

/// Reads a case.
///
/// # Panics
/// When a line is malformed: the case is wrong, not the server.
pub(crate) fn parse(script: &str) -> Vec<Line> {
    script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(line)
        .collect()
}

fn line(text: &str) -> Line {
    let (request, expected) =
        text.rsplit_once(" => ").unwrap_or_else(|| panic!("a line without an expectation: {text}"));
    let (sender, request) = match request.split_once("> ") {
        Some(("a", rest)) => (Sender::A, rest),
        Some(("b", rest)) => (Sender::B, rest),
        Some(("3", rest)) => (Sender::Resp3, rest),
        _ => (Sender::A, request),
    };
    let mut reader = Reader { rest: expected.trim().chars().peekable() };
    let expected = reader.expected();
    reader.blanks();
    assert!(reader.rest.peek().is_none(), "more than one expectation: {text}");
    Line { text: text.to_owned(), sender, request: words(request), expected }
}

/// Cuts a request into words.
pub(crate) fn words(request: &str) -> Vec<Vec<u8>> {
    let mut reader = Reader { rest: request.trim().chars().peekable() };
    let mut words = Vec::new();
    while reader.rest.peek().is_some() {
        words.push(if reader.rest.peek() == Some(&'"') {
            reader.quoted()
        } else {
            reader.word().into_bytes()
        });
        reader.blanks();
    }
    words
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    fn blanks(&mut self) {
        while self.rest.next_if(|next| next.is_whitespace()).is_some() {}
    }

    fn take(&mut self, c: char) -> bool {
        self.rest.next_if_eq(&c).is_some()
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(c) = self.rest.next_if(|next| !next.is_whitespace()) {
            word.push(c);
        }
        word
    }

    /// A word inside of a list ends at a comma or bracket, too.
    fn item(&mut self) -> String {
        let mut word = String::new();
        while let Some(c) = self.rest.next_if(|&next| !matches!(next, ',' | ']' | ' ')) {
            word.push(c);
        }
        word
    }

    fn quoted(&mut self) -> Vec<u8> {
        assert!(self.take('"'), "a string starts with a quotation mark");
        let mut text = Vec::new();
        loop {
            match self.rest.next().expect("a string ends with a quotation mark") {
                '"' => return text,
                '\\' => match self.rest.next().expect("something is escaped") {
                    'n' => text.push(b'\n'),
                    'r' => text.push(b'\r'),
                    't' => text.push(b'\t'),
                    'x' => {
                        let digits: String = (0..2).filter_map(|_| self.rest.next()).collect();
                        text.push(u8::from_str_radix(&digits, 16).expect("two hexadecimal digits"));
                    }
                    other => text.extend(other.to_string().bytes()),
                },
                c => text.extend(c.to_string().bytes()),
            }
        }
    }

    fn expected(&mut self) -> Expected {
        self.blanks();
        match *self.rest.peek().expect("an expectation") {
            '-' => {
                self.take('-');
                let rest: String = self.rest.by_ref().collect();
                match rest.parse::<i64>() {
                    Ok(number) => Expected::Exactly(Got::Integer(-number)),
                    Err(_) => Expected::Exactly(Got::Error(rest)),
                }
            }
            '"' => Expected::Exactly(Got::Text(self.quoted())),
            '+' => {
                self.take('+');
                Expected::Exactly(Got::Status(self.item()))
            }
            ',' => {
                self.take(',');
                Expected::Exactly(Got::Double(self.item().parse().expect("a double")))
            }
            '#' => {
                self.take('#');
                Expected::Exactly(Got::Boolean(self.item() == "true"))
            }
            '[' | '%' | '~' | '>' => {
                let (container, elements) = self.list();
                Expected::Elements(container, elements)
            }
            _ => self.named(),
        }
    }

    fn named(&mut self) -> Expected {
        let word = self.item();
        match word.as_str() {
            "OK" | "QUEUED" => Expected::Exactly(Got::Status(word)),
            "nil" => Expected::Exactly(Got::Nil),
            "?" => Expected::Anything,
            "?error" => Expected::AnyError,
            "?array" => Expected::AnyOf(Container::Array),
            "?map" => Expected::AnyOf(Container::Map),
            "closed" => Expected::Closed,
            "any" => {
                self.blanks();
                let (container, elements) = self.list();
                Expected::InAnyOrder(container, elements)
            }
            "like" => {
                self.blanks();
                Expected::Like(String::from_utf8(self.quoted()).expect("a glob is text"))
            }
            number => match number.split_once("..") {
                Some((low, high)) => Expected::Between(integer(low), integer(high)),
                None => Expected::Exactly(Got::Integer(integer(number))),
            },
        }
    }

    fn list(&mut self) -> (Container, Vec<Expected>) {
        let container = match self.rest.peek() {
            Some('%') => Container::Map,
            Some('~') => Container::Set,
            Some('>') => Container::Push,
            _ => Container::Array,
        };
        if container != Container::Array {
            self.rest.next();
        }
        assert!(self.take('['), "a list starts with a bracket");
        let mut elements = Vec::new();
        loop {
            self.blanks();
            if self.take(']') {
                return (container, elements);
            }
            elements.push(if self.rest.peek() == Some(&'-') {
                self.error_or_integer()
            } else {
                self.expected()
            });
            self.blanks();
            self.take(',');
        }
    }

    /// An error inside a list is quoted, since its text has commas.
    fn error_or_integer(&mut self) -> Expected {
        self.take('-');
        if self.rest.peek() == Some(&'"') {
            let text = String::from_utf8(self.quoted()).expect("errors are text");
            return Expected::Exactly(Got::Error(text));
        }
        Expected::Exactly(Got::Integer(-integer(&self.item())))
    }
}

fn integer(text: &str) -> i64 {
    text.parse().unwrap_or_else(|_| panic!("neither a word of this language nor a number: {text}"))
}

impl Expected {
    /// Whether `got` is what was expected.
    pub(crate) fn matches(&self, got: &Got) -> bool {
        match self {
            // The end of a line is not seen, so spaces there do not count.
            Self::Exactly(Got::Error(expected)) => {
                matches!(got, Got::Error(got) if got.trim_end() == expected.trim_end())
            }
            Self::Exactly(expected) => expected == got,
            Self::Between(low, high) => matches!(got, Got::Integer(number) if (low..=high).contains(&number)),
            Self::Like(glob) => match got {
                Got::Text(text) => like(glob.as_bytes(), text),
                Got::Status(text) => like(glob.as_bytes(), text.as_bytes()),
                _ => false,
            },
            Self::Anything => !matches!(got, Got::Error(_) | Got::Closed),
            Self::AnyError => matches!(got, Got::Error(_)),
            Self::AnyOf(container) => elements(*container, got).is_some(),
            Self::Closed => *got == Got::Closed,
            Self::Elements(container, expected) => match elements(*container, got) {
                Some(got) => {
                    got.len() == expected.len()
                        && expected.iter().zip(got).all(|(expected, got)| expected.matches(got))
                }
                None => false,
            },
            Self::InAnyOrder(container, expected) => match elements(*container, got) {
                Some(got) => same_elements(*container, expected, got),
                None => false,
            },
        }
    }
}

/// The elements of `got`, if it is of that kind. RESP2 has arrays only, but the library knows which it asked for.
fn elements(container: Container, got: &Got) -> Option<&[Got]> {
    match (container, got) {
        (Container::Array, Got::Array(inner))
        | (Container::Map, Got::Map(inner))
        | (Container::Set, Got::Set(inner))
        | (Container::Push, Got::Push(inner)) => Some(inner),
        _ => None,
    }
}

fn same_elements(container: Container, expected: &[Expected], got: &[Got]) -> bool {
    let each = if container == Container::Map { 2 } else { 1 };
    let mut left: Vec<&[Got]> = got.chunks(each).collect();
    got.len() == expected.len()
        && expected.chunks(each).all(|wanted| {
            let found =
                left.iter().position(|got| wanted.iter().zip(*got).all(|(wanted, got)| wanted.matches(got)));
            found.map(|at| left.remove(at)).is_some()
        })
}

/// Whether `text` matches a glob that knows `*` only.
fn like(glob: &[u8], text: &[u8]) -> bool {
    match glob.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|from| like(rest, &text[from..])),
        Some((first, rest)) => {
            text.split_first().is_some_and(|(next, text)| next == first && like(rest, text))
        }
    }
}

#[test]
fn a_case_reads_as_it_is_written() {
    let lines = parse(
        r#"
        # a comment
        SET k "a \x00value" => OK
        3> HGETALL h => any %["f", "v"]
        b> INCR k => -ERR value is not an integer or out of range
        TTL k => -2
        MGET a b => ["x", nil, [1..3, ?], -"ERR a, b"]
    "#,
    );
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0].request, [b"SET".to_vec(), b"k".to_vec(), b"a \0value".to_vec()]);
    assert_eq!(lines[1].sender, Sender::Resp3);
    assert_eq!(lines[2].sender, Sender::B);
    assert_eq!(
        lines[2].expected,
        Expected::Exactly(Got::Error("ERR value is not an integer or out of range".to_owned()))
    );
    assert_eq!(lines[3].expected, Expected::Exactly(Got::Integer(-2)));
    let reply = |number| {
        Got::Array(vec![
            Got::Text(b"x".to_vec()),
            Got::Nil,
            Got::Array(vec![Got::Integer(number), Got::Double(1.0)]),
            Got::Error("ERR a, b".to_owned()),
        ])
    };
    assert!(lines[4].expected.matches(&reply(2)));
    assert!(!lines[4].expected.matches(&reply(4)));
}

#[test]
fn the_pairs_of_a_map_stay_together() {
    let expected = parse(r#"X => any %["a", "1", "b", "2"]"#).remove(0).expected;
    let map =
        |texts: [&str; 4]| Got::Map(texts.iter().map(|text| Got::Text(text.as_bytes().to_vec())).collect());
    assert!(expected.matches(&map(["b", "2", "a", "1"])));
    assert!(!expected.matches(&map(["b", "1", "a", "2"])));
}
