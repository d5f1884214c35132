//! Durations, sizes and times as a person writes them, and the one form in which the program writes them back.
//!
//! A duration is a number of seconds or text such as `250ms`, `30s`, `1m30s`, `1.5h`, `1d`; a size is a number of
//! bytes or text such as `64KiB` and `1GB`; a time is seconds since 1970 or a TOML date-time. What is written
//! back reads as the same value. Nothing here rounds in silence below a nanosecond or a byte.

use std::time::Duration;

/// Reads the text form of a duration; `None` when it is none, is negative or does not fit.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    if let Ok(seconds) = rest.parse::<f64>() {
        return from_seconds(seconds);
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, unit, after) = number_and_unit(rest)?;
        let nanos = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?.1;
        let part = match number.parse::<u64>() {
            Ok(whole) => from_nanos(u128::from(whole) * u128::from(nanos))?,
            Err(_) => from_seconds(number.parse::<f64>().ok()? * (nanos as f64 / 1e9))?,
        };
        total = total.checked_add(part)?;
        rest = after;
    }
    (total <= DURATION_MAX).then_some(total)
}

/// A number of seconds; `None` for a negative one, for NaN and beyond `DURATION_MAX`.
pub fn from_seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|d| *d <= DURATION_MAX)
}

/// The canonical text: one number and the largest unit that divides it, such as `90s`, `2h`, `250ms`.
pub fn duration_text(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".into();
    }
    let (name, size) =
        DURATION_UNITS.iter().find(|(_, size)| nanos.is_multiple_of(u128::from(*size))).unwrap_or(&("ns", 1));
    format!("{}{name}", nanos / u128::from(*size))
}

/// Reads the text form of a size in bytes; `None` when it is none, is negative or does not fit.
pub fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Ok(bytes) = text.parse::<u64>() {
        return Some(bytes);
    }
    let (number, unit, after) = number_and_unit(text)?;
    if !after.is_empty() {
        return None;
    }
    let scale = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?.1;
    match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(scale).filter(|b| *b <= i64::MAX as u64),
        Err(_) => {
            let bytes = number.parse::<f64>().ok()? * scale as f64;
            (bytes.fract() == 0.0 && bytes < i64::MAX as f64).then_some(bytes as u64)
        }
    }
}

/// The canonical text: the largest binary unit that divides it, without a unit below 1 KiB or where none does.
pub fn size_text(bytes: u64) -> String {
    let unit = SIZE_UNITS
        .iter()
        .find(|(name, scale)| bytes > 0 && name.contains("iB") && *scale > 1 && bytes.is_multiple_of(*scale));
    match unit {
        Some((name, scale)) => format!("\"{}{name}\"", bytes / scale),
        None => bytes.to_string(),
    }
}

/// Seconds since 1970 of a TOML date-time; `None` where it names no instant (a date or an hour alone).
pub fn date_time(value: &toml::value::Datetime) -> Option<f64> {
    let date = value.date?;
    let days = days_from_civil(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let (hour, minute, second, nanosecond) = match value.time {
        None => (0, 0, 0, 0),
        Some(t) => (t.hour, t.minute, t.second.unwrap_or(0), t.nanosecond.unwrap_or(0)),
    };
    let offset_minutes = match value.offset {
        Some(toml::value::Offset::Custom { minutes }) => i64::from(minutes),
        Some(toml::value::Offset::Z) => 0,
        // A local time would mean another instant on each machine.
        None => return None,
    };
    let seconds = days * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)
        - offset_minutes * 60;
    Some(seconds as f64 + f64::from(nanosecond) / 1e9)
}

fn number_and_unit(text: &str) -> Option<(&str, &str, &str)> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(number_end);
    let rest = rest.trim_start();
    let unit_end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
    let (unit, after) = rest.split_at(unit_end);
    (!number.is_empty()).then_some((number, unit, after.trim_start()))
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, counted from 1 March so that the leap day is last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn from_nanos(nanos: u128) -> Option<Duration> {
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    Some(Duration::new(seconds, (nanos % 1_000_000_000) as u32))
}

/// A hundred years: longer is a slip of the pen, and sums of such durations cannot overflow a clock.
pub const DURATION_MAX: Duration = Duration::from_secs(100 * 366 * 86_400);

const DURATION_UNITS: &[(&str, u64)] = &[
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

const SIZE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    ("B", 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_all_forms() {
        let seconds = |t: &str| duration(t).map(|d| d.as_secs_f64());
        for (text, expected) in [
            ("90", Some(90.0)),
            ("250ms", Some(0.25)),
            ("1m30s", Some(90.0)),
            ("1.5m", Some(90.0)),
            ("2h", Some(7200.0)),
            ("1d", Some(86_400.0)),
            ("1 h 5 s", Some(3605.0)),
            ("-5s", None),
            ("-5", None),
            ("soon", None),
            ("", None),
            ("5", Some(5.0)),
            ("5 parsecs", None),
            ("99999999999999999999h", None),
            ("nan", None),
            ("inf", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_in_all_forms() {
        for (text, expected) in [
            ("64KiB", Some(65_536)),
            ("65536", Some(65_536)),
            ("16 MiB", Some(16 << 20)),
            ("1.5KiB", Some(1536)),
            ("1GB", Some(1_000_000_000)),
            ("64 parsecs", None),
            ("-1", None),
            ("0.3B", None),
            ("999999999TiB", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }

    #[test]
    fn the_canonical_form_reads_as_the_same_value() {
        for nanos in [0, 1, 999, 250_000_000, 90_000_000_000, 86_400_000_000_000, 2_500_000_000] {
            let d = Duration::from_nanos(nanos);
            assert_eq!(duration(&duration_text(d)), Some(d));
        }
        assert_eq!(duration_text(Duration::from_secs(120)), "2m");
        for bytes in [0, 1, 1000, 1024, 16 << 20, (1 << 30) + 1] {
            assert_eq!(size(size_text(bytes).trim_matches('"')), Some(bytes));
        }
        assert_eq!(size_text(16 << 20), "\"16MiB\"");
    }

    #[test]
    fn date_times_are_instants() {
        for (text, expected) in [
            ("2030-01-01T00:00:00Z", Some(1_893_456_000.0)),
            ("2030-01-01T02:00:00+02:00", Some(1_893_456_000.0)),
            ("1970-01-01T00:00:00.5Z", Some(0.5)),
            ("2000-02-29T00:00:00Z", Some(951_782_400.0)),
            ("2030-01-01T00:00:00", None),
            ("07:30:00", None),
        ] {
            assert_eq!(text.parse().ok().and_then(|d| date_time(&d)), expected, "{text}");
        }
    }
}
