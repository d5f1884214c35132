//! From the places that a setting may come from to one checked whole (cli-config 4.1, 4.6).
//!
//! Precedence, low to high: built-in, role, file, drop-ins in the order of their names, environment, command line.
//! Nothing is taken from the process by itself: environment, privileges and host name come in with the request, so
//! a test sees what a node sees. Either everything is right, or all faults are told and nothing is loaded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check;
use super::checks;
use super::document::{self, Entry};
use super::fault::{Fault, Faults, Origin, Place, Source};
use super::legacy;
use super::role;
use super::schema::{self, Key, Kind, Reload, Row, Table, join};
use super::secret;
use super::settings::{Role, Settings};
use super::suggest;
use super::unserved;
use super::value::{Layer, Setting, Value};

/// Where to load from. Not `Debug`: the environment and the overrides may hold secrets.
#[derive(Clone, Default)]
pub struct LoadRequest {
    /// The main file; none: defaults, environment and overrides only.
    pub path: Option<PathBuf>,
    /// Key, text of the value, and what a person typed (`--set dns.port`): options of the command line.
    pub overrides: Vec<(String, String, String)>,
    pub environment: Vec<(String, String)>,
    /// Unknown keys of old files are warnings; also by `MPREG_LEGACY_IGNORE_UNKNOWN=1` in the environment.
    pub legacy_ignore_unknown: bool,
    /// Whether ports below 1024 may be bound.
    pub privileged: bool,
    /// Default of `node.name`.
    pub host_name: String,
}

/// A configuration without faults.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub settings: Settings,
    /// Every key that is not at its built-in default, with its origin.
    pub values: Layer,
    /// What is doubtful.
    pub warnings: Vec<Fault>,
    /// What is worth knowing.
    pub notices: Vec<Fault>,
    /// True if the main file is in the old flat format.
    pub legacy: bool,
    /// The main file and the drop-ins that were read, in order.
    pub files: Vec<PathBuf>,
}

impl LoadRequest {
    /// A request with the environment, privileges and host name of this process.
    pub fn of_process(path: Option<PathBuf>) -> LoadRequest {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        LoadRequest {
            path,
            environment,
            privileged: rustix::process::geteuid().is_root(),
            host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            ..LoadRequest::default()
        }
    }
}

impl Loaded {
    /// Where the value of a key comes from.
    pub fn origin(&self, key: &str) -> Origin {
        self.values.get(key).map_or(Origin::Default, |setting| setting.origin.clone())
    }

    /// The origin of every key that is not at its built-in default.
    pub fn origins(&self) -> BTreeMap<&str, &Origin> {
        self.values.iter().map(|(key, setting)| (key.as_str(), &setting.origin)).collect()
    }

    /// The keys whose values differ in `new`, for a reload; a list of tables counts as one key.
    pub fn changed(&self, new: &Loaded) -> Vec<&'static Key> {
        let differs = |key: &&Key| {
            let value = |loaded: &Loaded| {
                loaded.values.get(&key.path).map(|s| s.value.clone()).or_else(|| key.row.default_value())
            };
            value(self) != value(new)
        };
        let mut changed: Vec<&'static Key> =
            schema::schema().iter().filter(|key| !key.in_list).filter(differs).collect();
        // A file with a secret may have new content under the same name.
        let secrets = secret::resolved(&self.settings);
        for (path, secret) in secret::resolved(&new.settings) {
            let is_new = !secrets.iter().any(|(other, old)| *other == path && *old == secret);
            // Where no file is named, the secret stands under another key.
            let is_there = match new.values.get(path).map(|setting| &setting.value) {
                Some(Value::Text(file)) => !file.is_empty(),
                other => other.is_some(),
            };
            if let Some(key) = schema::key(path)
                .filter(|key| is_new && is_there && !changed.iter().any(|c| c.path == key.path))
            {
                changed.push(key);
            }
        }
        changed
    }

    /// This configuration with the keys of `new` that may change while a node runs. What stays must go together with
    /// what is new: the error says what does not.
    pub fn revised(&self, new: &Loaded) -> Result<Loaded, Faults> {
        let mut values = Layer::new();
        for key in schema::schema().iter().filter(|key| !key.in_list) {
            let from = if key.row.reload == Reload::Restart { self } else { new };
            if let Some(setting) = from.values.get(&key.path) {
                values.insert(key.path.clone(), setting.clone());
            }
        }
        let mut settings = Settings::build(&values, "");
        settings.fill(&self.settings.node.name);
        secret::take_over(&mut settings, &self.settings, &new.settings);
        let (mut faults, mut warnings) = (Faults::default(), Vec::new());
        checks::all(&settings, &values, &mut faults, &mut warnings);
        if !faults.is_empty() {
            for fault in &mut faults.0 {
                fault.message += "; it stays until a restart, so what it needs has to stay too";
            }
            return Err(faults.sorted());
        }
        Ok(Loaded { settings, values, ..new.clone() })
    }

    /// The changed keys that only a restart brings into force.
    pub fn needs_restart(&self, new: &Loaded) -> Vec<&'static Key> {
        self.changed(new).into_iter().filter(|key| key.row.reload == Reload::Restart).collect()
    }
}

