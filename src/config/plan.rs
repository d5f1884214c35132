//! What differs between two configurations, key by key, and what it takes to bring it into force: the plan of a reload.
//!
//! A key is told once; a list of tables is one key, and told by its elements. No secret is shown.

use super::fault::Origin;
use super::load::Loaded;
use super::render;
use super::schema::{Key, Kind, Reload};
use super::value::{Element, Value};

/// One key whose value is another one.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub key: String,
    pub reload: Reload,
    /// TOML text; `-` where the key is absent.
    pub from: String,
    pub to: String,
    /// For a list of tables: `+ NAME`, `- NAME` and `~ NAME`.
    pub elements: Vec<String>,
    /// Where the new value comes from.
    pub origin: Origin,
}

/// Everything that differs, in the order of `config show`.
pub fn changes(old: &Loaded, new: &Loaded) -> Vec<Change> {
    old.changed(new).into_iter().map(|key| change(key, old, new)).collect()
}

fn change(key: &Key, old: &Loaded, new: &Loaded) -> Change {
    let value = |loaded: &Loaded| {
        loaded.values.get(&key.path).map(|s| s.value.clone()).or_else(|| key.row.default_value())
    };
    let (from, to) = (value(old), value(new));
    let elements = match (&from, &to) {
        (Some(Value::Elements(from)), Some(Value::Elements(to))) => compared(from, to),
        _ => Vec::new(),
    };
    let (mut from, mut to) = (shown(key, from.as_ref()), shown(key, to.as_ref()));
    if from == to && elements.is_empty() {
        // The same file with another secret in it.
        to = "new content".to_owned();
        from = "old content".to_owned();
    }
    Change {
        key: key.path.clone(),
        reload: key.row.reload,
        from,
        to,
        elements,
        origin: new.origin(&key.path),
    }
}

fn shown(key: &Key, value: Option<&Value>) -> String {
    match value {
        None => "-".to_owned(),
        Some(_) if matches!(key.row.kind, Kind::Secret) => "(not shown)".to_owned(),
        Some(Value::Elements(elements)) => format!("{} elements", elements.len()),
        Some(value) => {
            let text = render::toml(value);
            match text.char_indices().nth(TEXT_CHARS_MAX) {
                Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
                None => text,
            }
        }
    }
}

/// What came, went and changed, by the names of the elements.
fn compared(from: &[Element], to: &[Element]) -> Vec<String> {
    // What a person calls them, as far as that tells them apart on both sides.
    let name = |element: &Element| {
        let short = names(element).next().unwrap_or_else(|| "an element".to_owned());
        let is_only =
            |list: &[Element]| list.iter().filter(|e| names(e).next().as_ref() == Some(&short)).count() <= 1;
        match is_only(from) && is_only(to) {
            true => short,
            false => names(element).collect::<Vec<_>>().join(" "),
        }
    };
    let mut told = Vec::new();
    for new in to.iter().filter(|new| !from.contains(new)) {
        let is_known = from.iter().any(|old| name(old) == name(new));
        told.push(format!("{} {}", if is_known { '~' } else { '+' }, name(new)));
    }
    for old in from.iter().filter(|old| !to.iter().any(|new| name(new) == name(old))) {
        told.push(format!("- {}", name(old)));
    }
    told.dedup();
    // The same elements in another order.
    if told.is_empty() && from != to { vec!["another order".to_owned()] } else { told }
}

/// What names an element, the most telling first.
fn names(element: &Element) -> impl Iterator<Item = String> {
    let text = |key: &&str| match element.members.get(*key).map(|setting| &setting.value) {
        Some(Value::Text(text)) if !text.is_empty() => Some(text.clone()),
        Some(Value::Word(word)) => Some((*word).to_owned()),
        Some(Value::Int(number)) => Some(number.to_string()),
        _ => None,
    };
    NAMING.iter().filter_map(move |keys| keys.iter().find_map(text))
}

