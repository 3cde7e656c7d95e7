//! What has to be known of a certificate beside whether it is trusted.

use sha2::{Digest, Sha256, Sha384, Sha512};

/// The hash of a certificate, by the function of its signature (RFC 5929, `tls-server-end-point`).
pub(super) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OBJECT IDENTIFIER,
    // .. }, .. }
    let (_, inside, _) = element(certificate)?;
    let (_, _, after) = element(inside)?;
    let (_, algorithm, _) = element(after)?;
    let (0x06, oid, _) = element(algorithm)? else {
        return None;
    };
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
    let last = *oid.last()?;
    match (&oid[..oid.len() - 1], last) {
        // MD5 and SHA-1 are too weak to be used.
        (RSA, 4 | 5 | 11) | (ECDSA, 2) => Some(Sha256::digest(certificate).to_vec()),
        (RSA, 12) | (ECDSA, 3) => Some(Sha384::digest(certificate).to_vec()),
        (RSA, 13) | (ECDSA, 4) => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

/// An element of DER: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(*short), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0, |length, digit| length << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((*tag, content, after))
}

/// The public key of a certificate of any version, with its kind (RFC 5280,
/// `SubjectPublicKeyInfo`).
pub(super) fn public_key(certificate: &[u8]) -> Option<&[u8]> {
    let (_, inside, _) = element(certificate)?;
    let (_, mut left, _) = element(inside)?;
    // Certificates of version 1 do not say so.
    if let (0xa0, _, after) = element(left)? {
        left = after;
    }
    // Serial number, signature algorithm, issuer, validity, subject.
    for _ in 0..5 {
        (_, _, left) = element(left)?;
    }
    let (_, _, after) = element(left)?;
    left.get(..left.len() - after.len())
}