/// Loads and checks; see the module for what wins over what.
pub fn load(request: &LoadRequest) -> Result<Loaded, Faults> {
    let mut faults = Faults::default();
    let mut warnings = Vec::new();
    let mut notices = Vec::new();
    let from_environment = |name: &str| request.environment.iter().any(|(n, v)| n == name && v == "1");
    let ignore_unknown = request.legacy_ignore_unknown || from_environment("MPREG_LEGACY_IGNORE_UNKNOWN");

    let mut values = Layer::new();
    let mut legacy = false;
    let files = request.path.as_deref().map_or(Vec::new(), |path| files(path, &mut faults));
    for (rank, file) in files.iter().enumerate() {
        let source = Arc::new(source(&files, rank));
        let Some((_, entries)) = read(file, &source, &mut faults) else { continue };
        let is_old = form(&entries, &mut faults);
        let mut layer = Layer::new();
        match is_old {
            Form::Old => {
                let mut reading =
                    legacy::Reading { faults: &mut faults, warnings: &mut warnings, ignore_unknown };
                layer = legacy::read(&entries, &mut reading);
            }
            Form::New => check::table(Settings::ROWS, &entries, "", "", &mut layer, &mut faults),
            Form::Mixed => {}
        }
        legacy |= rank == 0 && is_old == Form::Old;
        overlay(&mut values, layer, &mut warnings);
    }
    overlay(&mut values, environment(&request.environment, &mut faults), &mut Vec::new());
    overlay(&mut values, overrides(&request.overrides, &mut faults), &mut Vec::new());

    presets(&mut values, request.privileged, &mut faults);
    if legacy {
        legacy::add_defaults(&mut values);
    }
    if !values.contains_key("tenants.allow_claimed")
        && !schema::elements(&values, "tenants.credential").is_empty()
    {
        let setting = Setting { value: Value::Bool(false), origin: Origin::Default };
        values.insert("tenants.allow_claimed".into(), setting);
    }

    let mut settings = Settings::build(&values, "");
    settings.fill(&request.host_name);
    secret::resolve(&mut settings, &values, &request.environment, &mut faults);
    checks::all(&settings, &values, &mut faults, &mut warnings);
    if legacy {
        let main = values.values().find(|s| s.origin.is_old()).map_or(Origin::Default, |s| s.origin.clone());
        for text in legacy::unsafe_defaults(&values, &settings) {
            warnings.push(Fault::new(whole_file(&main), text));
        }
    }
    if !faults.is_empty() {
        return Err(faults.sorted());
    }
    notices.extend(unserved::notices(&values));
    Ok(Loaded { settings, values, warnings, notices, legacy, files })
}

/// One file, read by itself.
pub struct Alone {
    pub values: Layer,
    pub warnings: Vec<Fault>,
    pub legacy: bool,
    /// The text of the file.
    pub text: String,
}

/// Reads one file without drop-ins, environment and roles, for `config convert`. Keys and types are checked, what
/// holds between keys is not: the file may be meant for another machine.
pub fn read_alone(path: &Path, ignore_unknown: bool) -> Result<Alone, Faults> {
    let mut faults = Faults::default();
    let mut alone = Alone { values: Layer::new(), warnings: Vec::new(), legacy: false, text: String::new() };
    let files = [path.to_owned()];
    let source = Arc::new(source(&files, 0));
    if let Some((text, entries)) = read(path, &source, &mut faults) {
        match form(&entries, &mut faults) {
            Form::Old => {
                let warnings = &mut alone.warnings;
                let mut reading = legacy::Reading { faults: &mut faults, warnings, ignore_unknown };
                alone.values = legacy::read(&entries, &mut reading);
                legacy::add_defaults(&mut alone.values);
                alone.legacy = true;
            }
            Form::New => check::table(Settings::ROWS, &entries, "", "", &mut alone.values, &mut faults),
            Form::Mixed => {}
        }
        alone.text = text;
    }
    if faults.is_empty() { Ok(alone) } else { Err(faults.sorted()) }
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Old,
    New,
    /// Both; told, and neither is read.
    Mixed,
}

