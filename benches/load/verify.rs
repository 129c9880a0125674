//! Reads back what was acknowledged.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use crate::options::Options;
use crate::resp::{self, Reply};
use crate::workload::{Ledger, Workload};

/// Keys asked for at once.
const BATCH: usize = 512;

/// How the keys that were looked at stand.
#[derive(Default)]
struct Findings {
    checked: u64,
    lost: u64,
    wrong: u64,
    first: Option<String>,
}

/// Compares `sample` keys (0 for all) with the ledger, and DBSIZE with their number; returns whether nothing is missing.
pub(crate) fn run(options: &Options, ledger: &Ledger, sample: u64) -> io::Result<bool> {
    let mut stream = TcpStream::connect((options.host.as_str(), options.port))?;
    let (mut acknowledged, mut sent) = (Vec::new(), 0_u64);
    for number in 0..options.keys {
        let bounds = ledger.bounds(number);
        sent += u64::from(bounds.1 > 0);
        if bounds.0 > 0 {
            acknowledged.push(number);
        }
    }
    let least = u64::try_from(acknowledged.len()).expect("a vector's length");
    if sample != 0 && sample < least {
        let mut random = fastrand::Rng::with_seed(options.seed);
        random.shuffle(&mut acknowledged);
        acknowledged.truncate(usize::try_from(sample).expect("less than a vector's length"));
    }
    let mut findings = Findings::default();
    for batch in acknowledged.chunks(BATCH) {
        compare(&mut stream, ledger, batch, &mut findings)?;
    }
    let Findings { checked, lost, wrong, first } = findings;
    println!("verified {checked} acknowledged keys: {lost} lost, {wrong} wrong");
    if let Some(text) = first {
        eprintln!("load: the first: {text}");
    }
    let size_fits = !options.dbsize || {
        let size = dbsize(&mut stream)?;
        println!("DBSIZE {size}; acknowledged {least}, sent {sent}");
        least <= size && size <= sent
    };
    Ok(lost == 0 && wrong == 0 && size_fits)
}

fn compare(
    stream: &mut TcpStream,
    ledger: &Ledger,
    batch: &[u64],
    findings: &mut Findings,
) -> io::Result<()> {
    let mut output = Vec::new();
    for number in batch {
        let mut name = Vec::new();
        Workload::key(*number, &mut name);
        resp::command(&[b"GET", &name], &mut output);
    }
    stream.write_all(&output)?;
    let (mut input, mut scratch) = (Vec::new(), Vec::new());
    let mut numbers = batch.iter();
    read_replies(stream, &mut input, batch.len(), |reply| {
        let number = *numbers.next().expect("there are as many replies as keys");
        let (acknowledged, sent) = ledger.bounds(number);
        let found = match reply {
            Reply::Bulk(value) => ledger.workload.sequence_of(number, value, &mut scratch),
            _ => None,
        };
        findings.checked += 1;
        match found {
            Some(sequence) if acknowledged <= sequence && sequence <= sent => {
                ledger.observe(number, sequence);
                return;
            }
            Some(sequence) if sequence < acknowledged => findings.lost += 1,
            None if reply == Reply::Null => findings.lost += 1,
            _ => findings.wrong += 1,
        }
        findings.first.get_or_insert_with(|| {
            format!(
                "key {number}: writes {acknowledged} to {sent} may be there, found {found:?} in {reply:?}"
            )
        });
    })
}

fn dbsize(stream: &mut TcpStream) -> io::Result<u64> {
    let mut output = Vec::new();
    resp::command(&[b"DBSIZE"], &mut output);
    stream.write_all(&output)?;
    let mut size = Err(io::Error::other("DBSIZE must answer an integer"));
    read_replies(stream, &mut Vec::new(), 1, |reply| {
        if let Reply::Integer(number) = reply {
            size = u64::try_from(number).map_err(io::Error::other);
        }
    })?;
    size
}

/// Reads `count` replies and hands each to `each`.
fn read_replies(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    count: usize,
    mut each: impl FnMut(Reply<'_>),
) -> io::Result<()> {
    let mut chunk = vec![0; 64 * 1024];
    let (mut taken, mut done) = (0, 0);
    while done < count {
        let bytes = stream.read(&mut chunk)?;
        if bytes == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        input.extend_from_slice(&chunk[..bytes]);
        while done < count {
            let Some((reply, bytes)) = resp::reply(&input[taken..]).map_err(io::Error::other)? else { break };
            each(reply);
            taken += bytes;
            done += 1;
        }
    }
    Ok(())
}
