//! One stored record: a version, a kind, a checksum over both, the key and the payload, and the payload.
//!
//! What is read back is what was written under that key, or a fault. A payload of an earlier version is carried forward
//! step by step; one of a later version is never touched.

use xxhash_rust::xxh3::Xxh3;

/// What a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A catalog delta, as JSON in the form of the wire.
    Entries = 1,
    /// A peer last seen, as JSON.
    Peer = 2,
    /// The latest date this node gave to anything, as JSON.
    Floor = 3,
    /// The route keys of a cluster, as JSON.
    Keys = 4,
    /// What a store on disk says of itself.
    Seal = 5,
    /// Something that is gone, as JSON.
    Gone = 6,
    /// Who told of a node, as JSON.
    Teller = 7,
}

/// Why a record cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    TooShort,
    Checksum,
    /// The record is of another kind than its table holds.
    OtherKind(u8),
    /// Its payload cannot be carried forward from this version.
    Migration(u8),
    Newer(u8),
    /// Whole, but whoever keeps it cannot make sense of it.
    Meaningless,
}

/// Carries a payload from one version to the next; `None` where it makes no sense.
type Migration = fn(Kind, &[u8]) -> Option<Vec<u8>>;

/// A record as it is stored under `key`.
pub fn encode(kind: Kind, key: &[u8], payload: &[u8]) -> Vec<u8> {
    encode_as(version_of(MIGRATIONS), kind, key, payload)
}

/// The payload of a record, in its present form.
pub fn decode(kind: Kind, key: &[u8], record: &[u8]) -> Result<Vec<u8>, Fault> {
    decode_with(MIGRATIONS, kind, key, record)
}

fn encode_as(version: u8, kind: Kind, key: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEAD_BYTES + payload.len());
    record.push(version);
    record.push(kind as u8);
    record.extend_from_slice(&checksum(version, kind as u8, key, payload).to_le_bytes());
    record.extend_from_slice(payload);
    record
}

fn decode_with(migrations: &[Migration], kind: Kind, key: &[u8], record: &[u8]) -> Result<Vec<u8>, Fault> {
    let Some((&[version, found, ref sum @ ..], payload)) = record.split_first_chunk::<HEAD_BYTES>() else {
        return Err(Fault::TooShort);
    };
    if checksum(version, found, key, payload).to_le_bytes() != *sum {
        return Err(Fault::Checksum);
    }
    if version > version_of(migrations) {
        return Err(Fault::Newer(version));
    }
    if found != kind as u8 {
        return Err(Fault::OtherKind(found));
    }
    let mut payload = payload.to_vec();
    for migrate in migrations.iter().skip(usize::from(version).saturating_sub(1)) {
        payload = migrate(kind, &payload).ok_or(Fault::Migration(version))?;
    }
    Ok(payload)
}

fn version_of(migrations: &[Migration]) -> u8 {
    migrations.len() as u8 + 1
}

fn checksum(version: u8, kind: u8, key: &[u8], payload: &[u8]) -> u64 {
    let mut sum = Xxh3::new();
    sum.update(&[version, kind]);
    // Its length, so that key and payload cannot trade bytes.
    sum.update(&(key.len() as u64).to_le_bytes());
    sum.update(key);
    sum.update(payload);
    sum.digest()
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::TooShort => f.write_str("too short"),
            Fault::Checksum => f.write_str("wrong checksum"),
            Fault::OtherKind(kind) => write!(f, "of kind {kind}, which does not belong there"),
            Fault::Migration(version) => write!(f, "of version {version}, and cannot be carried forward"),
            Fault::Meaningless => f.write_str("whole, but makes no sense"),
            Fault::Newer(version) => write!(f, "of the later version {version}"),
        }
    }
}

/// From version n to n + 1, the first from 1 to 2; the present version is one more than there are of them.
const MIGRATIONS: &[Migration] = &[];
/// Version, kind, checksum.
const HEAD_BYTES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_every_flipped_bit_is_found() {
        let record = encode(Kind::Peer, b"k", b"payload");
        assert_eq!(decode(Kind::Peer, b"k", &record), Ok(b"payload".to_vec()));
        assert_eq!(decode(Kind::Peer, b"l", &record), Err(Fault::Checksum));
        assert_eq!(decode(Kind::Floor, b"k", &record), Err(Fault::OtherKind(2)));
        for bit in 0..record.len() * 8 {
            let mut bad = record.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(Kind::Peer, b"k", &bad), Err(Fault::Checksum), "{bit}");
        }
        for length in 0..HEAD_BYTES {
            assert_eq!(decode(Kind::Peer, b"k", &record[..length]), Err(Fault::TooShort));
        }
    }

    #[test]
    fn an_old_record_is_carried_forward_and_a_later_one_left() {
        let chain: &[Migration] = &[
            |_, old| Some([old, b"+2"].concat()),
            |_, old| old.starts_with(b"a").then(|| [old, b"+3"].concat()),
        ];
        let stored = |version, payload| encode_as(version, Kind::Peer, b"k", payload);
        let read = |version, payload| decode_with(chain, Kind::Peer, b"k", &stored(version, payload));
        assert_eq!(read(1, b"a"), Ok(b"a+2+3".to_vec()));
        assert_eq!(read(2, b"a"), Ok(b"a+3".to_vec()));
        assert_eq!(read(3, b"a"), Ok(b"a".to_vec()));
        assert_eq!(read(4, b"a"), Err(Fault::Newer(4)));
        assert_eq!(read(1, b"b"), Err(Fault::Migration(1)));
    }
}
