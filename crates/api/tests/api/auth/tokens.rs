//! An issuer of tokens: signs with what the test chooses, and serves its public keys.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaPublicKeyComponents,
};
use serde_json::{Value, json};
use sheaf_web::{JwtConfig, JwtSecret};
use uuid::Uuid;

use crate::support::now;

pub(crate) const ISSUER: &str = "https://id.example";
pub(crate) const AUDIENCE: &str = "sheaf";
pub(crate) const SECRET: &[u8; 32] = b"a secret of the tests, 32 bytes.";

pub(crate) fn config() -> JwtConfig {
    JwtConfig {
        secret: Some(JwtSecret::new(SECRET.as_slice())),
        ..JwtConfig::new(ISSUER, AUDIENCE)
    }
}

/// Good claims, with these members on top; `null` takes one out.
pub(crate) fn claims(tenant: Uuid, role: &str, members: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "user-1",
        "iat": now().timestamp(),
        "exp": now().timestamp() + 600,
        "tenant_id": tenant,
        "role": role,
    });
    let all = claims.as_object_mut().unwrap();
    let Value::Object(members) = members else {
        panic!("objects only")
    };
    for (name, value) in members {
        if value.is_null() {
            all.remove(&name);
        } else {
            all.insert(name, value);
        }
    }
    claims
}

/// header.claims.signature
pub(crate) fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

pub(crate) fn hmac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    ring::hmac::sign(&key, message).as_ref().to_vec()
}

/// A token signed with the tests' secret.
pub(crate) fn hs256(claims: &Value) -> String {
    token(&json!({"alg": "HS256", "typ": "JWT"}), claims, |message| {
        hmac(SECRET, message)
    })
}

/// An RSA key. ring makes none, so all tests share one that was made beforehand.
pub(crate) struct Rsa(RsaKeyPair);

impl Rsa {
    pub(crate) fn load() -> Self {
        let pem = include_str!("../keys/rsa-for-tests.pem");
        let base64: String = pem.lines().filter(|l| !l.starts_with("-----")).collect();
        Self(RsaKeyPair::from_pkcs8(&STANDARD.decode(base64).unwrap()).unwrap())
    }

    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let encode = |number: Vec<u8>| URL_SAFE_NO_PAD.encode(number);
        let (n, e) = (encode(self.components().n), encode(self.components().e));
        json!({"kty": "RSA", "use": "sig", "kid": kid, "n": n, "e": e})
    }

    fn components(&self) -> RsaPublicKeyComponents<Vec<u8>> {
        RsaPublicKeyComponents::from(self.0.public())
    }

    pub(crate) fn modulus(&self) -> Vec<u8> {
        self.components().n
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message,
                &mut signature,
            )
            .unwrap();
        signature
    }

    pub(crate) fn token(&self, kid: &str, claims: &Value) -> String {
        let header = json!({"alg": "RS256", "kid": kid});
        token(&header, claims, |message| self.sign(message))
    }
}

/// A new P-256 key.
pub(crate) struct Ec(EcdsaKeyPair);

impl Ec {
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap())
    }

    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let point = self.0.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": kid,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
    }

    pub(crate) fn token(&self, kid: &str, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": kid});
        token(&header, claims, |message| {
            let signature = self.0.sign(&SystemRandom::new(), message).unwrap();
            signature.as_ref().to_vec()
        })
    }
}

/// A server of a JWK set that can change, break, and count.
#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) url: String,
    set: Arc<Mutex<String>>,
    down: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    pub(crate) async fn start(keys: Value) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self {
            url: format!("http://{}/keys", listener.local_addr().unwrap()),
            set: Arc::default(),
            down: Arc::default(),
            asked: Arc::default(),
        };
        issuer.publish(keys);
        let served = issuer.clone();
        let answer = move || {
            let issuer = served.clone();
            async move { issuer.answer() }
        };
        let router = Router::new().route("/keys", get(answer));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let router = router.clone();
                let service = hyper::service::service_fn(move |request| {
                    tower::Service::call(&mut router.clone(), request)
                });
                let http = hyper::server::conn::http1::Builder::new();
                let io = hyper_util::rt::TokioIo::new(stream);
                tokio::spawn(async move { http.serve_connection(io, service).await });
            }
        });
        issuer
    }

    fn answer(&self) -> (StatusCode, String) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            (StatusCode::BAD_GATEWAY, String::new())
        } else {
            (StatusCode::OK, self.set.lock().unwrap().clone())
        }
    }

    pub(crate) fn publish(&self, keys: Value) {
        *self.set.lock().unwrap() = json!({ "keys": keys }).to_string();
    }

    pub(crate) fn break_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
