//! Encrypted connections. The modes are those of libpq:
//!
//! | `sslmode` | encrypted | the server is |
//! |---|---|---|
//! | `disable` | no | anybody |
//! | `prefer` (default) | where the server can | anybody |
//! | `require` | yes | anybody; with `sslrootcert`, as `verify-ca` |
//! | `verify-ca` | yes | who has a certificate of the CA |
//! | `verify-full` | yes | and one for the host's name |

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, Error};
use tokio_postgres::Socket;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;

use super::stream::Encrypted;
pub(super) use super::trust::Roots;
use super::trust::{AnyName, webpki};

/// What is asked of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// Makes connections that are encrypted.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    mode: Mode,
    has_roots: bool,
}

impl Tls {
    pub(super) fn new(mode: Mode, roots: Option<&Roots>) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match (mode, roots) {
            (Mode::VerifyCa | Mode::VerifyFull, None) => {
                return Err(
                    "sslmode=verify-ca and verify-full need sslrootcert: a file with the \
                     certificates of the CA, or `system`"
                        .to_owned(),
                );
            }
            (Mode::VerifyFull, Some(roots)) => webpki(roots, &provider)?,
            (mode, roots) => {
                let asked = roots.filter(|_| matches!(mode, Mode::VerifyCa | Mode::Require));
                Arc::new(AnyName {
                    cas: asked.map(|roots| webpki(roots, &provider)).transpose()?,
                    provider: Arc::clone(&provider),
                })
            }
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| format!("no TLS: {e}"))?;
        let mut config = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            mode,
            has_roots: roots.is_some(),
        })
    }

    /// Whether there are CAs to trust, which `require` makes use of as well.
    pub(super) fn has_roots(&self) -> bool {
        self.has_roots
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }
}

/// Why a connection could not be encrypted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeFailed {
    /// A certificate that is not trusted.
    #[error("the certificate of {host} {why}")]
    Certificate {
        /// The server.
        host: String,
        /// What is wrong with it.
        why: String,
    },
    /// A name that is none.
    #[error("{0} is no name that a certificate can be for")]
    Name(String),
    /// Anything else.
    #[error("{0}")]
    Other(std::io::Error),
}

impl HandshakeFailed {
    fn of(host: String, error: std::io::Error) -> Self {
        let cause = error.get_ref().and_then(|e| e.downcast_ref::<Error>());
        let Some(Error::InvalidCertificate(cause)) = cause else {
            return Self::Other(error);
        };
        let why = match cause {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "is not signed by a CA of sslrootcert".to_owned()
            }
            CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
                "is for no host: it has no subjectAltName".to_owned()
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                format!("is for another host: {}", names(presented).join(", "))
            }
            CertificateError::NotValidForName => "is for another host".to_owned(),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "is not valid yet".to_owned()
            }
            // Of a CA that is used as a server's own, and of version 1, for example.
            other => format!("cannot be used: {other}"),
        };
        Self::Certificate { host, why }
    }
}

/// Names of a certificate without what the library writes around them.
fn names(presented: &[String]) -> Vec<&str> {
    let inner = |name| str::split(name, '"').nth(1).unwrap_or(name);
    presented.iter().map(|name| inner(name)).collect()
}

/// One handshake.
pub(crate) struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
    host: String,
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Encrypted;
    type TlsConnect = Handshake;
    type Error = HandshakeFailed;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, HandshakeFailed> {
        let name = match ServerName::try_from(host) {
            Ok(name) => name.to_owned(),
            Err(_) if self.mode == Mode::VerifyFull => {
                return Err(HandshakeFailed::Name(host.to_owned()));
            }
            // Nobody compares it.
            Err(_) => ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()),
        };
        Ok(Handshake {
            connector: TlsConnector::from(Arc::clone(&self.config)),
            name,
            host: host.to_owned(),
        })
    }
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Encrypted;
    type Error = HandshakeFailed;
    type Future = Pin<Box<dyn Future<Output = Result<Encrypted, HandshakeFailed>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let connected = self.connector.connect(self.name, socket).await;
            let stream = connected.map_err(|error| HandshakeFailed::of(self.host, error))?;
            Ok(Encrypted::from(stream))
        })
    }
}
