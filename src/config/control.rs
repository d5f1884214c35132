//! Where the control socket of a node is: the one rule that a node binds by and `mpreg ctl` looks by.

use std::path::{Path, PathBuf};

use super::load::Loaded;

/// What the process was given for files that live as long as it does.
#[derive(Debug, Clone, Default)]
pub struct RuntimePlaces {
    /// `RUNTIME_DIRECTORY`, which systemd makes for a unit.
    pub unit: Option<PathBuf>,
    /// `mpreg` in `XDG_RUNTIME_DIR`, which belongs to the user; for root without one in `/run`.
    pub user: Option<PathBuf>,
}

impl RuntimePlaces {
    pub fn of_process() -> RuntimePlaces {
        let directory = |name: &str| std::env::var_os(name).filter(|text| !text.is_empty());
        let unit = directory("RUNTIME_DIRECTORY").and_then(|text| {
            let text = text.into_string().ok()?;
            // Several are separated by colons; the first is that of the unit.
            Some(PathBuf::from(text.split(':').next()?))
        });
        let user = directory("XDG_RUNTIME_DIR").map(PathBuf::from);
        let is_root = rustix::process::geteuid().is_root();
        let user = user.or_else(|| is_root.then(|| PathBuf::from("/run"))).map(|run| run.join("mpreg"));
        RuntimePlaces { unit, user }
    }
}

/// Where a node of this configuration listens for `mpreg ctl`; `None` where it does not or has no place for it.
pub fn control_socket(loaded: &Loaded, places: &RuntimePlaces, pid: u32) -> Option<PathBuf> {
    if !loaded.settings.control.enabled {
        return None;
    }
    let user = || places.user.as_ref().map(|user| user.join(format!("node-{pid}.sock")));
    lasting_socket(loaded, places).or_else(user)
}

/// The same where it does not depend on the process, so that somebody else can find it.
pub fn lasting_socket(loaded: &Loaded, places: &RuntimePlaces) -> Option<PathBuf> {
    let settings = &loaded.settings;
    if !settings.control.socket.is_empty() {
        return Some(PathBuf::from(&settings.control.socket));
    }
    if let Some(unit) = &places.unit {
        return Some(unit.join(SOCKET));
    }
    // A default that many nodes of a machine share is nobody's place.
    let is_own = loaded.origin("node.state_dir").is_written();
    is_own.then(|| Path::new(&settings.node.state_dir).join(SOCKET))
}

/// Where the node of the package listens.
pub const PACKAGE_SOCKET: &str = "/run/mpreg/control.sock";
const SOCKET: &str = "control.sock";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LoadRequest, load};

    #[test]
    fn the_nearest_place_that_was_given_wins() {
        let unit = RuntimePlaces { unit: Some("/run/mpreg".into()), user: Some("/run/user/7/mpreg".into()) };
        let user = RuntimePlaces { unit: None, ..unit.clone() };
        let none = RuntimePlaces::default();
        for (set, places, expected) in [
            ("", &unit, Some("/run/mpreg/control.sock")),
            ("", &user, Some("/run/user/7/mpreg/node-42.sock")),
            ("", &none, None),
            ("node.state_dir=/srv/n", &user, Some("/srv/n/control.sock")),
            ("node.state_dir=/srv/n", &unit, Some("/run/mpreg/control.sock")),
            ("control.socket=/srv/c", &unit, Some("/srv/c")),
            ("control.enabled=false", &unit, None),
        ] {
            let mut request = LoadRequest { host_name: "h".into(), ..LoadRequest::default() };
            if let Some((key, value)) = set.split_once('=') {
                request.overrides.push((key.into(), value.into(), "--set".into()));
            }
            let loaded = load(&request).unwrap();
            let found = control_socket(&loaded, places, 42);
            assert_eq!(found.as_deref(), expected.map(Path::new), "{set} {places:?}");
        }
    }
}
