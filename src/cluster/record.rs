//! The name of a member, and the addresses at which others reach it.
//!
//! # Format, version 1
//!
//! What stands as the record of a member in a configuration of the cluster. Integers are big-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, 1 |
//! | 2 + length | its name |
//! | 2 + length | where other nodes dial it, `host:port` |
//! | 2 + length | its host for clients; empty if it is not known |
//! | 2 + length | its host name for clients; empty if it has none |
//! | 2 | port |
//! | 2 | proxy port, 0 if there is none |
//! | 2 | HTTP port, 0 if there is none |
//!
//! The record of a cluster that was made of one node alone is empty: nothing is known then.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::config::{Config, EndpointType};

const VERSION: u8 = 1;

/// The longest text of a record, in bytes: host names have at most 255.
const TEXT_BYTES_MAX: usize = 1024;

/// What others need to know of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberRecord {
    /// What people call it.
    pub name: String,
    /// Where other nodes dial it: `host:port`.
    pub peer: String,
    /// Where clients find it: an address, or the name that the other nodes know it by. Empty: where they found it before.
    pub host: String,
    /// `cluster-announce-hostname`; empty if it has none.
    pub hostname: String,
    /// The port for cluster clients.
    pub port: u16,
    /// The port at which every node serves plain clients; 0 if there is none.
    pub proxy_port: u16,
    /// The port for HTTP; 0 if there is none.
    pub http_port: u16,
}

/// The ports that a node has opened, which its configuration may have left to the system; 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// For cluster clients.
    pub port: u16,
    /// For plain clients.
    pub proxy_port: u16,
    /// For HTTP.
    pub http_port: u16,
    /// For other nodes.
    pub peer_port: u16,
}

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A later version wrote it.
    #[error("a member's record has format {0}, this version reads format {VERSION}")]
    Version(u8),
    /// It is not what was written.
    #[error("a member's record is damaged")]
    Damaged,
}

/// A node cannot be dialled there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not host:port, or the name is none")]
pub struct NoAddress(String);

impl MemberRecord {
    /// The record of the node that `config` describes and that has opened these ports. `entry` is its own entry of
    /// `peers`, if it has one.
    pub fn new(config: &Config, entry: Option<&str>, bound: Bound) -> Self {
        let announce = &config.announce;
        let local = config.bind.iter().map(|address| address.ip).find(|ip| !ip.is_unspecified());
        let entry = announce.peer.as_deref().or(entry);
        let host = announce
            .ip
            .clone()
            .or_else(|| entry.and_then(|entry| entry.rsplit_once(':')).map(|(host, _)| unbracketed(host)))
            .or_else(|| local.map(|ip| ip.to_string()))
            .unwrap_or_default();
        let peer = match (entry, bound.peer_port) {
            (Some(entry), _) => entry.to_owned(),
            (None, 0) => String::new(),
            (None, port) => host_and_port(&host, port),
        };
        let name = config.name.clone().unwrap_or_else(|| peer.clone());
        Self {
            name,
            peer,
            host,
            hostname: announce.hostname.clone().unwrap_or_default(),
            port: announce.port.unwrap_or(bound.port),
            proxy_port: announce.proxy_port.unwrap_or(bound.proxy_port),
            http_port: announce.http_port.unwrap_or(bound.http_port),
        }
    }

    /// The record of a node of which only the address for others is known; it tells the rest when it is there.
    ///
    /// # Errors
    /// If that is no address, or what it is called no name.
    pub fn of_peer(peer: &str, name: String) -> Result<Self, NoAddress> {
        let port = peer.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        let is_short = peer.len() <= TEXT_BYTES_MAX && name.len() <= TEXT_BYTES_MAX;
        let is_plain = |text: &str| text.chars().all(|char| !char.is_whitespace() && !char.is_control());
        match port {
            Some((host, port))
                if port != 0 && !host.is_empty() && is_short && is_plain(peer) && is_plain(&name) =>
            {
                Ok(Self { name, peer: peer.to_owned(), host: unbracketed(host), ..Self::default() })
            }
            _ => Err(NoAddress(peer.to_owned())),
        }
    }

    /// Whether other nodes could dial it. Who listens everywhere and announces nothing has told no host.
    pub fn can_be_dialled(&self) -> bool {
        Self::of_peer(&self.peer, String::new()).is_ok()
    }

    /// The bytes of the table above.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        for text in [&self.name, &self.peer, &self.host, &self.hostname] {
            assert!(text.len() <= TEXT_BYTES_MAX, "the configuration bounds names and addresses");
            out.put_u16(u16::try_from(text.len()).expect("it is short"));
            out.put_slice(text.as_bytes());
        }
        for port in [self.port, self.proxy_port, self.http_port] {
            out.put_u16(port);
        }
        out.freeze()
    }

    /// Reads what [`MemberRecord::encode`] wrote.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn decode(mut bytes: Bytes) -> Result<Self, RecordError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let version = bytes.get_u8();
        if version != VERSION {
            return Err(RecordError::Version(version));
        }
        let [name, peer, host, hostname] =
            [text(&mut bytes)?, text(&mut bytes)?, text(&mut bytes)?, text(&mut bytes)?];
        let [port, proxy_port, http_port] = [port(&mut bytes)?, port(&mut bytes)?, port(&mut bytes)?];
        let record = Self { name, peer, host, hostname, port, proxy_port, http_port };
        if bytes.is_empty() { Ok(record) } else { Err(RecordError::Damaged) }
    }

    /// What cluster clients are told to find it by, as Redis does; empty for the host that they know.
    pub fn endpoint(&self, kind: EndpointType) -> &str {
        match kind {
            EndpointType::Ip => &self.host,
            EndpointType::Hostname if self.hostname.is_empty() => "?",
            EndpointType::Hostname => &self.hostname,
            EndpointType::Unknown => "",
        }
    }

    /// Where HTTP is served, as `host:port`; none if it is not.
    pub fn http(&self) -> Option<String> {
        (self.http_port != 0).then(|| host_and_port(&self.host, self.http_port))
    }
}

