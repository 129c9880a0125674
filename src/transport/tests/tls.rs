//! Certificates.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    super::{StartError, Tls},
    *,
};

/// An authority that signs certificates of nodes.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem().into_bytes();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for `host`, by this authority, of a node that trusts `trusted`.
    fn sign(&self, host: &str, trusted: &Self) -> Tls {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Tls {
            certificate_pem: certificate.pem().into_bytes(),
            key_pem: key.serialize_pem().into_bytes(),
            ca_pem: trusted.pem.clone(),
        }
    }
}

async fn with_tls(id: NodeId, tls: Tls) -> Node {
    let security = Security { secret: None, tls: Some(tls) };
    Node::with(id, CLUSTER, Config { security, ..Config::default() }, "127.0.0.1:0").await
}

#[tokio::test]
async fn nodes_of_one_authority_speak() {
    let authority = Authority::new();
    let one = with_tls(1, authority.sign("127.0.0.1", &authority)).await;
    let two = with_tls(2, authority.sign("127.0.0.1", &authority)).await;
    one.speak_to(&[&two]);
    one.connected_to(2).await;
    assert!(one.transport.send(append(0, &[1 << 20])));
    two.told(|told| told.messages == [append(0, &[1 << 20])]).await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_host_lets_nobody_in() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let two = with_tls(2, authority.sign("127.0.0.1", &authority)).await;
    // It trusts the right one, but nobody trusts it.
    let one = with_tls(1, stranger.sign("127.0.0.1", &authority)).await;
    one.speak_to(&[&two]);
    one.refused_by(2).await;
    // It is trusted, but trusts others.
    let one = with_tls(1, authority.sign("127.0.0.1", &stranger)).await;
    one.speak_to(&[&two]);
    let words = one.refused_by(2).await;
    assert!(words.contains("invalid peer certificate"), "{words}");
    // It is no node of that host.
    let elsewhere = with_tls(3, authority.sign("elsewhere", &authority)).await;
    let one = with_tls(1, authority.sign("127.0.0.1", &authority)).await;
    one.speak_to(&[&elsewhere]);
    let words = one.refused_by(3).await;
    assert!(words.contains("not valid for name"), "{words}");
    assert!(two.told.told.borrow().messages.is_empty());
}

#[tokio::test]
async fn plain_and_encrypted_do_not_mix() {
    let authority = Authority::new();
    let (plain, encrypted) =
        (Node::start(1).await, with_tls(2, authority.sign("127.0.0.1", &authority)).await);
    plain.speak_to(&[&encrypted]);
    encrypted.speak_to(&[&plain]);
    plain.refused_by(2).await;
    encrypted.refused_by(1).await;
}

#[tokio::test]
async fn a_key_that_is_none_is_told_at_the_start() {
    let authority = Authority::new();
    let mut tls = authority.sign("127.0.0.1", &authority);
    tls.key_pem = b"no key".to_vec();
    let config = Config { security: Security { secret: None, tls: Some(tls) }, ..Config::default() };
    let host = Arc::new(Recorder::new(Answer::Take));
    let started = Transport::start(config, 1, 0, Vec::new(), host, Handle::current());
    assert!(matches!(started, Err(StartError::Tls(_))));
}

#[tokio::test]
async fn handshakes_that_are_never_finished_keep_no_member_out() {
    let authority = Authority::new();
    let one = with_tls(1, authority.sign("127.0.0.1", &authority)).await;
    let two = with_tls(2, authority.sign("127.0.0.1", &authority)).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(two.address()).await.unwrap();
        // The head of a record that holds a ClientHello, of which half may come. It may be closed already.
        drop(stream.write_all(&[22, 3, 1, 1, 0, 1, 0, 0, 252]).await);
        silent.push(stream);
    }
    one.speak_to(&[&two]);
    one.connected_to(2).await;
    timeout(DEADLINE, two.transport.stop()).await.expect("it waits for a handshake");
}
