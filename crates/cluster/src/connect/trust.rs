//! Which certificates are taken for the server's.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certificate;

/// Where the certificates of the CAs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Roots {
    /// Those that the system trusts.
    System,
    /// A PEM file.
    File(PathBuf),
}

/// Certificates of these CAs for the host's name.
pub(super) fn webpki(
    roots: &Roots,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let roots = Arc::new(trusted(roots)?);
    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|e| format!("sslrootcert cannot be used: {e}"))
}

fn trusted(roots: &Roots) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
        }
        Roots::File(path) => {
            let read = CertificateDer::pem_file_iter(path);
            let read = read.and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let read =
                read.map_err(|e| format!("sslrootcert {} cannot be read: {e}", path.display()))?;
            for certificate in read {
                let added = store.add(certificate);
                added.map_err(|e| format!("sslrootcert {}: {e}", path.display()))?;
            }
        }
    }
    match (store.is_empty(), roots) {
        (false, _) => Ok(store),
        (true, Roots::System) => Err("sslrootcert=system: the system trusts no CA".to_owned()),
        (true, Roots::File(path)) => Err(format!(
            "sslrootcert {} has no certificate in it",
            path.display()
        )),
    }
}

/// What is not asked for by name: a certificate of these CAs, whatever host it is for; or, without
/// any, any certificate, which encrypts the connection and does not tell who it leads to. That the
/// server has the certificate's key is looked at all the same: a password can be bound to the
/// certificate.
#[derive(Debug)]
pub(super) struct AnyName {
    pub(super) cas: Option<Arc<WebPkiServerVerifier>>,
    pub(super) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(cas) = &self.cas else {
            return Ok(ServerCertVerified::assertion());
        };
        // The name is looked at last: whoever has only that against it has a certificate of the CA.
        match cas.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        // Where it is of no CA, not all of a certificate is read: what Citus makes for a node by
        // itself is of version 1.
        let key = match &self.cas {
            Some(_) => None,
            None => certificate::public_key(certificate),
        };
        match key {
            Some(key) => verify_tls13_signature_with_raw_key(
                message,
                &SubjectPublicKeyInfoDer::from(key),
                signed,
                algorithms,
            ),
            None => verify_tls13_signature(message, certificate, signed, algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
