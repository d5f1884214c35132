//! What clusters say about routes and keys (fabric.md 7.1, 7.2, 7.8, 8.3): the payloads of the gossip kinds
//! route_advertisement, route_withdrawal and route_key_announcement, and the canonical bytes under their signatures.
//!
//! Reading is as lenient as that of the reference: a member of a wrong type has its default, and a signature or key that
//! is not hexadecimal counts as absent. Nothing here decides whether a message is believed.

use std::io::{self, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::place::Malformed;
use crate::core::catalog::Text;

/// A cluster says that it leads to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteAnnouncement {
    #[serde(default, deserialize_with = "lenient")]
    pub destination: Destination,
    #[serde(default, deserialize_with = "lenient")]
    pub path: Path,
    #[serde(default, deserialize_with = "lenient")]
    pub metrics: Metrics,
    #[serde(default, deserialize_with = "lenient")]
    pub advertiser: Text,
    /// Wall clock of the advertiser; absent: the time of arrival.
    #[serde(default = "never", deserialize_with = "time")]
    pub advertised_at: f64,
    #[serde(default = "route_ttl", deserialize_with = "seconds")]
    pub ttl_seconds: f64,
    #[serde(default, deserialize_with = "lenient")]
    pub epoch: i64,
    #[serde(default, deserialize_with = "lenient")]
    pub route_tags: Vec<Text>,
    #[serde(flatten)]
    pub seal: Seal,
}

/// A cluster says that it does not lead there any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteWithdrawal {
    #[serde(default, deserialize_with = "lenient")]
    pub destination: Destination,
    #[serde(default, deserialize_with = "lenient")]
    pub path: Path,
    #[serde(default, deserialize_with = "lenient")]
    pub advertiser: Text,
    /// Wall clock of the advertiser; absent: the time of arrival.
    #[serde(default = "never", deserialize_with = "time")]
    pub withdrawn_at: f64,
    #[serde(default, deserialize_with = "lenient")]
    pub epoch: i64,
    #[serde(default, deserialize_with = "lenient")]
    pub route_tags: Vec<Text>,
    #[serde(flatten)]
    pub seal: Seal,
}

/// A cluster says which keys it signs with. The seal is no part of the reference's message, which ignores it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteKeyAnnouncement {
    #[serde(default, deserialize_with = "lenient")]
    pub cluster_id: Text,
    #[serde(default, deserialize_with = "lenient")]
    pub keys: Vec<KeyRecord>,
    #[serde(default, deserialize_with = "lenient")]
    pub primary_key_id: Option<Text>,
    /// Wall clock of the sender; absent: the time of arrival.
    #[serde(default = "never", deserialize_with = "time")]
    pub advertised_at: f64,
    #[serde(default = "key_ttl", deserialize_with = "key_seconds")]
    pub ttl_seconds: f64,
    #[serde(flatten, skip_serializing_if = "Seal::is_absent")]
    pub seal: Seal,
}

/// One public key of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyRecord {
    pub key_id: Text,
    /// 64 hexadecimal digits.
    pub public_key: Text,
    #[serde(default)]
    pub added_at: f64,
    #[serde(default)]
    pub expires_at: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Destination {
    #[serde(default, deserialize_with = "lenient")]
    pub cluster_id: Text,
}

/// The clusters of a route, advertiser first, destination last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Path {
    #[serde(default, deserialize_with = "lenient")]
    pub hops: Vec<Text>,
}

/// How good a route is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    #[serde(default, deserialize_with = "lenient")]
    pub hop_count: i64,
    #[serde(default, deserialize_with = "lenient")]
    pub latency_ms: f64,
    #[serde(default, deserialize_with = "lenient")]
    pub bandwidth_mbps: i64,
    /// From 0 to 1.
    #[serde(default = "one", deserialize_with = "reliability")]
    pub reliability_score: f64,
    #[serde(default, deserialize_with = "lenient")]
    pub cost_score: f64,
}

/// The signature of a message and what it says about its key; none of it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Hexadecimal; empty: not signed.
    #[serde(default, deserialize_with = "hexadecimal")]
    pub signature: Text,
    /// Hexadecimal; proves nothing.
    #[serde(default, deserialize_with = "hexadecimal")]
    pub public_key: Text,
    #[serde(default = "ed25519", deserialize_with = "algorithm")]
    pub signature_algorithm: Text,
}

impl RouteAnnouncement {
    /// Reads the payload of gossip; `now` is the wall clock.
    pub fn decode(payload: &RawValue, now: f64) -> Result<RouteAnnouncement, Malformed> {
        let mut read: RouteAnnouncement = decode(payload, "route_advertisement")?;
        fill(&mut read.advertised_at, now);
        Ok(read)
    }

    /// The bytes under its signature (7.2).
    pub fn canonical(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Canonical<'a> {
            advertised_at: f64,
            advertiser: &'a str,
            destination: &'a Destination,
            epoch: i64,
            metrics: CanonicalMetrics,
            path: &'a Path,
            route_tags: Vec<&'a str>,
            ttl_seconds: f64,
        }
        let m = self.metrics;
        canonical(&Canonical {
            advertised_at: self.advertised_at,
            advertiser: &self.advertiser,
            destination: &self.destination,
            epoch: self.epoch,
            metrics: CanonicalMetrics {
                bandwidth_mbps: m.bandwidth_mbps,
                cost_score: m.cost_score,
                hop_count: m.hop_count,
                latency_ms: m.latency_ms,
                reliability_score: m.reliability_score,
            },
            path: &self.path,
            route_tags: sorted(&self.route_tags),
            ttl_seconds: self.ttl_seconds,
        })
    }
}

