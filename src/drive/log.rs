//! Where log lines go: stderr, as text for people and the journal, or as JSON, one object a line.
//!
//! Each line carries what it is about as key-values (`node`, `peer`, `function`, `topic`, ...). A place in the code
//! that says the same thing about the same subject again and again is held to a burst; how many lines were held
//! back is said when the burst ends. No line is written by halves and none is ever waited for by a lock of the core.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use log::kv::{Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};

use super::supervisor;

/// How lines look and which are written; replaced as a whole by a reload.
#[derive(Debug, Clone, PartialEq)]
pub struct LogSettings {
    pub level: LevelFilter,
    /// Module prefixes below `mpreg::` that log at debug whatever the level, such as `core::fabric` or `fabric`.
    pub debug_scopes: Vec<String>,
    pub json: bool,
    /// Set while the node runs, above everything else: scopes as in `debug_scopes`, an empty one for all, each with how
    /// much it tells. Of several that fit, the longest decides.
    pub scopes: Vec<(String, LevelFilter)>,
    /// Name of the node, on each JSON line.
    pub node: String,
}

/// Lines of one place about one subject that are written before the rest is counted only.
const BURST_LINES_MAX: u32 = 20;
/// How long a burst lasts.
const BURST_WINDOW: Duration = Duration::from_secs(10);
/// Places whose bursts are remembered; beyond it the oldest are forgotten.
const BURST_PLACES_MAX: usize = 4096;

struct Logger {
    settings: ArcSwap<LogSettings>,
    /// True under systemd, whose journal takes the level from a prefix and has a clock of its own.
    journal: bool,
    bursts: Mutex<HashMap<Place, Burst>>,
}

/// File and line of the call, and the subject it names.
type Place = (&'static str, u32, String);

struct Burst {
    since: Instant,
    written: u32,
    held_back: u32,
    level: Level,
}

static LOGGER: std::sync::OnceLock<Logger> = std::sync::OnceLock::new();

/// Installs the logger, or gives the installed one new settings.
pub fn install(settings: LogSettings) {
    let debug = if settings.debug_scopes.is_empty() { LevelFilter::Off } else { LevelFilter::Debug };
    let scoped = settings.scopes.iter().map(|(_, level)| *level).max().unwrap_or(LevelFilter::Off);
    log::set_max_level(settings.level.max(debug).max(scoped));
    match LOGGER.get() {
        Some(logger) => logger.settings.store(settings.into()),
        None => {
            let journal = supervisor::logs_to_journal();
            let logger = LOGGER.get_or_init(|| Logger {
                settings: ArcSwap::from_pointee(settings),
                journal,
                bursts: Mutex::default(),
            });
            // Only fails when a test harness has installed its own; then that one is meant.
            let _ = log::set_logger(logger);
        }
    }
}

/// Writes the counts of bursts that have ended. Called now and then.
pub fn settle() {
    if let Some(logger) = LOGGER.get() {
        logger.settle(Instant::now());
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let settings = self.settings.load();
        let level = metadata.level();
        if let Some(asked) = scope_level(metadata.target(), &settings.scopes) {
            return level <= asked;
        }
        level <= settings.level
            && (is_own(metadata.target()) || level <= Level::Warn && !comes_back(metadata.target()))
            || level <= Level::Debug && in_scope(metadata.target(), &settings.debug_scopes)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if record.level() < Level::Debug && !self.admit(record, Instant::now()) {
            return;
        }
        let settings = self.settings.load();
        self.write(record.level(), record.target(), &record.args().to_string(), Some(record), &settings);
    }

    fn flush(&self) {}
}

impl Logger {
    /// Counts the line against its place; false where it must not be written.
    fn admit(&self, record: &Record<'_>, now: Instant) -> bool {
        let (Some(file), Some(line)) = (record.file_static(), record.line()) else { return true };
        let Ok(mut bursts) = self.bursts.lock() else { return true };
        if bursts.len() >= BURST_PLACES_MAX {
            bursts.retain(|_, b| now.duration_since(b.since) < BURST_WINDOW);
            if bursts.len() >= BURST_PLACES_MAX {
                bursts.clear();
            }
        }
        let burst = bursts.entry((file, line, subject(record))).or_insert(Burst {
            since: now,
            written: 0,
            held_back: 0,
            level: record.level(),
        });
        if now.duration_since(burst.since) >= BURST_WINDOW && burst.held_back == 0 {
            burst.since = now;
            burst.written = 0;
        }
        if burst.written < BURST_LINES_MAX {
            burst.written += 1;
            return true;
        }
        burst.held_back += 1;
        false
    }

    fn settle(&self, now: Instant) {
        let mut told = Vec::new();
        if let Ok(mut bursts) = self.bursts.lock() {
            bursts.retain(|(file, line, subject), burst| {
                let over = now.duration_since(burst.since) >= BURST_WINDOW;
                if over && burst.held_back > 0 {
                    let about = if subject.is_empty() { String::new() } else { format!(" about {subject}") };
                    told.push((
                        burst.level,
                        format!("{} more lines like that of {file}:{line}{about}", burst.held_back),
                    ));
                }
                !over
            });
        }
        let settings = self.settings.load();
        for (level, text) in told {
            self.write(level, "mpreg::log", &text, None, &settings);
        }
    }

    fn write(
        &self,
        level: Level,
        target: &str,
        text: &str,
        record: Option<&Record<'_>>,
        settings: &LogSettings,
    ) {
        let mut fields = Fields { json: settings.json, text: String::new() };
        if let Some(record) = record {
            let _ = record.key_values().visit(&mut fields);
        }
        let mut out = String::with_capacity(128 + text.len());
        if settings.json {
            let _ = write!(
                out,
                "{{\"time\":\"{}\",\"level\":\"{}\",\"node\":",
                timestamp(),
                level.as_str().to_lowercase()
            );
            push_json(&mut out, &settings.node);
            out.push_str(",\"module\":");
            push_json(&mut out, target.strip_prefix("mpreg::").unwrap_or(target));
            out.push_str(",\"message\":");
            push_json(&mut out, text);
            out.push_str(&fields.text);
            out.push('}');
        } else {
            if self.journal {
                let priority = match level {
                    Level::Error => 3,
                    Level::Warn => 4,
                    Level::Info => 6,
                    Level::Debug | Level::Trace => 7,
                };
                let _ = write!(out, "<{priority}>");
            } else {
                let _ = write!(out, "{} {:5} ", timestamp(), level.as_str());
            }
            // A line break inside a message would look like another line, without a level.
            for c in text.chars() {
                match c {
                    '\n' | '\r' => out.push(' '),
                    c if c.is_control() => out.extend(c.escape_default()),
                    c => out.push(c),
                }
            }
            out.push_str(&fields.text);
        }
        out.push('\n');
        // There is nobody to tell when stderr is gone.
        let _ = std::io::stderr().lock().write_all(out.as_bytes());
    }
}

/// Collects key-values as ` key=value` or `,"key":value`.
struct Fields {
    json: bool,
    text: String,
}

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        let value = value.to_string();
        if self.json {
            self.text.push(',');
            push_json(&mut self.text, key.as_str());
            self.text.push(':');
            push_json(&mut self.text, &value);
        } else {
            let _ = write!(self.text, " {}=", key.as_str());
            let plain =
                !value.is_empty() && !value.chars().any(|c| c.is_whitespace() || c == '"' || c.is_control());
            if plain { self.text.push_str(&value) } else { push_json(&mut self.text, &value) }
        }
        Ok(())
    }
}

