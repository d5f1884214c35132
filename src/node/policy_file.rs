//! The policy that was applied by RPC, as it is kept in `node.state_dir` over a restart.
//!
//! What was stored is on disk before `store` returns, and a reader finds the old or the new one, never half of it. A
//! file that cannot be understood is set aside under another name, never overwritten. The directory is made when the
//! first policy is stored.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::discovery::{Policy, read_rules, rules_value};

/// Where the policy is kept.
#[derive(Debug)]
pub struct PolicyFile {
    directory: PathBuf,
}

/// What was found at the start of the node.
#[derive(Debug)]
pub enum Kept {
    Nothing,
    Policy(Policy),
    /// A file that is damaged: what is wrong with it, and where it is now.
    SetAside {
        fault: String,
        path: PathBuf,
    },
}

/// The file. A newer version is for a newer program.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u64,
    enabled: bool,
    default_allow: bool,
    rules: Value,
}

impl PolicyFile {
    pub fn new(state_dir: &str) -> PolicyFile {
        PolicyFile { directory: state_dir.into() }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    /// Whether a policy could be stored; where it could not, what is wrong and the remedy. A directory that does not
    /// exist yet is fine.
    pub fn check(&self) -> Result<(), String> {
        let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        let fault = match fs::metadata(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => error,
            Ok(found) if !found.is_dir() => io::ErrorKind::NotADirectory.into(),
            Ok(_) => match rustix::fs::access(&self.directory, access) {
                Ok(()) => return Ok(()),
                Err(error) => error.into(),
            },
        };
        Err(format!("node.state_dir: cannot write to {}: {fault}; {REMEDY}", self.directory.display()))
    }

    /// The policy of the last run; an error is a line that names the key and the remedy.
    pub fn load(&self) -> Result<Kept, String> {
        let path = self.path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::Nothing),
            Err(error) => {
                return Err(format!("node.state_dir: cannot read {}: {error}; {REMEDY}", path.display()));
            }
        };
        let fault = match understood(&bytes) {
            Ok(policy) => return Ok(Kept::Policy(policy)),
            Err(Fault::Newer(version)) => {
                return Err(format!(
                    "node.state_dir: {} has version {version}, and this program knows {VERSION}; \
                     use the newer program or move the file away",
                    path.display()
                ));
            }
            Err(Fault::Damaged(fault)) => fault,
        };
        let aside = self.free_name();
        fs::rename(&path, &aside).map_err(|error| {
            format!(
                "node.state_dir: {} is damaged ({fault}) and cannot be set aside: {error}; {REMEDY}",
                path.display()
            )
        })?;
        Ok(Kept::SetAside { fault, path: aside })
    }

    pub fn store(&self, policy: &Policy) -> io::Result<()> {
        if !self.directory.exists() {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
            if let Some(above) = self.directory.parent().filter(|above| *above != Path::new("")) {
                File::open(above)?.sync_all()?;
            }
        }
        let content = Content {
            version: VERSION,
            enabled: policy.enabled(),
            default_allow: policy.default_allow(),
            rules: rules_value(policy.rules()),
        };
        let text = serde_json::to_vec_pretty(&content)?;
        let directory = File::open(&self.directory)?;
        let beside = self.directory.join(format!("{NAME}.new"));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&beside, self.path())?;
        directory.sync_all()
    }

    /// Forgets the stored policy; false where there was none.
    pub fn remove(&self) -> io::Result<bool> {
        match fs::remove_file(self.path()) {
            Ok(()) => File::open(&self.directory)?.sync_all().map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A name for a damaged file that is not taken.
    fn free_name(&self) -> PathBuf {
        let name = |number: usize| self.directory.join(format!("{NAME}.damaged-{number}"));
        (1..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(0))
    }
}

enum Fault {
    Damaged(String),
    Newer(u64),
}

fn understood(bytes: &[u8]) -> Result<Policy, Fault> {
    /// Read first: a newer file may have other members.
    #[derive(Deserialize)]
    struct Head {
        version: u64,
    }
    let damaged = |error: serde_json::Error| Fault::Damaged(error.to_string());
    let Head { version } = serde_json::from_slice(bytes).map_err(damaged)?;
    if version > VERSION {
        return Err(Fault::Newer(version));
    }
    let content: Content = serde_json::from_slice(bytes).map_err(damaged)?;
    let read = read_rules(&content.rules).ok_or_else(|| Fault::Damaged("rules is not a list".into()))?;
    match read.errors.first() {
        Some(error) => Err(Fault::Damaged(error.clone())),
        None => Ok(Policy::new(content.enabled, content.default_allow, read.rules)),
    }
}

const NAME: &str = "policy.json";
const VERSION: u64 = 1;
const REMEDY: &str =
    "let the user of the node own the directory, choose another, or set discovery.policy.persist = false";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::*;

    /// A directory of its own for each test, which goes with it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let path = std::env::temp_dir().join(format!("mpreg-policy-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Place(path)
        }

        fn file(&self) -> PolicyFile {
            PolicyFile { directory: self.0.join("a/state") }
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn policy() -> Policy {
        let rules =
            json!([{"namespace": "a", "visibility": ["c9"], "cutover_windows": [{"starts_at": 5.5}]}]);
        Policy::new(true, false, read_rules(&rules).unwrap().rules)
    }

    #[test]
    fn what_was_stored_is_found_again() {
        let place = Place::new("stored");
        let file = place.file();
        assert!(file.check().is_ok() && matches!(file.load(), Ok(Kept::Nothing)));
        assert!(!file.directory.exists(), "made only when it is needed");
        file.store(&policy()).unwrap();
        file.store(&policy()).unwrap();
        assert_eq!(fs::metadata(&file.directory).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&file.directory).unwrap().count(), 1, "nothing is left beside");
        let Ok(Kept::Policy(kept)) = file.load() else { panic!("{:?}", file.load()) };
        assert!(kept.enabled() && !kept.default_allow());
        assert_eq!(kept.rules(), policy().rules());
        assert!(file.check().is_ok() && file.remove().unwrap() && !file.remove().unwrap());
        assert!(matches!(file.load(), Ok(Kept::Nothing)));
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_a_newer_one_left() {
        let place = Place::new("damaged");
        let file = place.file();
        file.store(&policy()).unwrap();
        let whole = fs::read(file.path()).unwrap();
        let twice = br#"{"version":1,"enabled":true,"default_allow":true,"rules":[{"namespace":"a"},{"namespace":"a"}]}"#;
        for (n, text) in [&whole[..whole.len() / 2], b"", twice].into_iter().enumerate() {
            fs::write(file.path(), text).unwrap();
            let Ok(Kept::SetAside { path, .. }) = file.load() else { panic!("{:?}", file.load()) };
            assert!(path.ends_with(format!("policy.json.damaged-{}", n + 1)));
            assert_eq!(fs::read(path).unwrap(), text);
            assert!(!file.path().exists());
        }
        fs::write(file.path(), br#"{"version":2,"wings":true}"#).unwrap();
        let told = file.load().unwrap_err();
        assert!(told.contains("node.state_dir") && told.contains("version 2"), "{told}");
        assert!(file.path().exists());
    }

    #[test]
    fn what_is_no_directory_is_told() {
        let place = Place::new("file");
        fs::create_dir_all(place.0.join("a")).unwrap();
        fs::write(place.0.join("a/state"), "").unwrap();
        let told = place.file().check().unwrap_err();
        assert!(told.contains("node.state_dir") && told.contains("discovery.policy.persist"), "{told}");
        assert!(place.file().store(&policy()).is_err());
    }
}