/// The main file, then its drop-ins `DIR/NAME.d/*.toml` in the order of their names.
fn files(path: &Path, faults: &mut Faults) -> Vec<PathBuf> {
    let mut files = vec![path.to_owned()];
    let folder = path.with_extension("d");
    if !folder.is_dir() {
        return files;
    }
    match fs::read_dir(&folder) {
        Ok(entries) => {
            let mut found: Vec<PathBuf> = entries
                .filter_map(|entry| entry.ok().map(|entry| entry.path()))
                .filter(|path| path.extension().is_some_and(|ext| ext == "toml") && path.is_file())
                .collect();
            found.sort();
            files.extend(found);
        }
        Err(error) => faults.add(&place_of(&folder, 0), format!("cannot be read: {error}")),
    }
    files
}

fn source(files: &[PathBuf], rank: usize) -> Source {
    let path = files.get(rank).map_or(Path::new(""), PathBuf::as_path);
    let base = files.first().and_then(|main| main.parent()).unwrap_or(Path::new(""));
    let short = path.strip_prefix(base).unwrap_or(path).display().to_string();
    Source { path: path.display().to_string(), short, rank }
}

fn place_of(path: &Path, rank: usize) -> Origin {
    let source = Source { path: path.display().to_string(), short: path.display().to_string(), rank };
    Origin::File(Place { source: Arc::new(source), line: 0, column: 0, old_key: None })
}

/// The place that means the file as a whole.
fn whole_file(origin: &Origin) -> Origin {
    match origin {
        Origin::File(place) => {
            Origin::File(Place { source: place.source.clone(), line: 0, column: 0, old_key: None })
        }
        other => other.clone(),
    }
}

/// The entries of a file; `None` if it cannot be read, which has been told.
fn read(path: &Path, source: &Arc<Source>, faults: &mut Faults) -> Option<(String, Vec<Entry>)> {
    let whole = Origin::File(Place { source: source.clone(), line: 0, column: 0, old_key: None });
    let extension = path.extension().and_then(|ext| ext.to_str()).unwrap_or_default();
    if !matches!(extension, "toml" | "tml" | "json") {
        faults.add(&whole, format!("the extension is `{extension}`; expected .toml, .tml or .json"));
        return None;
    }
    let bytes = match fs::metadata(path).map(|meta| meta.len()) {
        Ok(length) if length > FILE_BYTES_MAX => {
            faults.add(&whole, format!("the file has {length} bytes; at most {FILE_BYTES_MAX} are read"));
            return None;
        }
        Ok(_) => fs::read(path),
        Err(error) => Err(error),
    };
    let text = match bytes.map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => {
            let line =
                error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
            let place = Place { source: source.clone(), line: line + 1, column: 1, old_key: None };
            faults.add(&Origin::File(place), "the file is not UTF-8");
            return None;
        }
        Err(error) => {
            faults.add(&whole, format!("cannot be read: {error}"));
            return None;
        }
    };
    let before = faults.0.len();
    let entries = match extension {
        "json" => document::json(&text, source, faults),
        _ => document::toml(&text, source, faults),
    };
    // What a broken file seems to say is not judged any further.
    (faults.0.len() == before).then_some((text, entries))
}

/// Whether the entries are those of an old or of a new file; a mixture is told key by key.
fn form(entries: &[Entry], faults: &mut Faults) -> Form {
    let (old, new): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(|entry| legacy::is_flat(entry));
    let Some(first) = old.first() else { return Form::New };
    let new: Vec<&&Entry> =
        new.iter().filter(|e| Settings::ROWS.iter().any(|row| row.name == e.key)).collect();
    if new.is_empty() || old.iter().any(|entry| entry.key == "mpreg") {
        return Form::Old;
    }
    let names = |entries: &[&Entry]| {
        let names: Vec<String> = entries.iter().map(|entry| format!("`{}`", entry.key)).collect();
        names.join(", ")
    };
    let new: Vec<&Entry> = new.into_iter().copied().collect();
    faults.add(
        &first.origin,
        format!(
            "a file is either of the old flat format ({}) or of the new one ({}), not both; \
             a drop-in may be of the other",
            names(&old),
            names(&new)
        ),
    );
    for entry in old {
        if let Some(flat) = legacy::flat(&entry.key) {
            let text =
                format!("`{}` is a key of the old flat format; {}", entry.key, flat.write(&entry.node));
            faults.add(&entry.origin, text);
        }
    }
    Form::Mixed
}