impl RouteWithdrawal {
    /// Reads the payload of gossip; `now` is the wall clock.
    pub fn decode(payload: &RawValue, now: f64) -> Result<RouteWithdrawal, Malformed> {
        let mut read: RouteWithdrawal = decode(payload, "route_withdrawal")?;
        fill(&mut read.withdrawn_at, now);
        Ok(read)
    }

    /// The bytes under its signature (7.8).
    pub fn canonical(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Canonical<'a> {
            advertiser: &'a str,
            destination: &'a Destination,
            epoch: i64,
            path: &'a Path,
            route_tags: Vec<&'a str>,
            withdrawn_at: f64,
        }
        canonical(&Canonical {
            advertiser: &self.advertiser,
            destination: &self.destination,
            epoch: self.epoch,
            path: &self.path,
            route_tags: sorted(&self.route_tags),
            withdrawn_at: self.withdrawn_at,
        })
    }
}

impl RouteKeyAnnouncement {
    /// Reads the payload of gossip; `now` is the wall clock.
    pub fn decode(payload: &RawValue, now: f64) -> Result<RouteKeyAnnouncement, Malformed> {
        let mut read: RouteKeyAnnouncement = decode(payload, "route_key_announcement")?;
        fill(&mut read.advertised_at, now);
        Ok(read)
    }

    /// The bytes under its signature: all members but the seal, in the form of 7.2.
    pub fn canonical(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct CanonicalKey<'a> {
            added_at: f64,
            expires_at: Option<f64>,
            key_id: &'a str,
            public_key: &'a str,
        }
        #[derive(Serialize)]
        struct Canonical<'a> {
            advertised_at: f64,
            cluster_id: &'a str,
            keys: Vec<CanonicalKey<'a>>,
            primary_key_id: Option<&'a str>,
            ttl_seconds: f64,
        }
        fn key(record: &KeyRecord) -> CanonicalKey<'_> {
            let KeyRecord { key_id, public_key, added_at, expires_at } = record;
            CanonicalKey { added_at: *added_at, expires_at: *expires_at, key_id, public_key }
        }
        canonical(&Canonical {
            advertised_at: self.advertised_at,
            cluster_id: &self.cluster_id,
            keys: self.keys.iter().map(key).collect(),
            primary_key_id: self.primary_key_id.as_deref(),
            ttl_seconds: self.ttl_seconds,
        })
    }
}

impl Seal {
    pub fn is_absent(&self) -> bool {
        self.signature.is_empty()
    }
}

impl Default for Seal {
    fn default() -> Seal {
        Seal { signature: "".into(), public_key: "".into(), signature_algorithm: ed25519() }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics { hop_count: 0, latency_ms: 0.0, bandwidth_mbps: 0, reliability_score: 1.0, cost_score: 0.0 }
    }
}

#[derive(Serialize)]
struct CanonicalMetrics {
    bandwidth_mbps: i64,
    cost_score: f64,
    hop_count: i64,
    latency_ms: f64,
    reliability_score: f64,
}

/// JSON in ASCII with the numbers of the reference.
struct Ascii;

impl serde_json::ser::Formatter for Ascii {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let shortest = format!("{value:e}");
        let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
        match exponent.parse::<i32>().unwrap_or(0) {
            -4..16 => write!(writer, "{value:?}"),
            exponent @ 16.. => write!(writer, "{digits}e+{exponent:02}"),
            exponent => write!(writer, "{digits}e-{:02}", exponent.unsigned_abs()),
        }
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut units = [0u16; 2];
        for c in fragment.chars() {
            if (' '..='~').contains(&c) {
                writer.write_all(&[c as u8])?;
            } else {
                for unit in c.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

fn canonical(message: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(CANONICAL_BYTES_USUAL);
    // Writing to memory fails only for what these types do not have.
    let written = message.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Ascii));
    if written.is_ok() { bytes } else { Vec::new() }
}

fn sorted(tags: &[Text]) -> Vec<&str> {
    let mut tags: Vec<&str> = tags.iter().map(|t| &**t).collect();
    tags.sort_unstable();
    tags
}

pub(super) fn decode<'a, T: Deserialize<'a>>(payload: &'a RawValue, what: &str) -> Result<T, Malformed> {
    serde_json::from_str(payload.get()).map_err(|error| Malformed::of(what, payload.get(), &error))
}

pub(super) fn fill(at: &mut f64, now: f64) {
    if at.is_nan() {
        *at = now;
    }
}

pub(super) fn member<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    // Through a value and not a raw one: members beside a flattened one are buffered, and raw ones cannot be.
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    member(deserializer).map(Option::unwrap_or_default)
}

pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    member(deserializer).map(|at| at.unwrap_or_else(never))
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    member(deserializer).map(|s| s.unwrap_or_else(route_ttl))
}

fn key_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    member(deserializer).map(|s| s.unwrap_or_else(key_ttl))
}

pub(super) fn reliability<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    member(deserializer).map(|r| r.unwrap_or_else(one))
}

fn hexadecimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
    let text: Text = lenient(deserializer)?;
    let fits = text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit());
    Ok(if fits { text } else { "".into() })
}

fn algorithm<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
    member(deserializer).map(|a| a.unwrap_or_else(ed25519))
}

/// Stands for a time that was not given; JSON cannot say it.
pub(super) fn never() -> f64 {
    f64::NAN
}

fn route_ttl() -> f64 {
    30.0
}

fn key_ttl() -> f64 {
    120.0
}

pub(super) fn one() -> f64 {
    1.0
}

fn ed25519() -> Text {
    ALGORITHM.into()
}

/// The only algorithm of the protocol.
pub const ALGORITHM: &str = "ed25519";
/// An announcement of three hops fits.
const CANONICAL_BYTES_USUAL: usize = 512;

#[cfg(test)]
mod tests;
