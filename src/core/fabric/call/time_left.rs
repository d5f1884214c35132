//! The time that a call still has, which travels along with it.

use super::*;

/// The milliseconds that a request still has, in its metadata; other nodes carry them along unread.
#[derive(Deserialize)]
struct TimeLeft {
    time_left_ms: Option<u64>,
}

pub(super) fn time_left(metadata: &RawValue) -> Option<Duration> {
    // As this program writes it where there is nothing else.
    let alone = metadata.get().strip_prefix(ALONE).and_then(|rest| rest.strip_suffix('}'));
    if let Some(Ok(left)) = alone.map(str::parse) {
        return Some(Duration::from_millis(left));
    }
    let read: TimeLeft = serde_json::from_str(metadata.get()).ok()?;
    read.time_left_ms.map(Duration::from_millis)
}

pub(super) fn with_time_left(metadata: &RawValue, left: Duration) -> Box<RawValue> {
    let left = left.as_millis();
    if metadata.get() == "{}" {
        return raw(&format!("{ALONE}{left}}}"));
    }
    let left = raw(&left.to_string());
    let mut members: BTreeMap<&str, &RawValue> = serde_json::from_str(metadata.get()).unwrap_or_default();
    members.insert("time_left_ms", &left);
    to_raw_value(&members).unwrap_or_else(|_| raw("{}"))
}

const ALONE: &str = "{\"time_left_ms\":";
