//! PostgreSQL's hash of a UUID, by which Citus places a tenant.
//!
//! Citus distributes by the hash function of the type's default hash operator class; for `uuid`
//! that is `uuid_hash`, which is `hash_any` over the 16 bytes: Bob Jenkins' lookup3 as in
//! PostgreSQL's `src/common/hashfn.c`. Computing it here means that a route needs no query, and
//! that a tenant never seen before can be routed while the coordinator is down. A test compares it
//! with the server's.

use uuid::Uuid;

/// `uuid_hash(id)`, as the signed integer that `pg_dist_shard` speaks of.
#[must_use]
#[inline]
pub fn uuid_hash(id: Uuid) -> i32 {
    let bytes = id.as_bytes();
    let word = |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
    let seed = 0x9e37_79b9_u32.wrapping_add(16).wrapping_add(3_923_095);
    let mut a = seed.wrapping_add(word(0));
    let mut b = seed.wrapping_add(word(4));
    let mut c = seed.wrapping_add(word(8));
    // One full block of 12 bytes is mixed; each step takes from one word and adds to the next.
    let step = |x: &mut u32, y: &mut u32, z: &mut u32, rot: u32| {
        *x = x.wrapping_sub(*z) ^ z.rotate_left(rot);
        *z = z.wrapping_add(*y);
    };
    step(&mut a, &mut b, &mut c, 4);
    step(&mut b, &mut c, &mut a, 6);
    step(&mut c, &mut a, &mut b, 8);
    step(&mut a, &mut b, &mut c, 16);
    step(&mut b, &mut c, &mut a, 19);
    step(&mut c, &mut a, &mut b, 4);
    // The last 4 bytes, and the final scrambling.
    a = a.wrapping_add(word(12));
    let finish = |x: &mut u32, y: u32, rot: u32| *x = (*x ^ y).wrapping_sub(y.rotate_left(rot));
    finish(&mut c, b, 14);
    finish(&mut a, c, 11);
    finish(&mut b, a, 25);
    finish(&mut c, b, 16);
    finish(&mut a, c, 4);
    finish(&mut b, a, 14);
    finish(&mut c, b, 24);
    i32::from_ne_bytes(c.to_ne_bytes())
}

/// The index of the shard that a hash value belongs to, of shards that are sorted by their smallest
/// value and cover all.
#[must_use]
#[inline]
pub fn shard_index<T>(shards: &[T], hash: i32, min_hash: impl Fn(&T) -> i32) -> usize {
    shards
        .partition_point(|shard| min_hash(shard) <= hash)
        .saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of `select uuid_hash('...')` on PostgreSQL 15.
    #[test]
    fn agrees_with_postgresql() {
        for (id, hash) in [
            ("00000000-0000-0000-0000-000000000000", 1_353_656_403),
            ("ffffffff-ffff-ffff-ffff-ffffffffffff", -682_383_255),
            ("0192d1c0-1111-7abc-8def-0123456789ab", 293_353_094),
            ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", 1_154_666_245),
        ] {
            assert_eq!(uuid_hash(id.parse().unwrap_or_default()), hash, "{id}");
        }
    }
}
