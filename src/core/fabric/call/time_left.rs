//! The time that a call still has, which travels along with it.

use super::*;

/// The milliseconds that a request still has, in its metadata; other nodes carry them along unread.
#[derive(Deserialize)]
struct TimeLeft {
    time_left_ms: Option<u64>,
}

pub(super) fn time_left(metadata: &RawValue) -> Option<Duration> {
    let read: TimeLeft = serde_json::from_str(metadata.get()).ok()?;
    read.time_left_ms.map(Duration::from_millis)
}

pub(super) fn with_time_left(metadata: &RawValue, left: Duration) -> Box<RawValue> {
    let left = raw(&left.as_millis().to_string());
    if metadata.get() == "{}" {
        return raw(&format!("{{\"time_left_ms\":{}}}", left.get()));
    }
    let mut members: BTreeMap<&str, &RawValue> = serde_json::from_str(metadata.get()).unwrap_or_default();
    members.insert("time_left_ms", &left);
    to_raw_value(&members).unwrap_or_else(|_| raw("{}"))
}
