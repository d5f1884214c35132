//! What a verb says: results on stdout, reasons on stderr, JSON or text for people.
//!
//! A result is written whole or not at all, and never with the panicking macros: when the reader of a pipe has
//! gone away the verb ends quietly, as if it had been told enough.

use std::{
    io::{self, ErrorKind, IsTerminal, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use serde_json::Value;
use smol::{Timer, future::FutureExt};

use crate::client::ClientError;

/// Why a verb failed: the exit status and the reason.
#[derive(Debug)]
pub struct Failure {
    pub status: u8,
    /// For stderr; empty when the result has already said it.
    pub text: String,
}

pub type Outcome = Result<(), Failure>;

impl Failure {
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure { status: 2, text: text.into() }
    }

    pub fn failed(text: impl Into<String>) -> Failure {
        Failure { status: 1, text: text.into() }
    }

    /// The reader of stdout has gone away: nothing is wrong, but there is nobody to go on for.
    fn unread() -> Failure {
        Failure { status: 0, text: String::new() }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure { status: error.exit_status(), text: error.to_string() }
    }
}

/// The end of the program.
pub fn finish(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.text.is_empty() => ExitCode::from(failure.status),
        Err(failure) => complain(failure.status, &failure.text),
    }
}

pub fn complain(status: u8, text: &str) -> ExitCode {
    // Nobody can be told when stderr is closed too; the status says it.
    let _ = writeln!(io::stderr(), "mpreg: {}", text.trim_end());
    ExitCode::from(status)
}

/// Something that the reader of a result should know; the verb goes on.
pub fn note(text: &str) {
    // Nobody can be told when stderr is closed.
    let _ = writeln!(io::stderr(), "mpreg: {text}");
}

/// Writes this text to stdout.
pub fn print(text: &str) -> Outcome {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(Failure::unread()),
        Err(e) => Err(Failure::failed(format!("cannot write the result: {e}"))),
    }
}

/// Writes this text and a line end.
pub fn print_line(text: &str) -> Outcome {
    print(&format!("{text}\n"))
}

/// One JSON document, for people to read as well.
pub fn print_json(value: &Value) -> Outcome {
    print_line(&pretty(value))
}

pub fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// The bare text of a member; moments, which the protocol writes in seconds since the epoch, as such.
fn shown(name: &str, value: Option<&Value>) -> String {
    match value.and_then(Value::as_f64) {
        Some(seconds) if name.ends_with("timestamp") || name.ends_with("_at") => utc(seconds),
        _ => plain(value),
    }
}

/// The bare text of a value: strings without quotes, lists with commas, objects as `name=value`.
pub fn plain(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Value::Array(items)) => items.iter().map(|item| plain(Some(item))).collect::<Vec<_>>().join(","),
        Some(Value::Object(members)) if members.is_empty() => "-".to_owned(),
        Some(Value::Object(members)) => {
            members.iter().map(|(k, v)| format!("{k}={}", plain(Some(v)))).collect::<Vec<_>>().join(",")
        }
        Some(other) => other.to_string(),
    }
}

/// Rows as aligned text. A column is the dotted path of a member; the last name in it is the title.
pub fn table<'a>(columns: &[&'a str], rows: &[Value]) -> String {
    let titled = |path: &&'a str| (path.rsplit('.').next().unwrap_or(path), *path);
    let columns: Vec<(&str, &str)> = columns.iter().map(titled).collect();
    titled_table(&columns, rows)
}

/// Rows as aligned text, each column a title and the dotted path of a member.
pub fn titled_table(columns: &[(&str, &str)], rows: &[Value]) -> String {
    let titles = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
    let cells: Vec<Vec<String>> = std::iter::once(titles)
        .chain(
            rows.iter().map(|row| columns.iter().map(|(_, path)| shown(path, member(row, path))).collect()),
        )
        .collect();
    let width = |n: usize| cells.iter().filter_map(|row| row.get(n)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns.len()).map(|n| width(n).unwrap_or_default()).collect();
    let mut out = String::new();
    for row in &cells {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += &format!("{cell:width$}  ");
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// An object as aligned lines, nested ones indented.
pub fn outline(value: &Value) -> String {
    let mut out = String::new();
    outline_into(&mut out, value, 0);
    out
}

/// The member at this dotted path.
pub fn member<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, key| value.get(key))
}

/// `[3 peers]`, and how to get the rest.
pub fn count_line(count: usize, what: &str, next_page_token: Option<&str>) -> String {
    match next_page_token {
        Some(token) => format!("[{count} {what}; more with --page-token {token}]\n"),
        None => format!("[{count} {what}]\n"),
    }
}

/// Runs `future`; when it takes long, somebody at a terminal is told what it waits for.
pub async fn waiting<T>(what: &str, future: impl Future<Output = T>) -> T {
    if !io::stderr().is_terminal() {
        return future.await;
    }
    let shown = std::cell::Cell::new(false);
    let progress = async {
        let start = Instant::now();
        loop {
            Timer::after(PROGRESS_EVERY).await;
            shown.set(true);
            let _ = write!(io::stderr(), "\r{what}: {} s ", start.elapsed().as_secs());
        }
    };
    let value = future.or(progress).await;
    if shown.get() {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    value
}

/// A moment as a person in operations writes it: `2025-01-31T12:00:00Z`.
pub fn utc(seconds: f64) -> String {
    let whole = seconds.max(0.0) as i64;
    let (days, of_day) = (whole.div_euclid(86_400), whole.rem_euclid(86_400));
    // Years that begin in March put the leap day at their end; 719 468 days lie between 0000-03-01 and the epoch.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn outline_into(out: &mut String, value: &Value, depth: usize) {
    let Value::Object(members) = value else {
        *out += &format!("{}{}\n", "  ".repeat(depth), plain(Some(value)));
        return;
    };
    let width = members.keys().map(|key| key.chars().count()).max().unwrap_or_default();
    for (key, value) in members {
        let indent = "  ".repeat(depth);
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                *out += &format!("{indent}{key}\n");
                outline_into(out, value, depth + 1);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                *out += &format!("{indent}{key}\n");
                for item in items {
                    *out += &format!("{indent}  {}\n", plain(Some(item)));
                }
            }
            _ => *out += &format!("{indent}{key:width$}  {}\n", shown(key, Some(value))),
        }
    }
}

const PROGRESS_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_are_aligned_and_titled_by_the_last_name_of_a_path() {
        let rows = [json!({"a": {"b": "long text"}, "c": [1, 2]}), json!({"a": {"b": "x"}, "c": []})];
        assert_eq!(table(&["a.b", "c"], &rows), "b          c\nlong text  1,2\nx          -\n");
    }

    #[test]
    fn outlines_indent_what_is_nested() {
        let value = json!({"on": true, "counts": {"functions": 2}, "rules": [{"n": "x"}], "none": null, "seen_at": 0.5});
        assert_eq!(
            outline(&value),
            "on       true\ncounts\n  functions  2\nrules\n  n=x\nnone     -\nseen_at  1970-01-01T00:00:00Z\n"
        );
    }

    #[test]
    fn moments_are_written_in_utc() {
        assert_eq!(utc(0.0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_827_696.7), "2000-02-29T12:34:56Z");
        assert_eq!(utc(1_735_689_599.0), "2024-12-31T23:59:59Z");
    }
}