fn push_json(out: &mut String, text: &str) {
    out.push_str(&serde_json::to_string(text).unwrap_or_else(|_| "\"\"".into()));
}

/// What a line is about, for the counting of repeats: peers come and go with new ports, so they do not count.
fn subject(record: &Record<'_>) -> String {
    for key in ["function", "key", "worker", "reason"] {
        if let Some(value) = record.key_values().get(Key::from_str(key)) {
            return value.to_string();
        }
    }
    String::new()
}

/// What the libraries say below a warning is about their own works and tells an operator nothing, unless a scope asks
/// for it.
fn is_own(target: &str) -> bool {
    target.split("::").next() == Some("mpreg")
}

/// What the store says as it fails comes back to us as an error, too, and is told once, with its key and its remedy. Its
/// workers have nobody else to tell.
fn comes_back(target: &str) -> bool {
    COMING_BACK.iter().any(|module| is_in(target, module))
}

/// Whether a scope is about lines that a node or one of its libraries writes; a scope that is not would do nothing.
pub fn is_known_scope(scope: &str) -> bool {
    MODULES.iter().any(|module| is_in(&format!("mpreg::{module}"), scope))
        || LIBRARIES.iter().any(|library| is_in(library, scope))
}

fn in_scope(target: &str, scopes: &[String]) -> bool {
    scopes.iter().any(|scope| is_in(target, scope))
}

