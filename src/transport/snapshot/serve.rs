//! The receiver's side of the call.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::spawn_blocking, time::timeout};
use tonic::{Status, Streaming};

use super::{
    super::{Handler, LinkError, Shared, opening::Refusal},
    Offered, SnapshotHeader, SnapshotOutcome,
    receive::{ReceiveError, Receiving},
};
use crate::{
    proto::{self, snapshot_packet, snapshot_reply},
    raft::NodeId,
};

/// How long a sender may be silent. Its rate may be low, so it is not short; if it is dead, its connection ends sooner.
const SILENCE_MAX: Duration = Duration::from_secs(60);

type Packets = Streaming<proto::SnapshotPacket>;
type Answers = mpsc::Sender<Result<proto::SnapshotReply, Status>>;

/// Why a snapshot is not received to its end.
enum Stop {
    /// The sender is told that it is refused.
    Refused(String),
    /// The stream cannot go on.
    Link(LinkError),
}

impl From<LinkError> for Stop {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Link(refusal.into())
    }
}

/// Takes what node `from` sends after the opening, and tells it what became of it.
pub(in super::super) async fn receive(
    shared: &Shared,
    handler: &Arc<dyn Handler>,
    from: NodeId,
    packets: &mut Packets,
    answers: &Answers,
) {
    let outcome = match take(shared, handler, from, packets, answers).await {
        Ok(outcome) => outcome,
        Err(Stop::Refused(why)) => SnapshotOutcome::Refused(why),
        Err(Stop::Link(error)) => {
            tracing::info!(peer = format!("{from:016x}"), %error, "a snapshot was not received whole");
            // The peer may be gone, and then hears nothing.
            return drop(answers.send(Err(error.to_status())).await);
        }
    };
    tracing::info!(peer = format!("{from:016x}"), ?outcome, "a snapshot was offered");
    drop(answer(answers, snapshot_reply::Kind::End(outcome.to_wire())).await);
}

async fn take(
    shared: &Shared,
    handler: &Arc<dyn Handler>,
    from: NodeId,
    packets: &mut Packets,
    answers: &Answers,
) -> Result<SnapshotOutcome, Stop> {
    let snapshot_packet::Kind::Header(header) = next(packets).await? else {
        return Err(Refusal::Malformed("a snapshot begins with its header").into());
    };
    let header = SnapshotHeader::from_wire(from, header)?;
    let Ok(_alone) = shared.receiving.try_acquire() else {
        return Err(Stop::Refused("another snapshot is being received".to_owned()));
    };
    let (disk, dir, kept_bytes) = match handler.snapshot_offered(&header) {
        Offered::Take { disk, dir, kept_bytes } => (disk, dir, kept_bytes),
        Offered::NotNeeded => return Ok(SnapshotOutcome::NotNeeded),
        Offered::Refused(why) => return Err(Stop::Refused(why)),
    };
    let files = header.files.clone();
    let mut receiving = blocking(handler, move || Receiving::begin(disk, dir, files, kept_bytes)).await?;
    let (file, offset) = receiving.position();
    let file = u32::try_from(file).expect("the header has fewer files");
    answer(answers, snapshot_reply::Kind::Resume(proto::SnapshotResume { file, offset })).await?;
    while !receiving.is_whole() {
        let snapshot_packet::Kind::Chunk(chunk) = next(packets).await? else {
            return Err(Refusal::Malformed("only chunks follow the header").into());
        };
        receiving = blocking(handler, move || receiving.write(&chunk.data).map(|()| receiving)).await?;
    }
    blocking(handler, move || receiving.finish()).await?;
    Ok(handler.snapshot_received(header).await)
}

async fn next(packets: &mut Packets) -> Result<snapshot_packet::Kind, LinkError> {
    let packet = timeout(SILENCE_MAX, packets.message()).await.map_err(|_| LinkError::Late)?;
    let packet = packet?.ok_or(LinkError::Closed)?;
    Ok(packet.kind.ok_or(Refusal::Malformed("an unknown part of a snapshot"))?)
}

async fn answer(answers: &Answers, kind: snapshot_reply::Kind) -> Result<(), LinkError> {
    let reply = proto::SnapshotReply { kind: Some(kind) };
    answers.send(Ok(reply)).await.map_err(|_| LinkError::Closed)
}

/// Works with the disk, where that holds nobody up. A disk that failed ends the node.
async fn blocking<T: Send + 'static>(
    handler: &Arc<dyn Handler>,
    work: impl FnOnce() -> Result<T, ReceiveError> + Send + 'static,
) -> Result<T, Stop> {
    let handler = Arc::clone(handler);
    let done = spawn_blocking(move || {
        work().map_err(|error| match error {
            ReceiveError::Refused(why) => Stop::Refused(why),
            ReceiveError::Disk(error) => {
                handler.disk_failed(&error);
                Stop::Refused(format!("the disk failed: {error}"))
            }
        })
    });
    // The runtime ends.
    done.await.map_err(|_| Stop::Link(LinkError::Closed))?
}