/// Members that name an element, by their rank.
const NAMING: [&[&str]; 4] = [
    &["name", "tenant", "cluster", "namespace", "queue", "direction", "protocol", "from", "type"],
    &["version", "key_id", "applies_to", "to"],
    &["neighbor", "port"],
    &["scheme"],
];
const TEXT_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LoadRequest, load};

    fn loaded(text: &str) -> Loaded {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        std::fs::write(&path, text).unwrap();
        load(&LoadRequest { path: Some(path), host_name: "h".into(), ..LoadRequest::default() }).unwrap()
    }

    const OLD: &str = "[listen]\nport = 7000\n[limits]\nbacklog = \"1MiB\"\n\
        [[function]]\nname = \"a\"\ncommand = [\"/bin/a\"]\n[[function]]\nname = \"b\"\ncommand = [\"/bin/b\"]\n\
        [tenants]\nenabled = true\n[[tenants.credential]]\ntenant = \"t\"\ntoken = \"old-secret\"\n";
    const NEW: &str = "[listen]\nport = 7001\n[limits]\nbacklog = \"2MiB\"\n\
        [[function]]\nname = \"a\"\ncommand = [\"/bin/a2\"]\n[[function]]\nname = \"c\"\ncommand = [\"/bin/c\"]\n\
        [tenants]\nenabled = true\n[[tenants.credential]]\ntenant = \"t\"\ntoken = \"new-secret\"\n";

    #[test]
    fn each_key_is_told_with_its_class_and_no_secret() {
        let told = changes(&loaded(OLD), &loaded(NEW));
        let text = |key: &str| {
            let change = told.iter().find(|c| c.key == key).unwrap();
            format!("{:?} {} {} {:?}", change.reload, change.from, change.to, change.elements)
        };
        assert_eq!(text("listen.port"), "Restart 7000 7001 []");
        assert_eq!(text("limits.backlog"), "Live \"1MiB\" \"2MiB\" []");
        assert_eq!(text("function"), "Live 2 elements 2 elements [\"~ a\", \"+ c\", \"- b\"]");
        assert_eq!(text("tenants.credential"), "Live 1 elements 1 elements [\"~ t\"]");
        assert_eq!(told.len(), 4);
        assert!(!format!("{told:?}").contains("secret"));
        assert!(changes(&loaded(NEW), &loaded(NEW)).is_empty());
    }

    #[test]
    fn a_revised_configuration_has_the_new_values_of_what_may_change_and_the_old_ones_of_the_rest() {
        let (old, new) = (loaded(OLD), loaded(NEW));
        let now = old.revised(&new).unwrap();
        assert_eq!((now.settings.listen.port, now.settings.limits.backlog), (7000, 2 << 20));
        assert_eq!(now.settings.function.len(), 2);
        assert_eq!(now.settings.tenants.credential[0].token.reveal(), "new-secret");
        // What is left is what a restart brings, however often it is asked.
        let keys = |old: &Loaded| changes(old, &new).into_iter().map(|c| c.key).collect::<Vec<_>>();
        assert_eq!(keys(&now), ["listen.port"]);
        assert_eq!(keys(&now.revised(&new).unwrap()), ["listen.port"]);
        // And back again.
        assert!(changes(&old, &now.revised(&old).unwrap()).is_empty());
    }

    #[test]
    fn what_stays_must_go_together_with_what_is_new() {
        let with = "[tls]\ncert_file = \"DIR/c.pem\"\nkey_file = \"DIR/c.key\"\n[[listen.endpoint]]\nprotocol = \"wss\"\n";
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::generate_simple_self_signed(["h".to_owned()]).unwrap();
        std::fs::write(folder.path().join("c.pem"), key.cert.pem()).unwrap();
        std::fs::write(folder.path().join("c.key"), key.signing_key.serialize_pem()).unwrap();
        let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
        std::fs::set_permissions(folder.path().join("c.key"), mode).unwrap();
        let old = loaded(&with.replace("DIR", &folder.path().display().to_string()));
        let faults = old.revised(&loaded("")).unwrap_err().to_string();
        assert!(faults.contains("tls.cert_file"), "{faults}");
    }
}
