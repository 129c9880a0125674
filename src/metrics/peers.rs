//! What is known of the way to the other nodes.

/// The streams between this node and the others.
#[derive(Clone, Debug, Default)]
pub struct PeersStatus {
    /// The members that this node speaks to, in the order of their ids.
    pub links: Vec<PeerStatus>,
    /// How often a node was not let in, or was cut off for what it said.
    pub refused: u64,
    /// Tunnels that there are.
    pub tunnels_open: u64,
    /// Tunnels that this node has opened to others.
    pub tunnels_opened: u64,
    /// Tunnels that others have opened to this node.
    pub tunnels_served: u64,
    /// Bytes sent through tunnels.
    pub tunnel_sent_bytes: u64,
    /// Bytes received through tunnels.
    pub tunnel_received_bytes: u64,
    /// Bytes in the buffers of tunnels: written and not sent, or received and not read.
    pub tunnel_buffer_bytes: u64,
}

/// A member that this node speaks to.
#[derive(Clone, Debug, Default)]
pub struct PeerStatus {
    /// Its id.
    pub id: u64,
    /// Where it is dialled.
    pub address: String,
    /// Whether there is a stream to it.
    pub is_connected: bool,
    /// Messages sent to it.
    pub sent: u64,
    /// Messages for it that were thrown away, since there was no stream or too much waited.
    pub dropped: u64,
    /// Messages from it.
    pub received: u64,
    /// Streams to it that were opened.
    pub opened: u64,
}
