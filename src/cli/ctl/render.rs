//! The answers of a node as text for people: what needs somebody first, marked with `!`.

use serde_json::Value;

use crate::cli::output::{member, plain, titled_table, utc};

/// The page for three in the morning.
pub fn status(value: &Value) -> String {
    let mut page = Page { out: String::new(), now: number(value, "now") };
    page.node(value);
    page.health(value);
    page.links(value);
    page.functions(value);
    page.limits(value);
    page.settings(value);
    page.refusals(value);
    page.work(value);
    page.events(value);
    page.out
}

pub fn peers(value: &Value) -> String {
    let columns = [
        ("node", "node_id"),
        ("cluster", "cluster_id"),
        ("status", "status"),
        ("links", "links"),
        ("clients", "clients"),
        ("load", "load"),
        ("ms", "latency_ms"),
        ("said", "said"),
    ];
    let rows = rows(value, "peers").into_iter().map(|mut row| {
        let ago = row.get("reported_seconds_ago").and_then(Value::as_f64);
        row["said"] = ago.map_or("never".into(), |ago| format!("{} ago", span(ago))).into();
        row
    });
    listed(&columns, &rows.collect::<Vec<_>>(), value, "peers")
}

pub fn links(value: &Value) -> String {
    let columns = [
        ("link", "link"),
        ("node", "node_id"),
        ("cluster", "cluster_id"),
        ("by", "by"),
        ("age", "age"),
        ("tls", "tls"),
        ("waiting bytes", "waiting_bytes"),
    ];
    let rows = rows(value, "links").into_iter().map(|mut row| {
        row["by"] = if row["dialled"].is_null() { "them" } else { "us" }.into();
        row["age"] = span(number(&row, "age_seconds")).into();
        row["tls"] = match (row["encrypted"] == true, row["certified"] == true) {
            (true, true) => "certified",
            (true, false) => "encrypted",
            _ => "no",
        }
        .into();
        row
    });
    let mut out = listed(&columns, &rows.collect::<Vec<_>>(), value, "links");
    for wanted in array(value, "unreached") {
        out += &format!("! {}\n", unreached(wanted));
    }
    out
}

pub fn routes(value: &Value) -> String {
    let columns = [
        ("destination", "destination.cluster_id"),
        ("over", "next_hop"),
        ("hops", "hops"),
        ("score", "score"),
        ("signature", "signature"),
        ("ends in", "ends"),
        ("left out", "filtered_reason"),
    ];
    let rows = rows(value, "routes").into_iter().map(|mut row| {
        let hops = member(&row, "path.hops").and_then(Value::as_array).map_or(0, |hops| hops.len());
        row["hops"] = hops.saturating_sub(1).into();
        row["ends"] = span(number(&row, "expires_in_seconds")).into();
        row["score"] = format!("{:.1}", number(&row, "score")).into();
        row
    });
    listed(&columns, &rows.collect::<Vec<_>>(), value, "routes")
}

pub fn catalog(value: &Value) -> String {
    let columns = [
        ("type", "type"),
        ("what", "what"),
        ("cluster", "cluster_id"),
        ("node", "node_id"),
        ("scope", "scope"),
    ];
    let rows = rows(value, "entries").into_iter().map(|mut row| {
        let name = |path: &str| member(&row, path).and_then(Value::as_str).map(str::to_owned);
        let what = match row["type"].as_str().unwrap_or_default() {
            "function" => Some(format!(
                "{} {}",
                name("identity.name").or_else(|| name("name")).unwrap_or_default(),
                plain(member(&row, "identity.version").or_else(|| member(&row, "version")))
            )),
            "topic" => Some(plain(row.get("patterns"))),
            "node" => Some(plain(row.get("capabilities"))),
            _ => ["name", "queue_name", "queue", "role"].iter().find_map(|path| name(path)),
        };
        row["what"] = what.unwrap_or_default().into();
        row
    });
    listed(&columns, &rows.collect::<Vec<_>>(), value, "entries")
}

pub fn functions(value: &Value) -> String {
    let columns = [
        ("function", "name"),
        ("version", "version"),
        ("running", "running"),
        ("wanted", "wanted"),
        ("in flight", "in_flight"),
        ("waiting", "waiting"),
        ("calls", "calls_total"),
        ("failures", "failures_total"),
        ("restarts", "restarts_total"),
        ("last end", "last_exit"),
    ];
    listed(&columns, &rows(value, "functions"), value, "functions")
}

/// What a reload has done.
pub fn reload(value: &Value) -> String {
    let mut out = plan(value);
    let restart = array(value, "needs_restart").len();
    out += match (array(value, "changes").len(), restart) {
        (0, _) => "reloaded; nothing has changed\n",
        (_, 0) => "reloaded\n",
        _ => "reloaded; the rest takes effect after a restart\n",
    };
    if value["confirmed_former"] == true {
        out += "the reload before this one waited to be confirmed; it is part of this one now\n";
    }
    if let Some(until) = value.get("confirm_until").and_then(Value::as_f64) {
        out += &format!("undone at {} unless `mpreg ctl confirm` comes\n", utc(until));
    }
    out
}

