//! The opening (`opening`) on the streams of all calls.

use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{
    LinkError, Secret,
    opening::{Challenge, Hello, Refusal},
};
use crate::{proto, raft::NodeId};

/// What the dialler of a call sends.
pub(super) trait Request: Sized + Send + 'static {
    fn from_hello(hello: proto::Hello) -> Self;
    fn from_proof(proof: proto::Proof) -> Self;
    fn into_hello(self) -> Option<proto::Hello>;
    fn into_proof(self) -> Option<proto::Proof>;
}

/// What the acceptor of a call answers.
pub(super) trait Answer: Sized + Send + 'static {
    fn from_challenge(challenge: proto::Challenge) -> Self;
    fn from_welcome(welcome: proto::Welcome) -> Self;
    fn into_challenge(self) -> Option<proto::Challenge>;
    fn into_welcome(self) -> Option<proto::Welcome>;
}

/// The two types of a call have the same four arms.
macro_rules! opens {
    ($request:ident, $requests:ident, $answer:ident, $answers:ident) => {
        impl Request for proto::$request {
            fn from_hello(hello: proto::Hello) -> Self {
                Self { kind: Some(proto::$requests::Kind::Hello(hello)) }
            }

            fn from_proof(proof: proto::Proof) -> Self {
                Self { kind: Some(proto::$requests::Kind::Proof(proof)) }
            }

            fn into_hello(self) -> Option<proto::Hello> {
                if let Some(proto::$requests::Kind::Hello(hello)) = self.kind { Some(hello) } else { None }
            }

            fn into_proof(self) -> Option<proto::Proof> {
                if let Some(proto::$requests::Kind::Proof(proof)) = self.kind { Some(proof) } else { None }
            }
        }

        impl Answer for proto::$answer {
            fn from_challenge(challenge: proto::Challenge) -> Self {
                Self { kind: Some(proto::$answers::Kind::Challenge(challenge)) }
            }

            fn from_welcome(welcome: proto::Welcome) -> Self {
                Self { kind: Some(proto::$answers::Kind::Welcome(welcome)) }
            }

            fn into_challenge(self) -> Option<proto::Challenge> {
                if let Some(proto::$answers::Kind::Challenge(challenge)) = self.kind {
                    Some(challenge)
                } else {
                    None
                }
            }

            fn into_welcome(self) -> Option<proto::Welcome> {
                if let Some(proto::$answers::Kind::Welcome(welcome)) = self.kind {
                    Some(welcome)
                } else {
                    None
                }
            }
        }
    };
}

opens!(Packet, packet, Reply, reply);
opens!(SnapshotPacket, snapshot_packet, SnapshotReply, snapshot_reply);
opens!(MeetPacket, meet_packet, MeetReply, meet_reply);
opens!(TunnelPacket, tunnel_packet, TunnelReply, tunnel_reply);

/// The dialler's part, after its hello: returns when the acceptor has let it in and has shown that it may be spoken to.
pub(super) async fn dialled<Q: Request, A: Answer>(
    hello: &Hello,
    secret: Option<&Secret>,
    requests: &mpsc::Sender<Q>,
    answers: &mut Streaming<A>,
) -> Result<(), LinkError> {
    let challenge = answers.message().await?.and_then(A::into_challenge);
    let challenge = challenge.ok_or(Refusal::Malformed("a hello is answered with a challenge"))?;
    let challenge = Challenge::from_wire(&challenge)?;
    let proof = Q::from_proof(hello.proof(secret, &challenge));
    requests.send(proof).await.map_err(|_| LinkError::Closed)?;
    let welcome = answers.message().await?.and_then(A::into_welcome);
    let welcome = welcome.ok_or(Refusal::Malformed("a proof is answered with a welcome"))?;
    Ok(hello.check_welcome(secret, &challenge, &welcome)?)
}

/// Whom an acceptor lets in, if they have the secret.
pub(super) enum Door {
    /// Who wants to know who is there.
    Anybody,
    /// Who means this node of this cluster.
    Member {
        /// None if this node belongs to no cluster yet.
        cluster: Option<u128>,
        shard: u32,
        node: NodeId,
    },
}

impl Door {
    fn check(&self, hello: &Hello) -> Result<(), Refusal> {
        match *self {
            Self::Anybody => hello.check_to_anybody(),
            Self::Member { cluster: None, .. } => Err(Refusal::NoCluster),
            Self::Member { cluster: Some(cluster), shard, node } => hello.check(cluster, shard, node),
        }
    }
}

/// The acceptor's part: returns who has been let in.
///
/// # Errors
///
/// Who it says it is, if it said anything that can be read, and why it is not let in.
pub(super) async fn accepted<Q: Request, A: Answer>(
    door: Door,
    secret: Option<&Secret>,
    requests: &mut Streaming<Q>,
    answers: &mpsc::Sender<Result<A, Status>>,
) -> Result<NodeId, (NodeId, LinkError)> {
    let hello = next(requests, Q::into_hello, "a stream begins with a hello");
    let hello = hello.await.and_then(|hello| Ok(Hello::from_wire(&hello)?)).map_err(|error| (0, error))?;
    let rest = async {
        door.check(&hello)?;
        let challenge = Challenge::new();
        answer(answers, A::from_challenge(challenge.to_wire())).await?;
        let proof = next(requests, Q::into_proof, "a challenge is answered with a proof").await?;
        hello.check_proof(secret, &challenge, &proof)?;
        answer(answers, A::from_welcome(hello.welcome(secret, &challenge))).await
    };
    rest.await.map(|()| hello.from).map_err(|error| (hello.from, error))
}

async fn next<Q, T>(
    requests: &mut Streaming<Q>,
    wanted: fn(Q) -> Option<T>,
    otherwise: &'static str,
) -> Result<T, LinkError> {
    let request = requests.message().await?.ok_or(LinkError::Closed)?;
    Ok(wanted(request).ok_or(Refusal::Malformed(otherwise))?)
}

async fn answer<A>(answers: &mpsc::Sender<Result<A, Status>>, answer: A) -> Result<(), LinkError> {
    answers.send(Ok(answer)).await.map_err(|_| LinkError::Closed)
}
