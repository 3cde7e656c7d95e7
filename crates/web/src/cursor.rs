//! Opaque cursors: where a page ended, bound to the list that it belongs to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::Error;

const VERSION: u8 = 1;
const CHECK_BYTES: usize = 4;

/// What a cursor is good for: one list with one set of filters. A cursor is no secret and grants
/// nothing; the check only catches one that is used with other filters, which would skip or repeat
/// rows.
pub struct Scope(Sha256);

impl Scope {
    /// The list `name`.
    pub fn new(name: &str) -> Self {
        Self(Sha256::new()).with(name)
    }

    /// Narrowed by one more value. The length goes in as well: `ab`+`c` is not `a`+`bc`.
    pub fn with(mut self, value: &str) -> Self {
        self.0.update((value.len() as u64).to_be_bytes());
        self.0.update(value);
        self
    }

    fn check(&self, position: &[u8]) -> [u8; CHECK_BYTES] {
        let digest = self.0.clone().chain_update(position).finalize();
        [digest[0], digest[1], digest[2], digest[3]]
    }

    /// The cursor for `position`.
    pub fn encode(&self, position: &[u8]) -> String {
        let mut bytes = Vec::with_capacity(1 + position.len() + CHECK_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(position);
        bytes.extend_from_slice(&self.check(position));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position in `cursor`, which must be `N` bytes.
    pub fn decode<const N: usize>(&self, cursor: &str) -> Result<[u8; N], Error> {
        // Longer than any cursor of ours: do not even decode it.
        if cursor.len() > 128 {
            return Err(Error::InvalidCursor);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(cursor)
            .map_err(|_| Error::InvalidCursor)?;
        let (version, rest) = bytes.split_first().ok_or(Error::InvalidCursor)?;
        let (position, check) = rest.split_at_checked(N).ok_or(Error::InvalidCursor)?;
        if *version != VERSION || check != self.check(position) {
            return Err(Error::InvalidCursor);
        }
        position.try_into().map_err(|_| Error::InvalidCursor)
    }

    /// The id in `cursor`.
    pub fn decode_id(&self, cursor: &str) -> Result<Uuid, Error> {
        self.decode(cursor).map(Uuid::from_bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cursor_fits_its_own_list_only() {
        let id = Uuid::from_u128(7);
        let scope = || Scope::new("invoices").with("t1").with("status=paid");
        let cursor = scope().encode(id.as_bytes());
        assert_eq!(scope().decode_id(&cursor).unwrap(), id);
        assert!(
            Scope::new("invoices")
                .with("t2")
                .with("status=paid")
                .decode_id(&cursor)
                .is_err()
        );
        assert!(
            Scope::new("invoices")
                .with("t1status=paid")
                .decode_id(&cursor)
                .is_err()
        );
        for bad in [
            "",
            "x",
            "AAAA",
            &cursor[1..],
            &format!("{cursor}A"),
            &"A".repeat(1000),
        ] {
            assert!(scope().decode_id(bad).is_err(), "{bad}");
        }
    }
}
