//! A registry of route keys as a document, in the form in which the reference exports its own (fabric.md 8, 16):
//! `{"clusters": {"<cluster>": {"primary_key_id": "<id>", "keys": [{"key_id", "public_key", "expires_at"}]}}}`.
//!
//! A document is understood as a whole or not at all, so that a slip of the pen cannot take keys away. Members that are
//! not named here are passed over.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{CLUSTERS_MAX, ConfiguredKey, KEY_ID_BYTES_MAX, KEYS_PER_CLUSTER_MAX, PublicKey};
use crate::core::catalog::Text;

#[derive(Deserialize)]
struct Document {
    clusters: BTreeMap<Text, Cluster>,
}

#[derive(Deserialize)]
struct Cluster {
    #[serde(default)]
    primary_key_id: Option<Text>,
    keys: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    key_id: Option<Text>,
    public_key: Text,
    #[serde(default)]
    expires_at: Option<f64>,
}

/// The keys of several documents together; each comes with the name that its faults are told under.
pub fn read_registry<'a>(
    documents: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Vec<ConfiguredKey>, String> {
    let mut keys: Vec<ConfiguredKey> = Vec::new();
    let mut of_cluster: BTreeMap<Text, BTreeSet<Text>> = BTreeMap::new();
    for (name, bytes) in documents {
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| format!("{name}: no registry of keys: {error}"))?;
        for (cluster, listed) in document.clusters {
            let known = of_cluster.entry(cluster.clone()).or_default();
            let read = listed
                .read(&cluster, known)
                .map_err(|fault| format!("{name}: cluster {cluster}: {fault}"))?;
            keys.extend(read);
        }
        if of_cluster.len() > CLUSTERS_MAX {
            return Err(format!("{name}: more than {CLUSTERS_MAX} clusters"));
        }
    }
    Ok(keys)
}

impl Cluster {
    /// `known` are the ids that this cluster has already.
    fn read(self, cluster: &Text, known: &mut BTreeSet<Text>) -> Result<Vec<ConfiguredKey>, String> {
        if cluster.is_empty() {
            return Err("it has no name".into());
        }
        let mut keys = Vec::new();
        for record in self.keys {
            let key = PublicKey::parse(&record.public_key)
                .map_err(|fault| format!("public_key of key {}: {fault}", keys.len() + 1))?;
            if !key.is_usable() {
                return Err(format!("public_key of key {} is a key of nobody", keys.len() + 1));
            }
            let key_id = record.key_id.filter(|id| !id.is_empty()).unwrap_or_else(|| key.id());
            if key_id.len() > KEY_ID_BYTES_MAX {
                return Err(format!("key {}: key_id has more than {KEY_ID_BYTES_MAX} bytes", keys.len() + 1));
            }
            if !known.insert(key_id.clone()) {
                return Err(format!("key {key_id} is there twice"));
            }
            if known.len() > KEYS_PER_CLUSTER_MAX {
                return Err(format!("more than {KEYS_PER_CLUSTER_MAX} keys"));
            }
            let primary = self.primary_key_id.as_ref() == Some(&key_id);
            keys.push(ConfiguredKey {
                cluster: cluster.clone(),
                key,
                key_id,
                primary,
                expires_at: record.expires_at,
            });
        }
        match self.primary_key_id {
            Some(id) if !keys.iter().any(|key| key.primary) => {
                Err(format!("primary_key_id {id} is none of its keys"))
            }
            _ => Ok(keys),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::Signer;
    use super::*;

    fn hex(n: u8) -> String {
        Signer::parse(&format!("{n:02x}").repeat(32), "").unwrap().public().to_hex().to_string()
    }

    fn read(documents: &[serde_json::Value]) -> Result<Vec<ConfiguredKey>, String> {
        let texts: Vec<String> = documents.iter().map(|d| d.to_string()).collect();
        read_registry(texts.iter().map(|t| ("keys.json", t.as_bytes())))
    }

    #[test]
    fn the_export_of_the_reference_is_read() {
        let keys = read(&[
            json!({"generated_at": 5.0, "clusters": {
                "a": {"primary_key_id": "k2", "keys": [
                    {"key_id": "k1", "public_key": hex(1), "added_at": 1.0, "expires_at": 9.5},
                    {"key_id": "k2", "public_key": hex(2), "added_at": 2.0, "expires_at": null}]},
                "b": {"primary_key_id": null, "keys": []}}}),
            json!({"clusters": {"a": {"keys": [{"public_key": hex(3)}]}}}),
        ])
        .unwrap();
        let told: Vec<_> = keys.iter().map(|k| (&*k.cluster, &*k.key_id, k.primary, k.expires_at)).collect();
        let third = PublicKey::from_hex(&hex(3)).unwrap().id();
        assert_eq!(
            told,
            [("a", "k1", false, Some(9.5)), ("a", "k2", true, None), ("a", &third, false, None)]
        );
        assert_eq!(&*keys[1].key.to_hex(), hex(2));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_takes_all_along() {
        let key = |n: u8| json!({"key_id": "k", "public_key": hex(n)});
        let many: Vec<_> = (1..=17).map(|n| json!({"public_key": hex(n)})).collect();
        for (document, word) in [
            (json!([]), "no registry of keys"),
            (json!({}), "`clusters`"),
            (json!({"clusters": {"a": {}}}), "`keys`"),
            (json!({"clusters": {"a": {"keys": [{"key_id": "k"}]}}}), "`public_key`"),
            (
                json!({"clusters": {"a": {"keys": [key(1), {"public_key": "zz"}]}}}),
                "cluster a: public_key of key 2",
            ),
            (
                json!({"clusters": {"a": {"keys": [{"public_key": "ab".repeat(32)}]}}}),
                "key 1 is a key of nobody",
            ),
            (json!({"clusters": {"a": {"keys": [key(1), key(2)]}}}), "key k is there twice"),
            (json!({"clusters": {"a": {"primary_key_id": "x", "keys": [key(1)]}}}), "primary_key_id x"),
            (json!({"clusters": {"": {"keys": [key(1)]}}}), "no name"),
            (json!({"clusters": {"a": {"keys": many}}}), "more than 16 keys"),
            (
                json!({"clusters": {"a": {"keys": [{"key_id": "k".repeat(256), "public_key": hex(1)}]}}}),
                "key_id",
            ),
        ] {
            let told = read(&[json!({"clusters": {"z": {"keys": [key(9)]}}}), document]).unwrap_err();
            assert!(told.starts_with("keys.json: ") && told.contains(word), "{told}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_told(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_registry([("x", &bytes[..])]);
        }
    }
}
