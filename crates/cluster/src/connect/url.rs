//! Connection URLs. The driver knows neither `sslrootcert` nor the modes that verify a certificate:
//! these are taken out before it reads the rest. Errors repeat nothing of a URL but the names that
//! are known here: it holds a password, and one that is not percent-encoded can be anywhere in it.

use tokio_postgres::Config;
use tokio_postgres::config::{LoadBalanceHosts, SslMode, SslNegotiation};

use super::tls::{Mode, Roots, Tls};

/// What a URL says.
pub(super) struct Parsed {
    pub(super) config: Config,
    pub(super) tls: Tls,
    /// Whether only a node is meant that takes writes.
    pub(super) read_write: bool,
}

/// Parameters that the driver reads.
const DRIVERS: [&str; 17] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslnegotiation",
    "tcp_user_timeout",
    "user",
];

/// Parameters of libpq that neither the driver nor we know, so that a refusal can name them.
const LIBPQS: [&str; 21] = [
    "client_encoding",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "keepalives_count",
    "krbsrvname",
    "passfile",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslsni",
];

const NEITHER: &str = "it is neither postgres://user:password@host:port/database, in which \
                       special characters of the password are \
                       percent-encoded, nor key=value pairs";

/// Reads a URL, or `key=value` pairs.
pub(super) fn parse(text: &str) -> Result<Parsed, String> {
    let mut own = Own::default();
    let rest = match text.split_once("://") {
        Some(("postgres" | "postgresql", _)) => own.take_from_url(text)?,
        _ => own.take_from_pairs(text)?,
    };
    let mut config: Config = rest.parse().map_err(|error| refused(&error))?;
    let tls = own.tls()?;
    config.ssl_mode(match tls.mode() {
        Mode::Disable => SslMode::Disable,
        Mode::Prefer => SslMode::Prefer,
        Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
    });
    let direct = config.get_ssl_negotiation() == SslNegotiation::Direct;
    if direct && config.get_ssl_mode() != SslMode::Require {
        return Err("sslnegotiation=direct needs sslmode=require, verify-ca or verify-full".into());
    }
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        return Err("load_balance_hosts can only be disable: one host takes writes".into());
    }
    let read_write = match own.session.as_deref() {
        None | Some("any") => false,
        Some("read-write") => true,
        Some(_) => return Err("target_session_attrs may be any or read-write".into()),
    };
    Ok(Parsed {
        config,
        tls,
        read_write,
    })
}

/// The driver's refusal of a known parameter's value; what else it says may have a part of the
/// password in it.
fn refused(error: &tokio_postgres::Error) -> String {
    let said = std::error::Error::source(error).map(ToString::to_string);
    said.filter(|said| said.starts_with("invalid value for option `"))
        .unwrap_or_else(|| NEITHER.to_owned())
}

/// The parameters that are read here.
#[derive(Default)]
struct Own {
    mode: Option<String>,
    roots: Option<String>,
    session: Option<String>,
}

impl Own {
    /// Takes a parameter; false for one that is the driver's.
    fn take(&mut self, name: &str, value: String) -> Result<bool, String> {
        match name {
            "sslmode" => self.mode = Some(value),
            "sslrootcert" => self.roots = Some(value),
            "target_session_attrs" => self.session = Some(value),
            known if DRIVERS.contains(&known) => return Ok(false),
            known if LIBPQS.contains(&known) => {
                return Err(format!("the parameter {known} is not supported"));
            }
            _ => {
                return Err(format!(
                    "it has an unknown parameter; there are sslmode, sslrootcert, \
                     target_session_attrs, {}",
                    DRIVERS.join(", ")
                ));
            }
        }
        Ok(true)
    }