fn is_in(target: &str, scope: &str) -> bool {
    let module = target.strip_prefix("mpreg::").unwrap_or(target);
    let scope = scope.strip_prefix("mpreg.").or(scope.strip_prefix("mpreg::")).unwrap_or(scope);
    module.split("::").any(|part| part == scope)
        || module.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// How much was asked for a module while the node runs; `None` where nothing was.
fn scope_level(target: &str, scopes: &[(String, LevelFilter)]) -> Option<LevelFilter> {
    let fitting = scopes.iter().filter(|(scope, _)| scope.is_empty() || is_in(target, scope));
    fitting.max_by_key(|(scope, _)| scope.len()).map(|(_, level)| *level)
}

/// The modules of a node that write lines, in order. What the core decides is written by `node::control`.
pub const MODULES: &[&str] = &[
    "drive::listen",
    "drive::signals",
    "drive::supervisor",
    "drive::tls",
    "drive::worker::instance",
    "node",
    "node::bootstrap",
    "node::connection",
    "node::control",
    "node::discover",
    "node::hub",
    "node::keeper",
    "node::monitoring",
    "node::operate",
    "node::operate::logs",
    "node::operate::reload",
    "node::operate::socket",
    "node::outlet",
    "node::route_keys",
    "node::serve",
    "node::start",
    "node::stop",
    "node::surroundings",
    "store::fjall",
    "store::writer",
];
/// The libraries that do.
pub const LIBRARIES: &[&str] = &["async_tungstenite", "fjall", "lsm_tree", "rustls", "sfa", "tungstenite"];

/// Modules of the store that run in calls of ours.
const COMING_BACK: &[&str] =
    &["fjall::batch", "fjall::db", "fjall::file", "fjall::journal", "fjall::keyspace", "fjall::locked_file"];

/// Now, as RFC 3339 in UTC with milliseconds.
fn timestamp() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(since.as_secs(), since.subsec_millis())
}

/// Days to a civil date by the usual shift of the year to March (H. Hinnant, chrono-compatible date algorithms).
fn rfc3339(seconds: u64, millis: u32) -> String {
    let days = (seconds / 86_400) as i64 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_around_leap_days_and_turns_of_centuries() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (1_795_373_132, "2026-11-22T18:45:32.000Z"),
        ] {
            assert_eq!(rfc3339(seconds, 0), text);
        }
    }

    /// The modules of a node below a folder of the sources in which something is logged.
    fn writing(folder: &std::path::Path, module: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let inner = match name {
                "mod" => module.to_owned(),
                name if module.is_empty() => name.to_owned(),
                name => format!("{module}::{name}"),
            };
            if path.is_dir() {
                writing(&path, &inner, found);
            } else if name != "hooks"
                && LOGS
                    .iter()
                    .any(|what| std::fs::read_to_string(&path).unwrap().contains(&format!("log::{what}!")))
            {
                found.push(inner);
            }
        }
    }

    const LOGS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "log"];

    #[test]
    fn scopes_are_known_exactly_where_something_is_logged() {
        let sources = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
        let mut found = Vec::new();
        for area in ["config", "core", "drive", "node", "store", "wire"] {
            writing(&sources.join(area), area, &mut found);
        }
        found.sort();
        assert_eq!(found, MODULES);
        for known in ["node", "reload", "mpreg.drive", "node::operate", "rustls", "fjall"] {
            assert!(is_known_scope(known), "{known}");
        }
        for unknown in ["nod", "fabric", "core::route", "rust", "node::", ""] {
            assert!(!is_known_scope(unknown), "{unknown}");
        }
    }

    #[test]
    fn scopes_name_modules_with_and_without_the_prefix() {
        for (scope, target, inside) in [
            ("fabric", "mpreg::core::fabric", true),
            ("mpreg.fabric", "mpreg::core::fabric::rpc", true),
            ("core::fabric", "mpreg::core::fabric", true),
            ("fab", "mpreg::core::fabric", false),
        ] {
            assert_eq!(in_scope(target, &[scope.to_string()]), inside, "{scope}");
        }
    }

    #[test]
    fn what_the_store_says_to_its_caller_is_not_told_twice() {
        assert!(comes_back("fjall::journal::writer") && comes_back("fjall::keyspace"));
        assert!(
            !comes_back("fjall::worker_pool")
                && !comes_back("fjall::poison")
                && !comes_back("lsm_tree::tree")
        );
    }

    #[test]
    fn the_longest_scope_that_was_set_decides() {
        let scopes = [
            (String::new(), LevelFilter::Error),
            ("fabric".to_owned(), LevelFilter::Trace),
            ("core::fabric::call".to_owned(), LevelFilter::Off),
        ];
        for (target, level) in [
            ("mpreg::node", LevelFilter::Error),
            ("mpreg::core::fabric::gossip", LevelFilter::Trace),
            ("mpreg::core::fabric::call", LevelFilter::Off),
        ] {
            assert_eq!(scope_level(target, &scopes), Some(level), "{target}");
        }
        assert_eq!(scope_level("mpreg::node", &scopes[1..]), None);
    }

    #[test]
    fn a_burst_is_cut_and_counted() {
        let settings = LogSettings {
            level: LevelFilter::Info,
            debug_scopes: Vec::new(),
            json: false,
            scopes: Vec::new(),
            node: "n".into(),
        };
        let logger =
            Logger { settings: ArcSwap::from_pointee(settings), journal: false, bursts: Mutex::default() };
        let now = Instant::now();
        let record = Record::builder().level(Level::Warn).file_static(Some("f.rs")).line(Some(7)).build();
        let written = (0..100).filter(|_| logger.admit(&record, now)).count();
        assert_eq!(written, BURST_LINES_MAX as usize);
        logger.settle(now + BURST_WINDOW);
        assert!(logger.bursts.lock().unwrap().is_empty());
    }
}
