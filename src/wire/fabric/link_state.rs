//! What a cluster says about its links (fabric.md 9.2): the payload of the gossip kind link_state_update.
//!
//! A member of a wrong type has its default, and a neighbour that cannot be read is left out. Where a default would
//! turn the meaning round (no neighbours instead of some, every area instead of one) the message is refused.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::place::Malformed;
use super::route::{decode, fill, lenient, member, never, one, reliability, time};
use crate::core::catalog::Text;

/// A cluster names the clusters that it has links to; an empty list says that it has none any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkStateUpdate {
    #[serde(default, deserialize_with = "lenient")]
    pub origin: Text,
    #[serde(default, deserialize_with = "neighbours")]
    pub neighbors: Vec<Neighbour>,
    /// Wall clock of the node that made it; absent: the time of arrival.
    #[serde(default = "never", deserialize_with = "time")]
    pub advertised_at: f64,
    #[serde(default = "ttl", deserialize_with = "seconds")]
    pub ttl_seconds: f64,
    #[serde(default, deserialize_with = "lenient")]
    pub sequence: i64,
    /// Null and the empty text mean none, which is written by leaving it out.
    #[serde(default, deserialize_with = "area", skip_serializing_if = "Option::is_none")]
    pub area: Option<Text>,
}

/// A cluster at the other end of a link, and how good the link is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    pub cluster_id: Text,
    #[serde(default, deserialize_with = "lenient")]
    pub latency_ms: f64,
    #[serde(default, deserialize_with = "lenient")]
    pub bandwidth_mbps: Option<i64>,
    /// From 0 to 1.
    #[serde(default = "one", deserialize_with = "reliability")]
    pub reliability_score: f64,
    #[serde(default, deserialize_with = "lenient")]
    pub cost_score: f64,
}

impl LinkStateUpdate {
    /// Reads the payload of gossip; `now` is the wall clock.
    pub fn decode(payload: &RawValue, now: f64) -> Result<LinkStateUpdate, Malformed> {
        if !payload.get().starts_with('{') {
            return Err(Malformed::new("link_state_update", "expected an object"));
        }
        let mut read: LinkStateUpdate = decode(payload, "link_state_update")?;
        fill(&mut read.advertised_at, now);
        Ok(read)
    }

    /// What tells the updates of one node apart, areas included: `origin:sequence` or `origin:area:sequence`. The
    /// message id of an update is the id of its node, a colon and this (fabric.md 3, 20.2 C5).
    pub fn label(&self) -> String {
        match &self.area {
            Some(area) => format!("{}:{area}:{}", self.origin, self.sequence),
            None => format!("{}:{}", self.origin, self.sequence),
        }
    }
}

fn neighbours<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Neighbour>, D::Error> {
    let listed = Vec::<Value>::deserialize(deserializer)?;
    let objects = listed.into_iter().filter(Value::is_object);
    Ok(objects.filter_map(|n| serde_json::from_value(n).ok()).collect())
}

fn area<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Text>, D::Error> {
    Ok(Option::<Text>::deserialize(deserializer)?.filter(|area| !area.is_empty()))
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    member(deserializer).map(|s| s.unwrap_or_else(ttl))
}

fn ttl() -> f64 {
    30.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<LinkStateUpdate, Malformed> {
        LinkStateUpdate::decode(serde_json::from_str(text).unwrap(), 77.0)
    }

    #[test]
    fn captured_updates_are_read_and_written_the_same() {
        for (sample, label, area) in [
            (
                include_str!("../../../tests/interop/fabric/gossip_link_state_update.json"),
                "ws://127.0.0.1:47212:cb:6",
                None,
            ),
            (
                include_str!("../../../tests/interop/fabric/gossip_link_state_update_area.json"),
                "ws://127.0.0.1:47215:cb:area0:3",
                Some("area0"),
            ),
            (
                include_str!("../../../tests/interop/fabric/gossip_link_state_update_relayed.json"),
                "ws://127.0.0.1:47211:ca:2",
                None,
            ),
        ] {
            let gossip = serde_json::from_str::<Value>(sample).unwrap()["payload"].clone();
            let mut payload = gossip["payload"].clone();
            let update = read(&payload.to_string()).unwrap();
            assert_eq!(update.area.as_deref(), area);
            let maker = gossip["propagation_path"][0].as_str().unwrap();
            assert_eq!(format!("{maker}:{}", update.label()), label);
            // A relayed copy of the reference says that there is no area; leaving it out says the same.
            if payload["area"].is_null() {
                payload.as_object_mut().unwrap().shift_remove("area");
                assert_eq!(serde_json::to_string(&update).unwrap(), payload.to_string());
            }
            assert_eq!(serde_json::to_value(&update).unwrap(), payload);
        }
    }

    #[test]
    fn members_of_a_wrong_type_have_their_default_where_that_does_no_harm() {
        let odd = r#"{"origin":5,"neighbors":[7,["x"],{},{"cluster_id":1},{"cluster_id":"b","latency_ms":"x",
            "bandwidth_mbps":1.5,"reliability_score":null,"cost_score":[],"more":1}],"area":"","advertised_at":"now",
            "ttl_seconds":{},"sequence":1.5,"more":{}}"#;
        let odd = read(odd).unwrap();
        let plain = read(r#"{"neighbors":[{"cluster_id":"b"}]}"#).unwrap();
        assert_eq!(odd, plain);
        assert_eq!((odd.advertised_at, odd.ttl_seconds, odd.sequence, odd.area), (77.0, 30.0, 0, None));
        let b = Neighbour {
            cluster_id: "b".into(),
            latency_ms: 0.0,
            bandwidth_mbps: None,
            reliability_score: 1.0,
            cost_score: 0.0,
        };
        assert_eq!(odd.neighbors, [b]);
        for refused in [
            r#"{"neighbors":{}}"#,
            r#"{"neighbors":null}"#,
            r#"{"area":7}"#,
            r#"{"neighbors":[{"cluster_id":"b","latency_ms":1e999}]}"#,
            "[]",
            "7",
        ] {
            assert!(read(refused).is_err(), "{refused}");
        }
    }

    fn odd_value() -> impl Strategy<Value = String> {
        let plain = [
            "null",
            "true",
            "-0.0",
            "1e308",
            "1e999",
            "-9223372036854775809",
            "30",
            "\"\"",
            "\"b\"",
            "[]",
            "{}",
        ];
        let more =
            ["[{\"cluster_id\":\"b\",\"latency_ms\":[]}]", "[[[[]]]]", "\"\\ud800\"", "{\"a\":{}}", "[1,"];
        proptest::sample::select([&plain[..], &more[..]].concat()).prop_map(str::to_owned)
    }

    proptest! {
        #[test]
        fn whatever_the_members_are_reading_ends_well_and_what_was_read_can_be_written(
            values in proptest::collection::vec(odd_value(), 6),
        ) {
            let names = ["origin", "neighbors", "advertised_at", "ttl_seconds", "sequence", "area"];
            let members: Vec<String> =
                names.iter().zip(&values).map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let text = format!("{{{}}}", members.join(","));
            if let Ok(payload) = serde_json::from_str::<&RawValue>(&text)
                && let Ok(update) = LinkStateUpdate::decode(payload, 77.0)
            {
                let written = serde_json::to_string(&update).unwrap();
                prop_assert_eq!(read(&written).unwrap(), update);
            }
        }
    }
}