    fn take_from_url(&mut self, url: &str) -> Result<String, String> {
        // The driver looks for the credentials' end first, whatever is in them.
        let head = url.find('@').map_or(0, |at| at + 1);
        // Others take an @ behind the first slash for a part of a value, and would connect
        // elsewhere.
        let credentials = url[..head].split_once("://").map_or("", |(_, rest)| rest);
        if credentials.contains('/') {
            return Err(
                "an @ or / in a user, a password or a value is written as %40 or %2F".to_owned(),
            );
        }
        let Some((before, query)) = url[head..].split_once('?') else {
            return Ok(url.to_owned());
        };
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value).ok_or(NEITHER)?;
            if !self.take(name, value)? {
                rest.push(pair);
            }
        }
        let before = &url[..head + before.len()];
        Ok(match rest.is_empty() {
            true => before.to_owned(),
            false => format!("{before}?{}", rest.join("&")),
        })
    }

    fn take_from_pairs(&mut self, text: &str) -> Result<String, String> {
        let mut rest = String::new();
        let mut left = text.trim();
        while !left.is_empty() {
            let (name, value, raw, after) = pair(left).ok_or(NEITHER)?;
            let word = |c: char| c.is_ascii_lowercase() || c == '_';
            if name.is_empty() || !name.chars().all(word) {
                return Err(NEITHER.to_owned());
            }
            if !self.take(name, value)? {
                rest.push_str(raw);
                rest.push(' ');
            }
            left = after.trim_start();
        }
        Ok(rest)
    }

    fn tls(&self) -> Result<Tls, String> {
        let system = self.roots.as_deref() == Some("system");
        let mode = match self.mode.as_deref() {
            // As libpq: certificates of anybody's can be had of those whom the system trusts, so
            // that only the name tells.
            None if system => Mode::VerifyFull,
            None | Some("prefer") => Mode::Prefer,
            Some("disable") => Mode::Disable,
            Some("require") => Mode::Require,
            Some("verify-ca") => Mode::VerifyCa,
            Some("verify-full") => Mode::VerifyFull,
            Some(_) => {
                return Err(
                    "sslmode may be disable, prefer, require, verify-ca or verify-full".into(),
                );
            }
        };
        if system && mode != Mode::VerifyFull {
            return Err("sslrootcert=system needs sslmode=verify-full".into());
        }
        if self.roots.is_some() && matches!(mode, Mode::Disable | Mode::Prefer) {
            return Err(
                "sslrootcert needs sslmode=require, verify-ca or verify-full: otherwise a \
                 connection may be unencrypted, and \
                 nobody would look at the certificate"
                    .into(),
            );
        }
        let roots = self.roots.as_ref().map(|path| match system {
            true => Roots::System,
            false => Roots::File(path.into()),
        });
        Tls::new(mode, roots.as_ref())
    }
}

/// The first pair of `name = value`, with its name, its value, its text, and what follows.
fn pair(text: &str) -> Option<(&str, String, &str, &str)> {
    let text = text.trim_start();
    let equals = text.find('=')?;
    let name = text[..equals].trim_end();
    let start = equals + 1 + text[equals + 1..].len() - text[equals + 1..].trim_start().len();
    let mut value = String::new();
    let mut chars = text[start..].char_indices().peekable();
    let quoted = chars.next_if(|(_, c)| *c == '\'').is_some();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            '\'' if quoted => {
                let end = start + at + 1;
                return Some((name, value, &text[..end], &text[end..]));
            }
            c if !quoted && c.is_whitespace() => {
                let end = start + at;
                return Some((name, value, &text[..end], &text[end..]));
            }
            c => value.push(c),
        }
    }
    // One that is not closed is none.
    (!quoted).then_some((name, value, text, ""))
}