/// Changes key by key, and what each takes.
pub fn plan(value: &Value) -> String {
    let mut out = String::new();
    for change in array(value, "changes") {
        let class = match change["class"].as_str().unwrap_or_default() {
            "live" => "live   ",
            "link" => "links  ",
            _ => "restart",
        };
        let key = plain(change.get("key"));
        let elements = array(change, "elements");
        let text = match elements.is_empty() {
            true => format!("{} -> {}", plain(change.get("from")), plain(change.get("to"))),
            false => elements.iter().map(|e| plain(Some(e))).collect::<Vec<_>>().join(", "),
        };
        out += &format!("{class}  {key}: {text}  ({})\n", plain(change.get("origin")));
        match change.get("links").and_then(Value::as_array) {
            Some(links) if links.is_empty() => out += "         closes no link\n",
            Some(links) => {
                for link in links {
                    let (node, why) = (plain(link.get("node_id")), plain(link.get("why")));
                    out += &format!("         closes the link with {node}: {why}\n");
                }
            }
            None => {}
        }
    }
    for warning in array(value, "warnings") {
        out += &format!("warning: {}\n", plain(Some(warning)));
    }
    if let Some(text) = value.get("restart_will_fail").and_then(Value::as_str) {
        out += &format!("! a restart with it will fail:\n{text}\n");
    }
    out
}

pub fn log(value: &Value) -> String {
    let mut out = format!("level         {}\n", plain(value.get("level")));
    out += &format!("debug_scopes  {}\n", plain(value.get("debug_scopes")));
    for set in array(value, "set") {
        out += &format!("set           {}\n", scope(set));
    }
    out
}

/// What was set for one scope, and for how long.
fn scope(set: &Value) -> String {
    let name = set.get("scope").and_then(Value::as_str).filter(|name| !name.is_empty());
    let ends = set.get("ends_in_seconds").and_then(Value::as_f64);
    let ends = ends.map_or("until it is taken back".to_owned(), |ends| format!("for {}", span(ends)));
    format!("{}={} {ends}", name.unwrap_or("everything"), plain(set.get("level")))
}

pub fn drain(value: &Value) -> String {
    let state =
        if value["draining"] == true { "draining: no new work is taken" } else { "new work is taken" };
    let before = if value["changed"] == true { "" } else { ", as before" };
    format!(
        "{state}{before}; {} clients, {} calls and {} calls of other nodes under way\n",
        plain(value.get("clients")),
        plain(value.get("calls_pending")),
        plain(value.get("executing"))
    )
}

/// One line for each text.
pub fn lines(values: &[Value]) -> String {
    values.iter().map(|value| plain(Some(value))).collect::<Vec<_>>().join("\n")
}

/// The status page as it grows.
struct Page {
    out: String,
    now: f64,
}

impl Page {
    fn line(&mut self, urgent: bool, title: &str, text: &str) {
        let mark = if urgent { '!' } else { ' ' };
        self.out += &format!("{mark} {title:<12} {text}\n");
    }

    fn node(&mut self, value: &Value) {
        let name = |key: &str| plain(member(value, &format!("node.{key}")));
        let roles = member(value, "node.roles").map(|roles| plain(Some(roles))).filter(|r| r != "-");
        self.out += &format!("{} ({} in {})\n", name("name"), name("node_id"), name("cluster_id"));
        let roles = roles.map(|roles| format!(", {roles}")).unwrap_or_default();
        let up = span(number(value, "node.uptime_seconds"));
        let text = format!("mpreg {}{roles}, pid {}, up {up}", name("version"), name("pid"));
        self.line(false, "version", &text);
        if name("config_file") != "-" {
            self.line(false, "file", &name("config_file"));
        }
    }

    fn health(&mut self, value: &Value) {
        let state = plain(member(value, "health.state"));
        let faults: Vec<String> = array(value, "health.faults").iter().map(|f| plain(Some(f))).collect();
        let why = if faults.is_empty() { String::new() } else { format!(": {}", faults.join("; ")) };
        self.line(state != "ready", "health", &format!("{state}{why}"));
        if let Some(ahead) = member(value, "clock.ahead_seconds").and_then(Value::as_f64) {
            let peers = number(value, "clock.peers");
            let text = format!("{} {} peers", offset(ahead), peers);
            self.line(ahead.abs() > SKEW_SECONDS, "clock", &text);
            let worst = number(value, "clock.worst.ahead_seconds");
            if worst.abs() > SKEW_SECONDS && ahead.abs() <= SKEW_SECONDS {
                let node = plain(member(value, "clock.worst.node"));
                self.line(true, "", &format!("the clock of {node} is {:.1} s off", worst));
            }
        }
        if value.get("store").is_some_and(|store| !store.is_null()) {
            let failing = member(value, "store.failing") == Some(&Value::Bool(true));
            let text = format!(
                "{}{}",
                size(number(value, "store.bytes")),
                if failing { ", cannot be written" } else { "" }
            );
            self.line(failing, "store", &text);
        }
        self.line(false, "memory", &format!("{} resident", size(number(value, "memory.resident_bytes"))));
    }

