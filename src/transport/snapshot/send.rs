//! The sender's side.

use std::{future::pending, num::NonZeroU64, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{
    super::{
        LinkError, Shared,
        connection::{OPENING_MAX, dial},
        exchange::{self, Request as _},
        opening::Refusal,
    },
    Snapshot, SnapshotError, SnapshotOutcome, chunk,
};
use crate::{
    disk::join,
    proto::{self, snapshot_packet, snapshot_reply},
    raft::NodeId,
};

type Packets = mpsc::Sender<proto::SnapshotPacket>;

impl Snapshot {
    /// Sends it to the node `to` at `address`, on a connection of its own.
    pub(in super::super) async fn send(
        self,
        shared: Arc<Shared>,
        to: NodeId,
        address: String,
    ) -> Result<SnapshotOutcome, SnapshotError> {
        let header = self.header()?;
        let (packets, mut answers) = open(&shared, to, &address).await?;
        say(&packets, snapshot_packet::Kind::Header(header)).await?;
        let resume = match answer(&mut answers).await? {
            snapshot_reply::Kind::End(end) => {
                return Ok(SnapshotOutcome::from_wire(end).map_err(LinkError::from)?);
            }
            snapshot_reply::Kind::Resume(resume) => resume,
            _ => return Err(malformed("a snapshot is answered with a place or an end")),
        };
        let file = usize::try_from(resume.file).map_err(|_| malformed(BEYOND))?;
        let whole = file == self.files.len() && resume.offset == 0;
        if !whole && self.files.get(file).is_none_or(|file| file.bytes < resume.offset) {
            return Err(malformed(BEYOND));
        }
        let pump = async {
            self.pump(&packets, file, resume.offset).await?;
            // Only the receiver ends it now.
            pending::<Result<(), SnapshotError>>().await
        };
        tokio::select! {
            // A refusal comes while it is sent.
            end = answer(&mut answers) => match end? {
                snapshot_reply::Kind::End(end) => Ok(SnapshotOutcome::from_wire(end).map_err(LinkError::from)?),
                _ => Err(malformed("only the end follows the chunks")),
            },
            failed = pump => failed.and(Err(LinkError::Closed.into())),
        }
    }

    /// Sends all bytes from that one of that file on.
    async fn pump(&self, packets: &Packets, file: usize, mut offset: u64) -> Result<(), SnapshotError> {
        let began = Instant::now();
        let mut pace = Pace::new(self.bytes_per_second);
        for expected in &self.files[file..] {
            let (disk, path) = (Arc::clone(&self.disk), join(&self.dir, &expected.name));
            let opened = spawn_blocking(move || disk.open(&path)).await.map_err(|_| LinkError::Closed)??;
            loop {
                let (file, from, bytes) = (Arc::clone(&opened), offset, chunk(expected.bytes - offset));
                let read = spawn_blocking(move || {
                    let mut data = vec![0; bytes];
                    file.read_at(&mut data, from).map(|()| data)
                });
                let data = read.await.map_err(|_| LinkError::Closed)??;
                sleep(pace.wait(began.elapsed(), data.len())).await;
                offset += data.len() as u64;
                let chunk = proto::SnapshotChunk { data: Bytes::from(data) };
                // If nobody takes it, the end says why.
                if say(packets, snapshot_packet::Kind::Chunk(chunk)).await.is_err() {
                    return Ok(());
                }
                if offset == expected.bytes {
                    break;
                }
            }
            offset = 0;
        }
        Ok(())
    }
}

const BEYOND: &str = "a snapshot is to go on behind its end";

fn malformed(what: &'static str) -> SnapshotError {
    LinkError::from(Refusal::Malformed(what)).into()
}

async fn open(
    shared: &Shared,
    to: NodeId,
    address: &str,
) -> Result<(Packets, Streaming<proto::SnapshotReply>), LinkError> {
    let security = &shared.config.security;
    let mut client = dial(address, security.tls.as_ref()).await.map_err(LinkError::Connect)?;
    let hello = shared.hello(to);
    // Few: HTTP/2 has a window of them already.
    let (packets, sent) = mpsc::channel(2);
    let opened = timeout(OPENING_MAX, async {
        drop(packets.send(proto::SnapshotPacket::from_hello(hello.to_wire())).await);
        let mut answers = client.snapshot(ReceiverStream::new(sent)).await?.into_inner();
        exchange::dialled(&hello, security.secret.as_ref(), &packets, &mut answers).await?;
        Ok::<_, LinkError>(answers)
    });
    let answers = opened.await.map_err(|_| LinkError::Late)??;
    Ok((packets, answers))
}

async fn say(packets: &Packets, kind: snapshot_packet::Kind) -> Result<(), LinkError> {
    let packet = proto::SnapshotPacket { kind: Some(kind) };
    packets.send(packet).await.map_err(|_| LinkError::Closed)
}

async fn answer(answers: &mut Streaming<proto::SnapshotReply>) -> Result<snapshot_reply::Kind, LinkError> {
    let answer = answers.message().await?.ok_or(LinkError::Closed)?;
    Ok(answer.kind.ok_or(Refusal::Malformed("an unknown answer to a snapshot"))?)
}

/// Spreads bytes over time.
struct Pace {
    bytes_per_second: Option<NonZeroU64>,
    /// When the next chunk is due.
    next: Duration,
}

impl Pace {
    fn new(bytes_per_second: Option<NonZeroU64>) -> Self {
        Self { bytes_per_second, next: Duration::ZERO }
    }

    /// Returns how long to wait from `now` on before `bytes` are sent. Time that passed unused is not made up for.
    fn wait(&mut self, now: Duration, bytes: usize) -> Duration {
        let Some(per_second) = self.bytes_per_second else { return Duration::ZERO };
        let start = self.next.max(now);
        let takes_us = (bytes as u64).saturating_mul(1_000_000) / per_second;
        self.next = start + Duration::from_micros(takes_us);
        start - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_and_not_made_up_for() {
        let ms = Duration::from_millis;
        let mut pace = Pace::new(NonZeroU64::new(1_000_000));
        assert_eq!(pace.wait(ms(0), 100_000), ms(0));
        assert_eq!(pace.wait(ms(30), 100_000), ms(70));
        assert_eq!(pace.wait(ms(100), 100_000), ms(100));
        // The network stalled.
        assert_eq!(pace.wait(ms(900), 100_000), ms(0));
        assert_eq!(pace.wait(ms(900), 100_000), ms(100));
        let mut unlimited = Pace::new(None);
        assert_eq!(unlimited.wait(ms(0), 1 << 30) + unlimited.wait(ms(0), 1 << 30), ms(0));
    }
}
