//! What SCAN and its relatives have in common: cursors, options, and the shape of the reply.

use crate::glob;
use crate::keyspace::{CommandError, Result};
use crate::resp::{ArgReader, Outbox, ReplyWriter};

/// How many elements a page looks at unless COUNT says otherwise.
const COUNT: u64 = 10;

/// The types that TYPE may name; those that are not built yet match nothing.
const TYPES: &[&str] = &["string", "list", "set", "zset", "hash", "stream"];

/// Reads a cursor, as leniently as Valkey does.
pub(super) fn parse_cursor(text: &[u8]) -> Result<u64> {
    let number = std::str::from_utf8(text.trim_ascii_start()).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| CommandError::InvalidCursor.into())
}

/// The options of SCAN; HSCAN has NOVALUES in the place of TYPE.
#[derive(Debug)]
pub(super) struct Options<'a> {
    /// How many elements to look at.
    pub(super) count: u64,
    /// Shows what matches only.
    pattern: Option<&'a [u8]>,
    /// Shows keys of this type only.
    pub(super) type_name: Option<&'a [u8]>,
    /// Shows fields without values.
    pub(super) no_values: bool,
}

/// Which command the options are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// SCAN.
    Keys,
    /// HSCAN.
    Fields,
}

impl<'a> Options<'a> {
    /// Reads all that is left of the request.
    pub(super) fn parse(mut args: ArgReader<'a>, of: Of) -> Result<Self> {
        let mut options = Self { count: COUNT, pattern: None, type_name: None, no_values: false };
        while args.remaining() > 0 {
            if of == Of::Fields && args.token("NOVALUES") {
                options.no_values = true;
            } else if args.remaining() < 2 {
                return Err(CommandError::Syntax.into());
            } else if args.token("COUNT") {
                let count = args.integer()?;
                options.count =
                    u64::try_from(count).ok().filter(|count| *count > 0).ok_or(CommandError::Syntax)?;
            } else if args.token("MATCH") {
                options.pattern = Some(args.bytes()?).filter(|pattern| *pattern != b"*");
            } else if of == Of::Keys && args.token("TYPE") {
                let name = args.bytes()?;
                if !TYPES.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())) {
                    return Err(CommandError::showing("ERR unknown type name '{}'", &[name]).into());
                }
                options.type_name = Some(name);
            } else {
                return Err(CommandError::Syntax.into());
            }
        }
        Ok(options)
    }

    /// Whether `element` is to be shown.
    pub(super) fn matches(&self, element: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, element))
    }
}

/// An empty page, the last of its scan.
pub(super) fn reply_nothing(out: &mut ReplyWriter<'_>) {
    out.array(2);
    out.bulk(b"0");
    out.array(0);
}

/// The elements of a page, encoded while they are found.
pub(super) struct Page<'p, 'a> {
    elements: &'p mut ReplyWriter<'a>,
    count: usize,
}

impl Page<'_, '_> {
    /// Adds an element.
    pub(super) fn add(&mut self, element: &[u8]) -> Result {
        self.elements.bulk(element);
        self.count += 1;
        Ok(self.elements.check()?)
    }
}

/// Replies with a page, which `fill` fills, and with the cursor behind it, which `fill` returns.
pub(super) fn reply_page(
    out: &mut ReplyWriter<'_>,
    fill: impl FnOnce(&mut Page<'_, '_>) -> Result<u64>,
) -> Result {
    let mut encoded = Outbox::new();
    let mut page = Page { elements: &mut out.beside(&mut encoded), count: 0 };
    let cursor = fill(&mut page)?;
    let count = page.count;
    out.array(2);
    out.bulk(cursor.to_string().as_bytes());
    out.array(count);
    out.append(encoded);
    Ok(())
}
