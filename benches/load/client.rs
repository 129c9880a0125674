//! One thread's connections: each writes a pipeline, reads its replies, and writes the next.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::options::Options;
use crate::report::Report;
use crate::resp::{self, Reply};
use crate::workload::{Ledger, Workload};

/// What a command of the pipeline in flight may get as a reply.
enum Expected {
    /// The acknowledgement of this write.
    Write { number: u64, sequence: u32 },
    /// The value of this write or of a later one; 0 when none was acknowledged.
    Read { number: u64, at_least: u32 },
}

/// Runs the connections of thread `thread` to their end.
pub(crate) fn run_thread(options: &Options, thread: u64, ledger: &Arc<Ledger>) -> io::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = Rc::new(RefCell::new(Report::default()));
    let tasks = LocalSet::new();
    let start = Instant::now();
    for connection in (0..options.connections).filter(|number| number % options.threads == thread) {
        let (options, ledger, report) = (options.clone(), Arc::clone(ledger), Rc::clone(&report));
        tasks.spawn_local(async move {
            let mut client = Client::new(&options, connection, &ledger, &report, start);
            if let Err(error) = client.run().await {
                let mut report = report.borrow_mut();
                report.broken += 1;
                report.note_error(&error.to_string());
            }
        });
    }
    runtime.block_on(tasks);
    Ok(report.take())
}

struct Client<'a> {
    options: &'a Options,
    ledger: &'a Ledger,
    report: &'a RefCell<Report>,
    start: Instant,
    /// This connection's number; it alone writes the keys `connection + n × connections`.
    connection: u64,
    /// How many keys that are.
    own_keys: u64,
    /// With `--preload`, how many of them have been written.
    preloaded: u64,
    random: fastrand::Rng,
    expected: Vec<Expected>,
    output: Vec<u8>,
    scratch: Vec<u8>,
}

impl<'a> Client<'a> {
    fn new(
        options: &'a Options,
        connection: u64,
        ledger: &'a Ledger,
        report: &'a RefCell<Report>,
        start: Instant,
    ) -> Self {
        let own_keys = (options.keys - connection).div_ceil(options.connections);
        let random = fastrand::Rng::with_seed(options.seed.wrapping_mul(1_000_003).wrapping_add(connection));
        Self {
            options,
            ledger,
            report,
            start,
            connection,
            own_keys,
            preloaded: 0,
            random,
            expected: Vec::new(),
            output: Vec::new(),
            scratch: Vec::new(),
        }
    }

    async fn run(&mut self) -> io::Result<()> {
        let mut stream = TcpStream::connect((self.options.host.as_str(), self.options.port)).await?;
        stream.set_nodelay(true)?;
        let mut input = Vec::with_capacity(64 * 1024);
        for turn in 0.. {
            let due = self.pace(turn).await;
            if self.finished() {
                break;
            }
            self.fill();
            let sent = due.unwrap_or_else(Instant::now);
            stream.write_all(&self.output).await?;
            self.collect(&mut stream, &mut input, sent).await?;
        }
        Ok(())
    }

    fn finished(&self) -> bool {
        if self.options.preload {
            return self.preloaded == self.own_keys;
        }
        self.start.elapsed() >= Duration::from_secs(self.options.seconds)
    }

    /// At a given rate, waits until pipeline `turn` is due, and says when that was.
    async fn pace(&self, turn: u64) -> Option<Instant> {
        if self.options.rate == 0 {
            return None;
        }
        let commands = u64::try_from(self.options.pipeline).expect("a pipeline fits in memory");
        // Connections take turns, so that their pipelines do not arrive all at once.
        let before = (turn * self.options.connections + self.connection) * commands;
        let due = self.start + Duration::from_micros(before * 1_000_000 / self.options.rate);
        tokio::time::sleep_until(due.into()).await;
        Some(due)
    }

    /// Encodes the next pipeline.
    fn fill(&mut self) {
        self.output.clear();
        self.expected.clear();
        let mut name = Vec::with_capacity(16);
        for _ in 0..self.options.pipeline {
            let turn = if !self.options.preload {
                self.random.u64(0..self.own_keys)
            } else if self.preloaded < self.own_keys {
                self.preloaded += 1;
                self.preloaded - 1
            } else {
                break;
            };
            let number = self.connection + turn * self.options.connections;
            name.clear();
            Workload::key(number, &mut name);
            if !self.options.preload && self.random.u32(0..100) < self.options.reads {
                resp::command(&[b"GET", &name], &mut self.output);
                let (at_least, _) = self.ledger.bounds(number);
                self.expected.push(Expected::Read { number, at_least });
            } else {
                let sequence = self.ledger.send(number);
                self.scratch.clear();
                self.ledger.workload.value(number, sequence, &mut self.scratch);
                resp::command(&[b"SET", &name, &self.scratch], &mut self.output);
                self.expected.push(Expected::Write { number, sequence });
            }
        }
    }

    /// Reads the replies of the pipeline.
    async fn collect(
        &mut self,
        stream: &mut TcpStream,
        input: &mut Vec<u8>,
        sent: Instant,
    ) -> io::Result<()> {
        input.clear();
        let (mut taken, mut done) = (0, 0);
        while done < self.expected.len() {
            if stream.read_buf(input).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
            let before = done;
            while done < self.expected.len() {
                let Some((reply, bytes)) = resp::reply(&input[taken..]).map_err(io::Error::other)? else {
                    break;
                };
                let mut report = self.report.borrow_mut();
                judge(&self.expected[done], reply, self.ledger, &mut self.scratch, &mut report);
                taken += bytes;
                done += 1;
            }
            self.count(u64::try_from(done - before).expect("a pipeline fits in memory"), sent);
        }
        Ok(())
    }

    fn count(&self, replies: u64, sent: Instant) {
        let now = Instant::now();
        let mut report = self.report.borrow_mut();
        let second = now.duration_since(self.start).as_secs();
        report.count(second, replies);
        if second >= self.options.warmup && replies > 0 {
            let micros = now.saturating_duration_since(sent).as_micros();
            report.latency.record(u64::try_from(micros).unwrap_or(u64::MAX), replies);
        }
    }
}

/// Enters one reply into the books.
fn judge(expected: &Expected, reply: Reply<'_>, ledger: &Ledger, scratch: &mut Vec<u8>, report: &mut Report) {
    match (expected, reply) {
        (Expected::Write { number, sequence }, Reply::Status(b"OK")) => {
            ledger.acknowledge(*number, *sequence)
        }
        (Expected::Read { at_least, .. }, Reply::Null) => {
            report.misses += 1;
            report.lost += u64::from(*at_least > 0);
        }
        (Expected::Read { number, at_least }, Reply::Bulk(value)) => {
            report.hits += 1;
            match ledger.workload.sequence_of(*number, value, scratch) {
                Some(sequence) => report.lost += u64::from(sequence < *at_least),
                None => report.wrong += 1,
            }
        }
        (_, Reply::Error(text)) => {
            report.errors += 1;
            report.note_error(&String::from_utf8_lossy(text));
        }
        (_, other) => {
            report.wrong += 1;
            report.note_error(&format!("an unexpected reply: {other:?}"));
        }
    }
}
