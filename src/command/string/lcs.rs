//! LCS: the longest common subsequence of two strings.

use crate::command::spec::{Command, Keys, access};
use crate::keyspace::string;
use crate::keyspace::{CommandError, Failure, Result, Stop, View};
use crate::resp::{Args, ReplyWriter};

/// The row of the table.
pub(super) const LCS: Command =
    Command::read("LCS", "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]", lcs)
        .keys(Keys::Range { first: 1, last: 2, step: 1 })
        .access(access::RO | access::ACCESS)
        .doc("7.0.0", "Finds the longest common subsequence of two strings.")
        .complexity("O(N*M) in the lengths of the strings");

/// The most bytes of the table of lengths.
const TABLE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A table with more cells takes long to fill.
const CELLS_INLINE_MAX: usize = 100_000;

#[derive(Debug, Default)]
struct Options {
    only_length: bool,
    only_places: bool,
    shows_lengths: bool,
    length_min: usize,
}

fn parse(args: &Args) -> Result<Options> {
    let mut options = Options::default();
    let mut args = args.reader(3);
    while args.remaining() > 0 {
        if args.token("IDX") {
            options.only_places = true;
        } else if args.token("LEN") {
            options.only_length = true;
        } else if args.token("WITHMATCHLEN") {
            options.shows_lengths = true;
        } else if args.remaining() > 1 && args.token("MINMATCHLEN") {
            options.length_min = usize::try_from(args.integer()?).unwrap_or(0);
        } else {
            return Err(CommandError::Syntax.into());
        }
    }
    if options.only_length && options.only_places {
        let text = "ERR If you want both the length and indexes, please just use IDX.";
        return Err(CommandError::other(text).into());
    }
    Ok(options)
}

fn read(view: &View<'_>, name: &[u8]) -> Result<bytes::Bytes> {
    match string::get(view, name) {
        Ok(text) => Ok(text.map(|text| text.to_bytes()).unwrap_or_default()),
        Err(Failure::Client(CommandError::WrongType)) => {
            Err(CommandError::other("ERR The specified keys must contain string values").into())
        }
        Err(other) => Err(other),
    }
}

fn lcs(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let (left, right) = (read(view, &args[1])?, read(view, &args[2])?);
    let options = parse(args)?;
    let cells = (left.len() + 1).checked_mul(right.len() + 1).filter(|cells| *cells <= TABLE_BYTES_MAX / 4);
    let Some(cells) = cells else {
        let text = "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
        return Err(CommandError::other(text).into());
    };
    if cells > CELLS_INLINE_MAX && !view.may_block() {
        return Err(Failure::Stop(Stop::Long));
    }
    let table = Table::new(&left, &right);
    if options.only_length {
        out.integer(i64::from(table.at(left.len(), right.len())));
    } else if options.only_places {
        reply_places(&table, &options, out);
    } else {
        let mut common = Vec::new();
        table.matches(|place| common.extend(left[place.left..place.left + place.length].iter().rev()));
        common.reverse();
        out.bulk(&common);
    }
    Ok(())
}

fn reply_places(table: &Table<'_>, options: &Options, out: &mut ReplyWriter<'_>) {
    let mut places = Vec::new();
    table.matches(|place| places.push(place));
    places.retain(|place| place.length >= options.length_min);
    out.map(2);
    out.bulk(b"matches");
    out.array(places.len());
    for place in places {
        out.array(if options.shows_lengths { 3 } else { 2 });
        for start in [place.left, place.right] {
            out.array(2);
            out.integer(start as i64);
            out.integer((start + place.length - 1) as i64);
        }
        if options.shows_lengths {
            out.integer(place.length as i64);
        }
    }
    out.bulk(b"len");
    out.integer(i64::from(table.at(table.left.len(), table.right.len())));
}

/// A run of bytes that both strings have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    left: usize,
    right: usize,
    length: usize,
}

/// The length of the longest common subsequence of every pair of prefixes.
struct Table<'a> {
    left: &'a [u8],
    right: &'a [u8],
    cells: Vec<u32>,
}

impl<'a> Table<'a> {
    fn new(left: &'a [u8], right: &'a [u8]) -> Self {
        let width = right.len() + 1;
        let mut cells = vec![0_u32; (left.len() + 1) * width];
        for (row, byte) in (1..).zip(left) {
            for (column, other) in (1..).zip(right) {
                let at = row * width + column;
                cells[at] = if byte == other {
                    cells[at - width - 1] + 1
                } else {
                    cells[at - 1].max(cells[at - width])
                };
            }
        }
        Self { left, right, cells }
    }

    fn at(&self, left: usize, right: usize) -> u32 {
        self.cells[left * (self.right.len() + 1) + right]
    }

    /// Shows the runs of the longest common subsequence, the last one first.
    fn matches(&self, mut show: impl FnMut(Place)) {
        let (mut left, mut right) = (self.left.len(), self.right.len());
        let mut run: Option<Place> = None;
        while left > 0 && right > 0 {
            if self.left[left - 1] == self.right[right - 1] {
                (left, right) = (left - 1, right - 1);
                run = Some(Place { left, right, length: run.map_or(0, |run| run.length) + 1 });
                continue;
            }
            if let Some(run) = run.take() {
                show(run);
            }
            if self.at(left - 1, right) > self.at(left, right - 1) {
                left -= 1;
            } else {
                right -= 1;
            }
        }
        if let Some(run) = run {
            show(run);
        }
    }
}
