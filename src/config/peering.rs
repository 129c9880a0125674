//! How nodes know each other: a secret, certificates, and the files that hold them.

use std::fmt;
use std::fs;

use super::values::Values;

/// What all nodes of a cluster know, and nobody else. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerSecret(Vec<u8>);

impl PeerSecret {
    /// The secret itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PeerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerSecret(…)")
    }
}

/// The certificates and the key of this node, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerTls {
    /// This node's certificate, followed by those between it and the authority.
    pub certificate_pem: Vec<u8>,
    /// The key of the certificate.
    pub key_pem: Vec<u8>,
    /// The authority that signs the certificates of all nodes.
    pub ca_pem: Vec<u8>,
}

impl fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerTls(…)")
    }
}

/// The shortest secret: who hears one opening can try as many as they like, without asking any node.
const SECRET_BYTES_MIN: usize = 16;

/// What stands in the files that directives name.
#[derive(Debug, Default)]
pub(super) struct Peering {
    pub(super) secret: Option<PeerSecret>,
    pub(super) tls: Option<PeerTls>,
}

impl Peering {
    /// Reads the files. The values have passed all checks.
    ///
    /// # Errors
    /// The directive whose file cannot be used, and why.
    pub(super) fn read(values: &Values) -> Result<Self, (&'static str, String)> {
        let from_file = file(values, "peer-secret-file")?;
        let secret = match from_file {
            Some(bytes) => match bytes.trim_ascii_end() {
                b"" => {
                    return Err((
                        "peer-secret-file",
                        format!("{}: it is empty", values.text("peer-secret-file")),
                    ));
                }
                secret => Some(("peer-secret-file", secret.to_vec())),
            },
            None => values.text_option("peer-secret").map(|secret| ("peer-secret", secret.into_bytes())),
        };
        if let Some((name, _)) = secret.as_ref().filter(|(_, secret)| secret.len() < SECRET_BYTES_MIN) {
            return Err((name, format!("it is too short: at least {SECRET_BYTES_MIN} bytes, and random")));
        }
        let secret = secret.map(|(_, secret)| PeerSecret(secret));
        let certificate = file(values, "peer-tls-cert-file")?;
        let (key, ca) = (file(values, "peer-tls-key-file")?, file(values, "peer-tls-ca-cert-file")?);
        let tls = match (certificate, key, ca) {
            (Some(certificate_pem), Some(key_pem), Some(ca_pem)) => {
                Some(PeerTls { certificate_pem, key_pem, ca_pem })
            }
            _ => None,
        };
        Ok(Self { secret, tls })
    }
}

/// What stands in the file that `name` names, if it names one.
fn file(values: &Values, name: &'static str) -> Result<Option<Vec<u8>>, (&'static str, String)> {
    let Some(path) = values.path_option(name) else { return Ok(None) };
    fs::read(&path).map(Some).map_err(|error| (name, format!("{}: {error}", path.display())))
}
