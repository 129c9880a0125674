//! The opening of a stream: each side shows that it is the one that the other means, and that it has the secret.
//!
//! ```text
//! dialler                                       acceptor
//!   Hello {version, cluster, shard, from, to, nonce} ──►   checks that it is meant
//!   ◄── Challenge {nonce}
//!   Proof {mac("dialler", Hello, Challenge)} ──►           checks the secret
//!   ◄── Welcome {mac("acceptor", Hello, Challenge)}        (the dialler checks it before it says anything)
//! ```
//!
//! A mac is HMAC-SHA256 under the secret. Both nonces are in it, so what was overheard is of no use later, and a label,
//! so that no side can be made to prove itself by its own answer. See [`super::Security`] for what this protects against.

use bytes::Bytes;
use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use tonic::{Code, Status};

use crate::{proto, raft::NodeId};

/// The version of the protocol between nodes.
pub(super) const VERSION: u32 = 1;

const NONCE_BYTES: usize = 32;

/// What is shared by the nodes of a cluster and known to nobody else.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl Secret {
    /// A secret. It should be long and random, such as 32 bytes of `openssl rand -hex 32`: who overhears an opening can
    /// try words at leisure.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

/// Why a node does not speak with another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The other speaks another version of the protocol.
    #[error("it speaks version {0} of the protocol between nodes, this node speaks version {VERSION}")]
    Version(u32),
    /// The other belongs to another cluster.
    #[error("it belongs to cluster {theirs:032x}, this node to {ours:032x}")]
    Cluster {
        /// Of the other.
        theirs: u128,
        /// Of this node.
        ours: u128,
    },
    /// This node is not in a cluster yet, or has just started, and the other means one that is in it.
    #[error("this node does not take part in a cluster yet")]
    NoCluster,
    /// The other means another shard.
    #[error("it is of shard {theirs}, this is shard {ours}")]
    Shard {
        /// Of the other.
        theirs: u32,
        /// Of this node.
        ours: u32,
    },
    /// The other means another node, which was here before or is elsewhere.
    #[error("it means node {theirs:016x}, this is node {ours:016x}")]
    Receiver {
        /// Who was meant.
        theirs: NodeId,
        /// This node.
        ours: NodeId,
    },
    /// The other says that it is this node, or nobody.
    #[error("it says that it is node {0:016x}, which it cannot be")]
    Sender(NodeId),
    /// The other does not have the secret of this node, or has one when this node has none.
    #[error("it has not the same secret (peer-secret)")]
    Secret,
    /// The other does not speak this protocol.
    #[error("it does not open a stream as it should: {0}")]
    Malformed(&'static str),
}

impl Refusal {
    /// Returns the status that tells it to the other, whose words are then "it" and "this" the other way round.
    pub(super) fn to_status(&self) -> Status {
        let code = match self {
            Self::Secret => Code::Unauthenticated,
            Self::Malformed(_) => Code::InvalidArgument,
            Self::NoCluster => Code::Unavailable,
            Self::Version(_)
            | Self::Cluster { .. }
            | Self::Shard { .. }
            | Self::Receiver { .. }
            | Self::Sender(_) => Code::FailedPrecondition,
        };
        Status::new(code, format!("refused by the peer: {self}"))
    }
}

/// Who opens a stream to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) cluster: u128,
    pub(super) shard: u32,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    nonce: [u8; NONCE_BYTES],
}

/// The two sides of an opening.
#[derive(Clone, Copy)]
enum Side {
    Dialler,
    Acceptor,
}

impl Hello {
    /// A new one.
    pub(super) fn new(cluster: u128, shard: u32, from: NodeId, to: NodeId) -> Self {
        Self { cluster, shard, from, to, nonce: nonce() }
    }

    /// One that asks who is there. No member is so addressed: what is proved in a meeting opens nothing else.
    pub(super) fn to_anybody(from: NodeId) -> Self {
        Self::new(0, 0, from, 0)
    }

    pub(super) fn to_wire(&self) -> proto::Hello {
        proto::Hello {
            version: VERSION,
            cluster: Bytes::copy_from_slice(&self.cluster.to_be_bytes()),
            shard: self.shard,
            from: self.from,
            to: self.to,
            nonce: Bytes::copy_from_slice(&self.nonce),
        }
    }

