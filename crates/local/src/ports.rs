//! Ports on 127.0.0.1.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};

use rand::Rng;

use crate::error::{LocalError, Result};

/// Below the ephemeral ranges of Linux (32768 up) and the BSDs (49152 up), so that no outgoing
/// connection of a stranger holds a port of ours when we come back to it.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// Tries before giving up; the range would have to be almost full.
const TRIES: usize = 1_000;

/// Picks `count` different ports that nobody listens on.
pub(crate) fn pick(count: usize) -> Result<Vec<u16>> {
    let mut rng = rand::rng();
    let mut picked = Vec::with_capacity(count);
    for _ in 0..TRIES {
        if picked.len() == count {
            break;
        }
        let port = rng.random_range(RANGE);
        if !picked.contains(&port) && is_free(port) {
            picked.push(port);
        }
    }
    if picked.len() == count {
        Ok(picked)
    } else {
        Err(LocalError::NoFreePort)
    }
}

/// Refuses a port that somebody else listens on; `user` says what needs it.
pub(crate) fn check_free(port: u16, user: &str) -> Result<()> {
    if is_free(port) {
        Ok(())
    } else {
        Err(LocalError::PortTaken {
            port,
            user: user.to_owned(),
        })
    }
}

fn is_free(port: u16) -> bool {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => true,
        Err(error) => error.kind() != ErrorKind::AddrInUse,
    }
}