/// A value without its percent signs.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> (Option<String>, Option<String>, String) {
        let mut own = Own::default();
        let rest = match text.contains("://") {
            true => own.take_from_url(text).unwrap(),
            false => own.take_from_pairs(text).unwrap(),
        };
        (own.mode, own.roots, rest)
    }

    #[test]
    fn what_the_driver_does_not_know_is_taken_out() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            read(
                "postgres://u@h/d?sslmode=verify-full&connect_timeout=3&sslrootcert=%2Fca%20x.pem"
            ),
            (
                text("verify-full"),
                text("/ca x.pem"),
                "postgres://u@h/d?connect_timeout=3".to_owned()
            )
        );
        assert_eq!(
            read("postgres://u@h/d"),
            (None, None, "postgres://u@h/d".to_owned())
        );
        // A question mark in a password is the password's.
        let (mode, _, rest) = read("postgres://u:a?b=c@h:1/d?sslmode=disable");
        assert_eq!(
            (mode, rest.as_str()),
            (text("disable"), "postgres://u:a?b=c@h:1/d")
        );
        let (mode, roots, rest) = read("host=h sslmode = require sslrootcert='/a b/\\'c' user=u");
        assert_eq!((mode, roots), (text("require"), text("/a b/'c")));
        let config: Config = rest.parse().unwrap();
        assert_eq!(config.get_user(), Some("u"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_words() {
        for (wrong, words) in [
            ("postgres://u@h/d?sslmode=always", "sslmode may be"),
            ("postgres://h/d?sslmode=disable&password=x@y/d", "%40"),
            ("postgres://u:p/q@h/d", "%2F"),
            ("postgres://u@h/d?sslmode=allow", "sslmode may be"),
            ("postgres://u@h/d?sslmode", "sslmode may be"),
            ("postgres://u@h/d?sslmode=verify-full", "need sslrootcert"),
            ("postgres://u@h/d?sslmode=verify-ca", "need sslrootcert"),
            (
                "postgres://u@h/d?sslmode=verify-ca&sslrootcert=/there/is/none.pem",
                "/there/is/none.pem cannot be read",
            ),
            (
                "postgres://u@h/d?sslrootcert=/ca.pem",
                "sslrootcert needs sslmode",
            ),
            (
                "postgres://u@h/d?sslmode=verify-ca&sslrootcert=system",
                "needs sslmode=verify-full",
            ),
            ("postgres://u@h/d?sslrootcert=%zz", "percent-encoded"),
            ("postgres://u@h/d?sslcert=x", "sslcert is not supported"),
            ("postgres://u@h/d?sslmod=x", "unknown parameter"),
            (
                "postgres://u@h/d?target_session_attrs=standby",
                "any or read-write",
            ),
            (
                "postgres://u@h/d?load_balance_hosts=random",
                "only be disable",
            ),
            (
                "postgres://u@h/d?sslnegotiation=direct",
                "needs sslmode=require",
            ),
            ("postgres://u@h/d?connect_timeout=soon", "`connect_timeout`"),
            ("postgres://u@h:door/d", "`port`"),
            ("host=h sslmode", "neither"),
            ("mysql://u@h/d", "neither"),
        ] {
            let refused = parse(wrong).err().unwrap_or_default();
            assert!(refused.contains(words), "{wrong}: {refused}");
        }
        for right in [
            "postgres://u@h/d?sslmode=require",
            "postgres://u@h/d?",
            "postgres://u@h1:1,h2:2/d?target_session_attrs=read-write",
            "postgresql://h/d?user=u&password=p",
        ] {
            assert!(parse(right).is_ok(), "{right}");
        }
    }

    #[test]
    fn no_refusal_repeats_a_secret() {
        for wrong in [
            "postgres://u:secret@h/d?sslmode=secret",
            "postgres://u:p?secret=%zz@h/d?x=1",
            "postgres://u:p@secret:secret/d",
            "postgres://h/d?password=a&secret=b",
            "postgres://u:p@h/d?sslmode=verify-full&secret",
            "postgres:/u:secret@h/d?sslmode=require",
            "postgres;//u:secret@h/d",
            "secret",
            "host=h password=a secret=b",
            "host=h password='secret",
            "host=h password=a secret",
        ] {
            let refused = parse(wrong).err().unwrap();
            assert!(!refused.contains("secret"), "{wrong}: {refused}");
        }
    }
}