    /// Reads what a dialler says.
    pub(super) fn from_wire(hello: &proto::Hello) -> Result<Self, Refusal> {
        if hello.version != VERSION {
            return Err(Refusal::Version(hello.version));
        }
        let cluster = <[u8; 16]>::try_from(&hello.cluster[..]);
        let cluster = cluster.map_err(|_| Refusal::Malformed("a cluster id has 16 bytes"))?;
        Ok(Self {
            cluster: u128::from_be_bytes(cluster),
            shard: hello.shard,
            from: hello.from,
            to: hello.to,
            nonce: read_nonce(&hello.nonce)?,
        })
    }

    /// Checks that `node` of this cluster and shard is meant.
    pub(super) fn check(&self, cluster: u128, shard: u32, node: NodeId) -> Result<(), Refusal> {
        if self.cluster != cluster {
            return Err(Refusal::Cluster { theirs: self.cluster, ours: cluster });
        }
        if self.shard != shard {
            return Err(Refusal::Shard { theirs: self.shard, ours: shard });
        }
        if self.to != node {
            return Err(Refusal::Receiver { theirs: self.to, ours: node });
        }
        if self.from == 0 || self.from == node {
            return Err(Refusal::Sender(self.from));
        }
        Ok(())
    }

    /// Checks that it is meant for whoever answers. That may be the dialler itself, which then learns that.
    pub(super) fn check_to_anybody(&self) -> Result<(), Refusal> {
        if self.from == 0 {
            return Err(Refusal::Sender(self.from));
        }
        match (self.cluster, self.shard, self.to) {
            (0, 0, 0) => Ok(()),
            _ => Err(Refusal::Malformed("a meeting is with whoever answers")),
        }
    }

    /// Returns what the dialler shows.
    pub(super) fn proof(&self, secret: Option<&Secret>, challenge: &Challenge) -> proto::Proof {
        proto::Proof { mac: self.mac(secret, challenge, Side::Dialler) }
    }

    /// Returns what the acceptor shows.
    pub(super) fn welcome(&self, secret: Option<&Secret>, challenge: &Challenge) -> proto::Welcome {
        proto::Welcome { mac: self.mac(secret, challenge, Side::Acceptor) }
    }

    /// Checks what the dialler shows.
    pub(super) fn check_proof(
        &self,
        secret: Option<&Secret>,
        challenge: &Challenge,
        proof: &proto::Proof,
    ) -> Result<(), Refusal> {
        self.check_mac(secret, challenge, Side::Dialler, &proof.mac)
    }

    /// Checks what the acceptor shows.
    pub(super) fn check_welcome(
        &self,
        secret: Option<&Secret>,
        challenge: &Challenge,
        welcome: &proto::Welcome,
    ) -> Result<(), Refusal> {
        self.check_mac(secret, challenge, Side::Acceptor, &welcome.mac)
    }

    fn mac(&self, secret: Option<&Secret>, challenge: &Challenge, side: Side) -> Bytes {
        secret.map_or_else(Bytes::new, |Secret(key)| {
            Bytes::copy_from_slice(hmac::sign(key, &self.signed(challenge, side)).as_ref())
        })
    }

    fn check_mac(
        &self,
        secret: Option<&Secret>,
        challenge: &Challenge,
        side: Side,
        mac: &[u8],
    ) -> Result<(), Refusal> {
        let good = match secret {
            Some(Secret(key)) => hmac::verify(key, &self.signed(challenge, side), mac).is_ok(),
            None => mac.is_empty(),
        };
        if good { Ok(()) } else { Err(Refusal::Secret) }
    }

    /// Every field has its fixed length, so no two openings have the same bytes.
    fn signed(&self, challenge: &Challenge, side: Side) -> Vec<u8> {
        let label: &[u8; 8] = match side {
            Side::Dialler => b"dialler ",
            Side::Acceptor => b"acceptor",
        };
        [
            &b"sisyphusdb peer "[..],
            label,
            &VERSION.to_be_bytes(),
            &self.cluster.to_be_bytes(),
            &self.shard.to_be_bytes(),
            &self.from.to_be_bytes(),
            &self.to.to_be_bytes(),
            &self.nonce,
            &challenge.nonce,
        ]
        .concat()
    }
}

/// What the acceptor adds, so that nothing overheard opens another stream.
#[derive(Clone, Debug)]
pub(super) struct Challenge {
    nonce: [u8; NONCE_BYTES],
}

