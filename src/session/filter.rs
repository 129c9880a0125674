//! Which clients `CLIENT LIST` and `CLIENT KILL` mean.

use super::ClientInfo;

/// What kind of client it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// Sends commands.
    Normal,
    /// What this node follows. There is none: nodes talk to each other on a port of their own.
    Primary,
    /// What follows this node; none either.
    Replica,
    /// Has subscribed.
    PubSub,
}

impl ClientKind {
    /// The kind that `TYPE` names.
    pub fn parse(word: &[u8]) -> Option<Self> {
        let kinds: [(&[u8], Self); 6] = [
            (b"normal", Self::Normal),
            (b"master", Self::Primary),
            (b"primary", Self::Primary),
            (b"slave", Self::Replica),
            (b"replica", Self::Replica),
            (b"pubsub", Self::PubSub),
        ];
        kinds.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|&(_, kind)| kind)
    }
}

/// Conditions that must all hold; one that is not set always does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFilter {
    /// One of these numbers.
    pub ids: Option<Vec<u64>>,
    /// This remote address.
    pub remote: Option<Vec<u8>>,
    /// This local address.
    pub local: Option<Vec<u8>>,
    /// This user.
    pub user: Option<Vec<u8>>,
    /// This kind.
    pub kind: Option<ClientKind>,
    /// Connected for at least so many seconds.
    pub age_seconds_min: Option<u64>,
    /// Not this client.
    pub except: Option<u64>,
}

impl ClientFilter {
    /// Whether `client` is meant.
    pub fn matches(&self, client: &ClientInfo, now_ms: u64) -> bool {
        fn holds<T>(condition: Option<&T>, test: impl FnOnce(&T) -> bool) -> bool {
            condition.is_none_or(test)
        }
        holds(self.ids.as_ref(), |ids| ids.contains(&client.id))
            && holds(self.remote.as_ref(), |remote| client.endpoint.remote.as_bytes() == &remote[..])
            && holds(self.local.as_ref(), |local| client.endpoint.local.as_bytes() == &local[..])
            && holds(self.user.as_ref(), |user| client.user().as_bytes() == &user[..])
            && holds(self.kind.as_ref(), |kind| client.kind() == *kind)
            && holds(self.age_seconds_min.as_ref(), |age| client.age_seconds(now_ms) >= *age)
            && holds(self.except.as_ref(), |except| client.id != *except)
    }
}
