//! Certificates for tests: a CA, and what it signs (RFC 5280), with ECDSA keys over P-256.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

/// `ecdsa-with-SHA256`.
const SIGNED: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// `id-ecPublicKey`, and the curve.
const EC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// `id-at-commonName`, `id-ce-basicConstraints`, `id-ce-subjectAltName`.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
const BITS: u8 = 0x03;
const OCTETS: u8 = 0x04;

/// A certificate with its key, in PEM.
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// What a certificate is for.
#[derive(Clone, Copy, Default)]
pub(super) struct Wanted<'a> {
    pub(super) names: &'a [&'a str],
    pub(super) addresses: &'a [[u8; 4]],
    /// Valid in the past.
    pub(super) is_expired: bool,
    /// Without extensions, as certificates were before 1996, and those that Citus makes for itself.
    pub(super) is_old: bool,
}

struct Key {
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
}

impl Key {
    fn new() -> Self {
        let random = SystemRandom::new();
        let kind = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let pkcs8 = pkcs8.as_ref().to_vec();
        let pair = EcdsaKeyPair::from_pkcs8(kind, &pkcs8, &random).unwrap();
        Self { pair, pkcs8 }
    }

    fn public(&self) -> Vec<u8> {
        let kind = of(SEQUENCE, [&of(OID, [EC_KEY]), &of(OID, [P256])]);
        let point = self.pair.public_key().as_ref();
        of(SEQUENCE, [&kind, &of(BITS, [&[0], point])])
    }

    fn pem(&self) -> String {
        pem("PRIVATE KEY", &self.pkcs8)
    }
}

/// A CA.
pub(super) struct Authority {
    name: String,
    key: Key,
    certificate: Vec<u8>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let key = Key::new();
        let yes = of(0x01, [&[0xff]]);
        let is_ca = of(OCTETS, [&of(SEQUENCE, [&yes])]);
        let extension = of(SEQUENCE, [&of(OID, [CONSTRAINTS]), &yes, &is_ca]);
        let certificate = certificate(
            (name, &key),
            (name, &key),
            Wanted::default(),
            Some(&extension),
        );
        Self {
            name: name.to_owned(),
            key,
            certificate,
        }
    }

    /// What is to be trusted.
    pub(super) fn pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// Its own certificate, as a server's.
    pub(super) fn itself(&self) -> Issued {
        Issued {
            certificate: self.pem(),
            key: self.key.pem(),
        }
    }

    pub(super) fn issue(&self, wanted: Wanted<'_>) -> Issued {
        let key = Key::new();
        let names = wanted.names.iter().map(|name| of(0x82, [name.as_bytes()]));
        let addresses = wanted.addresses.iter().map(|ip| of(0x87, [ip]));
        let names = names.chain(addresses).collect::<Vec<_>>().concat();
        let names = of(OCTETS, [&of(SEQUENCE, [&names])]);
        let extension = of(SEQUENCE, [&of(OID, [ALT_NAME]), &names]);
        let extension = (!wanted.is_old).then_some(extension);
        let der = certificate(
            (&self.name, &self.key),
            ("a server", &key),
            wanted,
            extension.as_deref(),
        );
        Issued {
            certificate: pem("CERTIFICATE", &der),
            key: key.pem(),
        }
    }
}

fn certificate(
    (issuer, issuers): (&str, &Key),
    (subject, subjects): (&str, &Key),
    wanted: Wanted<'_>,
    extension: Option<&[u8]>,
) -> Vec<u8> {
    let algorithm = of(SEQUENCE, [&of(OID, [SIGNED])]);
    let (from, until) = match wanted.is_expired {
        true => ("200101000000Z", "210101000000Z"),
        false => ("200101000000Z", "491231235959Z"),
    };
    let moment = |text: &str| of(0x17, [text.as_bytes()]);
    let validity = of(SEQUENCE, [&moment(from), &moment(until)]);
    let mut parts = Vec::new();
    if extension.is_some() {
        parts.push(of(0xa0, [&of(0x02, [&[2]])]));
    }
    let serial = ring::rand::generate::<[u8; 8]>(&SystemRandom::new());
    let mut serial = serial.unwrap().expose();
    serial[0] = serial[0] & 0x3f | 0x40;
    parts.extend([
        of(0x02, [&serial]),
        algorithm.clone(),
        name(issuer),
        validity,
        name(subject),
        subjects.public(),
    ]);
    if let Some(extension) = extension {
        parts.push(of(0xa3, [&of(SEQUENCE, [extension])]));
    }
    let signed = of(SEQUENCE, [&parts.concat()]);
    let signature = issuers.pair.sign(&SystemRandom::new(), &signed).unwrap();
    let signature = of(BITS, [&[0], signature.as_ref()]);
    of(SEQUENCE, [&signed, &algorithm, &signature])
}

fn name(text: &str) -> Vec<u8> {
    let text = of(0x0c, [text.as_bytes()]);
    let pair = of(SEQUENCE, [&of(OID, [COMMON_NAME]), &text]);
    of(SEQUENCE, [&of(0x31, [&pair])])
}

/// An element of DER.
fn of<const N: usize>(tag: u8, parts: [&[u8]; N]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short @ 0..=0x7f) => out.push(short),
        Ok(byte) => out.extend([0x81, byte]),
        Err(_) => {
            out.push(0x82);
            out.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    out.extend(content);
    out
}

fn pem(what: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in der.chunks(3) {
        let at = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(match digit > three.len() {
                true => '=',
                false => char::from(DIGITS[value as usize]),
            });
        }
    }
    let lines: Vec<_> = text.as_bytes().chunks(64).collect();
    let lines: Vec<_> = lines
        .iter()
        .map(|l| std::str::from_utf8(l).unwrap())
        .collect();
    format!(
        "-----BEGIN {what}-----\n{}\n-----END {what}-----\n",
        lines.join("\n")
    )
}