impl Challenge {
    pub(super) fn new() -> Self {
        Self { nonce: nonce() }
    }

    pub(super) fn to_wire(&self) -> proto::Challenge {
        proto::Challenge { nonce: Bytes::copy_from_slice(&self.nonce) }
    }

    pub(super) fn from_wire(challenge: &proto::Challenge) -> Result<Self, Refusal> {
        Ok(Self { nonce: read_nonce(&challenge.nonce)? })
    }
}

fn nonce() -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    SystemRandom::new().fill(&mut nonce).expect("the system has random bytes");
    nonce
}

fn read_nonce(bytes: &[u8]) -> Result<[u8; NONCE_BYTES], Refusal> {
    <[u8; NONCE_BYTES]>::try_from(bytes).map_err(|_| Refusal::Malformed("a nonce has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello::new(7, 0, 1, 2)
    }

    #[test]
    fn a_hello_survives_the_wire() {
        let hello = hello();
        assert_eq!(Hello::from_wire(&hello.to_wire()).unwrap(), hello);
    }

    #[test]
    fn who_is_not_meant_says_what_differs() {
        let hello = hello();
        assert_eq!(hello.check(7, 0, 2), Ok(()));
        assert_eq!(hello.check(8, 0, 2), Err(Refusal::Cluster { theirs: 7, ours: 8 }));
        assert_eq!(hello.check(7, 1, 2), Err(Refusal::Shard { theirs: 0, ours: 1 }));
        assert_eq!(hello.check(7, 0, 3), Err(Refusal::Receiver { theirs: 2, ours: 3 }));
        assert_eq!(Hello::new(7, 0, 2, 2).check(7, 0, 2), Err(Refusal::Sender(2)));
        assert_eq!(Hello::new(7, 0, 0, 2).check(7, 0, 2), Err(Refusal::Sender(0)));
        let other = proto::Hello { version: 9, ..hello.to_wire() };
        assert_eq!(Hello::from_wire(&other), Err(Refusal::Version(9)));
        let short = proto::Hello { nonce: Bytes::from_static(b"short"), ..hello.to_wire() };
        assert!(matches!(Hello::from_wire(&short), Err(Refusal::Malformed(_))));
    }

    #[test]
    fn a_meeting_is_with_anybody_and_with_nobody_else() {
        assert_eq!(Hello::to_anybody(1).check_to_anybody(), Ok(()));
        assert_eq!(Hello::to_anybody(0).check_to_anybody(), Err(Refusal::Sender(0)));
        assert!(matches!(Hello::to_anybody(1).check(7, 0, 2), Err(Refusal::Cluster { .. })));
        for hello in [Hello::new(7, 0, 1, 0), Hello::new(0, 1, 1, 0), Hello::new(0, 0, 1, 2)] {
            assert!(matches!(hello.check_to_anybody(), Err(Refusal::Malformed(_))), "{hello:?}");
        }
    }

    #[test]
    fn a_proof_is_good_for_one_opening_and_one_side() {
        let (hello, challenge, secret) = (hello(), Challenge::new(), Secret::new(b"a secret"));
        let proof = hello.proof(Some(&secret), &challenge);
        assert_eq!(hello.check_proof(Some(&secret), &challenge, &proof), Ok(()));
        let refused = Err(Refusal::Secret);
        let other_secret = Secret::new(b"another secret");
        assert_eq!(hello.check_proof(Some(&other_secret), &challenge, &proof), refused);
        assert_eq!(hello.check_proof(None, &challenge, &proof), refused);
        let none = hello.proof(None, &challenge);
        assert_eq!(hello.check_proof(Some(&secret), &challenge, &none), refused);
        assert_eq!(hello.check_proof(None, &challenge, &none), Ok(()));
        assert_eq!(hello.check_proof(Some(&secret), &Challenge::new(), &proof), refused, "replayed");
        let reflected = proto::Welcome { mac: proof.mac };
        assert_eq!(hello.check_welcome(Some(&secret), &challenge, &reflected), refused, "reflected");
        let welcome = hello.welcome(Some(&secret), &challenge);
        assert_eq!(hello.check_welcome(Some(&secret), &challenge, &welcome), Ok(()));
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new(b"hush")), "Secret(..)");
    }
}