fn text(bytes: &mut Bytes) -> Result<String, RecordError> {
    let length = usize::from(bytes.try_get_u16().map_err(|_| RecordError::Damaged)?);
    if length > TEXT_BYTES_MAX || length > bytes.len() {
        return Err(RecordError::Damaged);
    }
    String::from_utf8(bytes.split_to(length).into()).map_err(|_| RecordError::Damaged)
}

fn port(bytes: &mut Bytes) -> Result<u16, RecordError> {
    bytes.try_get_u16().map_err(|_| RecordError::Damaged)
}

/// `host:port`, with brackets around an address that has colons of its own.
fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The host of `[host]:port`.
fn unbracketed(host: &str) -> String {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound { port: 7001, proxy_port: 7002, http_port: 7003, peer_port: 7004 };

    fn record(flags: &[(&str, &str)], entry: Option<&str>) -> MemberRecord {
        MemberRecord::new(&Config::from_flags(flags).unwrap(), entry, BOUND)
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let full = MemberRecord {
            name: "kv-0".to_owned(),
            peer: "kv-0.kv-raft:5001".to_owned(),
            host: "10.0.0.7".to_owned(),
            hostname: "kv-0.example".to_owned(),
            port: 6379,
            proxy_port: 6380,
            http_port: 8001,
        };
        for record in [full, MemberRecord::default()] {
            assert_eq!(MemberRecord::decode(record.encode()), Ok(record));
        }
        assert_eq!(MemberRecord::decode(Bytes::new()), Ok(MemberRecord::default()));
    }

    #[test]
    fn what_another_version_wrote_is_refused() {
        let mut bytes = MemberRecord::default().encode().to_vec();
        bytes[0] = 2;
        assert_eq!(MemberRecord::decode(bytes.into()), Err(RecordError::Version(2)));
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_refused() {
        let bytes = MemberRecord { name: "a".to_owned(), ..MemberRecord::default() }.encode();
        for end in 1..bytes.len() {
            assert_eq!(MemberRecord::decode(bytes.slice(..end)), Err(RecordError::Damaged), "{end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(MemberRecord::decode(longer.into()), Err(RecordError::Damaged));
        let no_text = [&[VERSION, 0, 1, 0xff], &bytes[4..]].concat();
        assert_eq!(MemberRecord::decode(no_text.into()), Err(RecordError::Damaged));
    }

    #[test]
    fn a_node_is_reached_by_what_the_others_call_it() {
        let found = record(&[("peers", "a:5001,b:5001")], Some("a:5001"));
        assert_eq!(
            (found.peer.as_str(), found.host.as_str(), found.name.as_str()),
            ("a:5001", "a", "a:5001")
        );
        assert_eq!((found.port, found.proxy_port, found.http_port), (7001, 7002, 7003));
    }

    #[test]
    fn what_is_announced_wins() {
        let flags = [
            ("peers", "a:5001,b:5001"),
            ("announce-peer", "b:5001"),
            ("name", "blue"),
            ("cluster-announce-ip", "192.0.2.1"),
            ("cluster-announce-hostname", "b.example"),
            ("cluster-announce-port", "16379"),
            ("announce-proxy-port", "16380"),
            ("announce-http-port", "18001"),
        ];
        let expected = MemberRecord {
            name: "blue".to_owned(),
            peer: "b:5001".to_owned(),
            host: "192.0.2.1".to_owned(),
            hostname: "b.example".to_owned(),
            port: 16379,
            proxy_port: 16380,
            http_port: 18001,
        };
        assert_eq!(record(&flags, Some("a:5001")), expected);
    }

    #[test]
    fn an_address_alone_makes_a_record() {
        let found = MemberRecord::of_peer("[::1]:5001", "a".to_owned()).unwrap();
        assert_eq!((found.peer.as_str(), found.host.as_str(), found.port), ("[::1]:5001", "::1", 0));
        for (peer, name) in
            [("a", "a"), ("a:0", "a"), (":1", "a"), ("a b:1", "a"), ("a:1", "a\n"), ("a:x", "a")]
        {
            assert!(MemberRecord::of_peer(peer, name.to_owned()).is_err(), "{peer} {name}");
        }
    }

    #[test]
    fn clients_are_told_what_the_directive_says() {
        let named =
            MemberRecord { host: "a".to_owned(), hostname: "b".to_owned(), ..MemberRecord::default() };
        let told = [EndpointType::Ip, EndpointType::Hostname, EndpointType::Unknown]
            .map(|kind| named.endpoint(kind));
        assert_eq!(told, ["a", "b", ""]);
        assert_eq!(MemberRecord::default().endpoint(EndpointType::Hostname), "?");
    }

    #[test]
    fn without_peers_the_address_that_it_listens_on_counts() {
        assert_eq!(record(&[("bind", "* ::1"), ("protected-mode", "no")], None).peer, "[::1]:7004");
        let everywhere = record(&[("bind", "*"), ("protected-mode", "no")], None);
        assert_eq!(everywhere.host, "", "clients stay with the address that they have");
        assert!(!everywhere.can_be_dialled());
        let announced = [("bind", "*"), ("protected-mode", "no"), ("cluster-announce-ip", "192.0.2.1")];
        assert!(record(&announced, None).can_be_dialled());
        assert_eq!(record(&[("announce-peer", "[::1]:5001")], None).host, "::1");
    }
}