    fn links(&mut self, value: &Value) {
        let (up, all) = (number(value, "links.seeds_reached"), number(value, "links.seeds"));
        let text = format!(
            "{} peers; {up} of {all} configured addresses reached; {} clients on {} connections",
            number(value, "links.peers"),
            number(value, "links.clients"),
            number(value, "links.connections")
        );
        self.line(up < all, "links", &text);
        for wanted in array(value, "links.unreached").iter().take(UNREACHED_SHOWN) {
            self.line(true, "", &unreached(wanted));
        }
        let more = array(value, "links.unreached").len().saturating_sub(UNREACHED_SHOWN);
        if more > 0 {
            self.line(true, "", &format!("and {more} more; see mpreg ctl links"));
        }
    }

    fn functions(&mut self, value: &Value) {
        let functions = array(value, "functions");
        if functions.is_empty() {
            return;
        }
        let is_down = |f: &&Value| number(f, "running") < number(f, "wanted");
        let down: Vec<&Value> = functions.iter().filter(is_down).collect();
        let text = format!("{} declared, {} without all their workers", functions.len(), down.len());
        self.line(!down.is_empty(), "functions", &text);
        for function in down.iter().take(UNREACHED_SHOWN) {
            let text = format!(
                "{} {}: {} of {} workers run; last end: {}",
                plain(function.get("name")),
                plain(function.get("version")),
                plain(function.get("running")),
                plain(function.get("wanted")),
                plain(function.get("last_exit"))
            );
            self.line(true, "", &text);
        }
    }

    fn limits(&mut self, value: &Value) {
        let limits = array(value, "limits");
        let near: Vec<&Value> = limits.iter().filter(|l| number(l, "share") >= NEAR_SHARE).collect();
        let shown = |limit: &Value| {
            let amount = |key: &str| match limit["unit"] == "bytes" {
                true => size(number(limit, key)),
                false => plain(limit.get(key)),
            };
            let share = number(limit, "share") * 100.0;
            format!("{}: {} of {} ({share:.0} %)", plain(limit.get("key")), amount("used"), amount("max"))
        };
        match (near.is_empty(), limits.first()) {
            (true, Some(fullest)) => {
                self.line(false, "limits", &format!("none is near; fullest {}", shown(fullest)))
            }
            (true, None) => {}
            (false, _) => {
                self.line(true, "limits", &format!("{} nearly used up", near.len()));
                for limit in near {
                    self.line(true, "", &shown(limit));
                }
            }
        }
    }

    /// Certificate, reloads and the log.
    fn settings(&mut self, value: &Value) {
        if let Some(expires) = member(value, "certificate.expires_at").and_then(Value::as_f64) {
            let left = expires - self.now;
            let text = match left > 0.0 {
                true => format!("ends {}, in {}", utc(expires), span(left)),
                false => format!("has ended {}: nobody trusts it", utc(expires)),
            };
            self.line(left < CERTIFICATE_SECONDS, "certificate", &text);
        }
        if let Some(text) = member(value, "reload.last.text").and_then(Value::as_str) {
            let bad = member(value, "reload.last.good") == Some(&Value::Bool(false));
            let ago = span(self.now - number(value, "reload.last.at"));
            self.line(bad, "reload", &format!("{ago} ago: {text}"));
        }
        let restart = array(value, "reload.needs_restart");
        if !restart.is_empty() {
            let keys: Vec<String> = restart.iter().map(|key| plain(Some(key))).collect();
            self.line(true, "restart", &format!("needed for {}", keys.join(", ")));
        }
        if let Some(until) = member(value, "reload.confirm_until").and_then(Value::as_f64) {
            let left = span(until - self.now);
            self.line(
                true,
                "confirm",
                &format!("the reload is undone in {left} unless `mpreg ctl confirm` comes"),
            );
        }
        for set in array(value, "log.set") {
            self.line(false, "log", &scope(set));
        }
    }