/// Lays `layer` over `values`. A list of tables replaces the one below it, which is worth a word.
fn overlay(values: &mut Layer, layer: Layer, warnings: &mut Vec<Fault>) {
    for (key, setting) in layer {
        if let (Some(old), Value::Elements(new)) = (values.get(&key), &setting.value)
            && let Value::Elements(elements) = &old.value
            && !elements.is_empty()
        {
            let text =
                format!("the {} of `{key}` here replace the {} of {}", new.len(), elements.len(), old.origin);
            warnings.push(Fault::new(setting.origin.clone(), text));
        }
        values.insert(key, setting);
    }
}

/// `MPREG__DNS__UDP_PORT=5353` and the like.
fn environment(variables: &[(String, String)], faults: &mut Faults) -> Layer {
    let mut layer = Layer::new();
    let mut sorted: Vec<&(String, String)> = variables.iter().collect();
    sorted.sort();
    for (name, text) in sorted {
        if let Some(rest) = name.strip_prefix("MPREG__") {
            let path = rest.to_lowercase().replace("__", ".");
            set(&path, text, &Origin::Environment(name.as_str().into()), &mut layer, faults);
        }
    }
    layer
}

fn overrides(overrides: &[(String, String, String)], faults: &mut Faults) -> Layer {
    let mut layer = Layer::new();
    for (key, text, origin) in overrides {
        set(key, text, &Origin::Option(origin.as_str().into()), &mut layer, faults);
    }
    layer
}

/// Sets one key from bare text.
fn set(path: &str, text: &str, origin: &Origin, layer: &mut Layer, faults: &mut Faults) {
    if let Some(key) = schema::key(path).filter(|key| !key.in_list) {
        if let Some(value) = check::text_value(key.row, text, path, origin, faults) {
            layer.insert(path.to_owned(), Setting { value, origin: origin.clone() });
        }
        return;
    }
    let (table, name) = path.rsplit_once('.').unwrap_or(("", path));
    let node = document::Node { raw: document::Raw::Text("...".into()), origin: origin.clone() };
    let (rows, known) = rows(table);
    let depth = known.split('.').filter(|part| !part.is_empty()).count();
    let missing = path.split('.').nth(depth).unwrap_or(name);
    let message = match rows.iter().find(|row| row.name == missing).map(|row| row.kind) {
        Some(Kind::Table(_)) => format!("`{path}` is a table; set one of its keys"),
        Some(_) => format!("`{}` is set as a whole, as in a file", join(&known, missing)),
        None => suggest::unknown_key(rows, &known, missing, &node, known != table),
    };
    faults.add(origin, message);
}

/// The rows of the deepest table on the way to `table`, and its path.
fn rows(table: &str) -> (&'static [Row], String) {
    let mut rows = Settings::ROWS;
    let mut known = String::new();
    for part in table.split('.').filter(|part| !part.is_empty()) {
        match rows.iter().find(|row| row.name == part).map(|row| row.kind) {
            Some(Kind::Table(inner)) => {
                rows = inner;
                known = join(&known, part);
            }
            _ => break,
        }
    }
    (rows, known)
}

/// Adds the defaults of the roles, and tells of keys that contradict a role.
fn presets(values: &mut Layer, privileged: bool, faults: &mut Faults) {
    let roles: Vec<Role> = match values.get("node.role").map(|setting| &setting.value) {
        Some(Value::List(words)) => words
            .iter()
            .filter_map(|word| if let Value::Word(word) = word { Role::of_word(word) } else { None })
            .collect(),
        _ => return,
    };
    for role in roles {
        for preset in role::presets(role, privileged) {
            let origin = Origin::Role(role);
            let Some(key) = schema::key(preset.key) else { continue };
            let node = document::toml_value(preset.value, &origin);
            let value = node.ok().and_then(|node| check::value(key.row, &node, preset.key, faults));
            match (values.get(preset.key), value) {
                (Some(written), Some(value)) if preset.is_purpose && written.value != value => faults.add(
                    &written.origin,
                    format!(
                        "role \"{}\" contradicts `{}` = false; remove one of them",
                        role.as_str(),
                        preset.key
                    ),
                ),
                (None, Some(value)) => {
                    values.insert(preset.key.to_owned(), Setting { value, origin });
                }
                _ => {}
            }
        }
    }
}

/// A settings file is written by hand; more is a mistake or worse.
const FILE_BYTES_MAX: u64 = 4 << 20;
