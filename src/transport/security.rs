//! Who may be a peer: a shared secret, certificates, or (on one machine) anybody.

use std::net::IpAddr;

use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use super::{Secret, connection::OPENING_MAX};

/// How nodes know each other. A peer can read and change everything, so off loopback one of the two is demanded
/// ([`check_protected`]).
///
/// - A **secret** shows at the opening of every stream that both sides have it, and it never crosses the network. It
///   keeps strangers out: port scanners, a client on the wrong port, a node of another cluster. What follows the opening
///   is neither encrypted nor authenticated, so who can read the network reads the data (and can guess at a short secret),
///   and who can change packets under way can take over a stream. For networks that are not trusted there is TLS.
/// - **TLS** encrypts, and both sides show a certificate of the authority `ca_pem`, which should sign nothing else. That
///   of a node must be good for the host that the others dial. It proves "a node of this cluster", not which one.
///
/// Both may be used together.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// The shared secret.
    pub secret: Option<Secret>,
    /// The certificates.
    pub tls: Option<Tls>,
}

/// Certificates and the key of a node, as PEM.
#[derive(Clone)]
pub struct Tls {
    /// This node's certificate, followed by those between it and the authority.
    pub certificate_pem: Vec<u8>,
    /// The key of the certificate.
    pub key_pem: Vec<u8>,
    /// The authority that signs the certificates of all nodes.
    pub ca_pem: Vec<u8>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Tls(..)")
    }
}

impl Tls {
    pub(super) fn server(&self) -> ServerTlsConfig {
        ServerTlsConfig::new()
            .identity(Identity::from_pem(&self.certificate_pem, &self.key_pem))
            .client_ca_root(Certificate::from_pem(&self.ca_pem))
            .timeout(OPENING_MAX)
    }

    pub(super) fn client(&self) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .identity(Identity::from_pem(&self.certificate_pem, &self.key_pem))
            .ca_certificate(Certificate::from_pem(&self.ca_pem))
            .timeout(OPENING_MAX)
    }
}

/// Peers would be let in from beyond this machine without showing who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "peer-port on {0} listens beyond this machine and lets everybody in who asks: set peer-secret or peer-tls-cert-file, \
     peer-tls-key-file and peer-tls-ca-cert-file, or protected-mode no"
)]
pub struct Unprotected(pub IpAddr);

/// Checks that peers are known, or are of this machine, or that `protected-mode` is off.
///
/// # Errors
///
/// The first of the addresses to `listen` on that is open to strangers.
pub fn check_protected(
    listen: impl IntoIterator<Item = IpAddr>,
    security: &Security,
    protected_mode: bool,
) -> Result<(), Unprotected> {
    if !protected_mode || security.secret.is_some() || security.tls.is_some() {
        return Ok(());
    }
    match listen.into_iter().find(|address| !address.to_canonical().is_loopback()) {
        Some(open) => Err(Unprotected(open)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_let_in_only_if_that_was_asked_for() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (loopback, open) = ([address("127.0.0.1"), address("::1")], [address("::1"), address("0.0.0.0")]);
        let nothing = Security::default();
        assert_eq!(check_protected(loopback, &nothing, true), Ok(()));
        assert_eq!(check_protected(open, &nothing, true), Err(Unprotected(open[1])));
        assert_eq!(check_protected([address("::")], &nothing, true), Err(Unprotected(address("::"))));
        assert_eq!(check_protected(open, &nothing, false), Ok(()));
        let secret = Security { secret: Some(Secret::new(b"s")), tls: None };
        assert_eq!(check_protected(open, &secret, true), Ok(()));
        let tls = Tls { certificate_pem: Vec::new(), key_pem: Vec::new(), ca_pem: Vec::new() };
        assert_eq!(check_protected(open, &Security { secret: None, tls: Some(tls) }, true), Ok(()));
        let line = Unprotected(open[1]).to_string();
        assert!(line.contains("peer-port on 0.0.0.0") && line.contains("peer-secret"), "{line}");
    }
}