    fn refusals(&mut self, value: &Value) {
        let notable: Vec<&Value> =
            array(value, "refusals").iter().filter(|refusal| refusal["routine"] != true).collect();
        if notable.is_empty() {
            self.line(false, "refused", "nothing");
            return;
        }
        let recent = |refusal: &Value| self.now - number(refusal, "last_at") < RECENT_SECONDS;
        let is_recent = notable.iter().any(|refusal| recent(refusal));
        self.line(is_recent, "refused", &format!("{} reasons, the latest first", notable.len()));
        for refusal in notable.iter().take(REFUSALS_SHOWN) {
            let ago = span(self.now - number(refusal, "last_at"));
            let text =
                format!("{} x{}, {ago} ago", plain(refusal.get("reason")), plain(refusal.get("count")));
            let urgent = self.now - number(refusal, "last_at") < RECENT_SECONDS;
            self.line(urgent, "", &text);
            let said = refusal.get("last_text").and_then(Value::as_str);
            self.line(
                false,
                "",
                &format!("  {}", said.map_or_else(|| plain(refusal.get("meaning")), str::to_owned)),
            );
            if urgent {
                self.line(false, "", &format!("  {}", plain(refusal.get("remedy"))));
            }
        }
    }

    fn work(&mut self, value: &Value) {
        let count = |key: &str| plain(member(value, &format!("work.{key}")));
        let text = format!(
            "{} requests, {} published, {} delivered since the start; {} calls and {} subscriptions now",
            count("requests_total"),
            count("published_total"),
            count("delivered_total"),
            count("calls_pending"),
            count("subscriptions")
        );
        self.line(false, "work", &text);
        let text = format!("{} entries, {} routes", count("catalog_entries"), count("routes"));
        self.line(false, "catalog", &text);
    }

    fn events(&mut self, value: &Value) {
        let events = array(value, "events");
        for (n, event) in events.iter().take(EVENTS_SHOWN).enumerate() {
            let title = if n == 0 { "last" } else { "" };
            let text = format!("{} {}", utc(number(event, "at")), plain(event.get("text")));
            self.line(false, title, &text);
        }
    }
}

/// One address that leads nowhere, and why.
fn unreached(wanted: &Value) -> String {
    let next = match (wanted["under_way"] == true, number(wanted, "next_in_seconds")) {
        (true, _) => "being dialled".to_owned(),
        (false, next) if next > 0.0 => format!("next try in {}", span(next)),
        _ => "next try now".to_owned(),
    };
    let fault = match wanted.get("fault").and_then(Value::as_str) {
        Some(fault) => fault.to_owned(),
        None if number(wanted, "failures") > 0.0 => "no link came of it".to_owned(),
        None => "not tried yet".to_owned(),
    };
    let refused = if wanted["turned_away"] == true { "does not want us: " } else { "" };
    format!(
        "{}: {refused}{fault}; {} tries in vain, {next}",
        plain(wanted.get("url")),
        number(wanted, "failures")
    )
}

fn listed(columns: &[(&str, &str)], rows: &[Value], value: &Value, what: &str) -> String {
    let mut out = if rows.is_empty() { String::new() } else { titled_table(columns, rows) };
    let left_out = number(value, "left_out");
    let more =
        if left_out > 0.0 { format!(", {left_out} of them left out; see --limit") } else { String::new() };
    out += &format!("[{} {what}{more}]\n", number(value, "total"));
    out
}

fn rows(value: &Value, name: &str) -> Vec<Value> {
    array(value, name).to_vec()
}

fn array<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    member(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn number(value: &Value, path: &str) -> f64 {
    member(value, path).and_then(Value::as_f64).unwrap_or_default()
}

fn offset(ahead: f64) -> String {
    match ahead {
        ahead if ahead.abs() <= SKEW_SECONDS => "agrees with".to_owned(),
        ahead if ahead > 0.0 => format!("{ahead:.1} s behind"),
        behind => format!("{:.1} s ahead of", -behind),
    }
}

/// `3 d 4 h`, `12 min`, `8 s`: two units are enough.
fn span(seconds: f64) -> String {
    let s = seconds.max(0.0) as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

fn size(bytes: f64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut rest = bytes;
    let mut unit = 0;
    while rest >= 1024.0 && unit + 1 < units.len() {
        rest /= 1024.0;
        unit += 1;
    }
    let digits = if unit == 0 || rest >= 100.0 { 0 } else { 1 };
    format!("{rest:.digits$} {}", units.get(unit).copied().unwrap_or_default())
}

/// Beyond it leases and signatures begin to suffer.
const SKEW_SECONDS: f64 = 2.0;
/// From this share on a limit is worth a look.
const NEAR_SHARE: f64 = 0.8;
/// A refusal of the last minutes is part of what is going on.
const RECENT_SECONDS: f64 = 300.0;
/// Two weeks: time enough to get another.
const CERTIFICATE_SECONDS: f64 = 14.0 * 86_400.0;
const REFUSALS_SHOWN: usize = 8;
const UNREACHED_SHOWN: usize = 8;
const EVENTS_SHOWN: usize = 8;
