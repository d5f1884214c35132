//! The route keys of other clusters, from the configuration and from `[route.security.provider]`, and their refreshing.
//!
//! A source is read again and again, off the path of everything else. What cannot be read or understood as a whole
//! changes nothing and is told each time. For a key of both the configuration has the last word.

use std::time::Duration;

use smol::Timer;

use crate::core::trust::{ConfiguredKey, read_registry};
use crate::drive::key_source::KeySource;

/// The keys of both places.
#[derive(Debug, Default)]
pub struct RouteKeys {
    configured: Vec<ConfiguredKey>,
    provided: Vec<ConfiguredKey>,
}

impl RouteKeys {
    pub fn new(configured: Vec<ConfiguredKey>) -> RouteKeys {
        RouteKeys { configured, provided: Vec::new() }
    }

    /// `[[route.security.key]]` of a new configuration; false where nothing has changed.
    pub fn configure(&mut self, keys: Vec<ConfiguredKey>) -> bool {
        replace(&mut self.configured, keys)
    }

    /// What the provider says now; false where nothing has changed.
    pub fn provide(&mut self, keys: Vec<ConfiguredKey>) -> bool {
        replace(&mut self.provided, keys)
    }

    /// All of them, for `Trust::configure`: of equal keys, and of two primary ones, the later counts.
    pub fn all(&self) -> Vec<ConfiguredKey> {
        self.provided.iter().chain(&self.configured).cloned().collect()
    }
}

/// Reads a source at once and then after each interval, and hands on what it says whenever that has changed. Ends only
/// by being dropped.
pub async fn refresh(source: KeySource, interval: Duration, mut provide: impl FnMut(Vec<ConfiguredKey>)) {
    let mut last: Option<Vec<ConfiguredKey>> = None;
    loop {
        match read(&source).await {
            Ok(keys) if last.as_ref() != Some(&keys) => {
                log::info!("route.security.provider: {} keys", keys.len());
                provide(keys.clone());
                last = Some(keys);
            }
            Ok(_) => {}
            Err(fault) => log::warn!("route.security.provider: the keys stay as they were: {fault}"),
        }
        Timer::after(interval).await;
    }
}

/// The keys that a source holds now; the error names the document and what is wrong with it.
pub async fn read(source: &KeySource) -> Result<Vec<ConfiguredKey>, String> {
    let documents = source.read().await?;
    read_registry(documents.iter().map(|document| (document.name.as_str(), &document.bytes[..])))
}

fn replace(keys: &mut Vec<ConfiguredKey>, new: Vec<ConfiguredKey>) -> bool {
    let is_new = *keys != new;
    *keys = new;
    is_new
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use smol::channel::unbounded;

    use super::*;
    use crate::core::time::Now;
    use crate::core::trust::{PublicKey, Settings, Signer, Trust};

    fn public(n: u8) -> PublicKey {
        Signer::parse(&format!("{n:02x}").repeat(32), "").unwrap().public()
    }

    fn write(path: &Path, text: &str) {
        let beside = path.with_extension("new");
        fs::write(&beside, text).unwrap();
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o644)).unwrap();
        fs::rename(beside, path).unwrap();
    }

    fn document(keys: &[u8]) -> String {
        let key = |n: &u8| format!("{{\"public_key\": \"{}\"}}", public(*n).to_hex());
        let keys: Vec<String> = keys.iter().map(key).collect();
        format!("{{\"clusters\": {{\"a\": {{\"keys\": [{}]}}}}}}", keys.join(","))
    }

    #[test]
    fn a_source_is_followed_and_a_bad_document_changes_nothing() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("keys.json");
        write(&path, &document(&[1]));
        let source = KeySource::File(path.clone());
        let (sender, provided) = unbounded();
        let following = refresh(source.clone(), Duration::from_millis(1), move |keys| {
            sender.try_send(keys.len()).unwrap();
        });
        let watching = async {
            assert_eq!(provided.recv().await, Ok(1));
            write(&path, "{\"clusters\": ");
            assert!(read(&source).await.unwrap_err().contains("keys.json: no registry"));
            write(&path, &document(&[1, 2]));
            assert_eq!(provided.recv().await, Ok(2), "nothing came in between");
            fs::remove_file(&path).unwrap();
            assert!(read(&source).await.is_err());
            write(&path, &document(&[]));
            assert_eq!(provided.recv().await, Ok(0));
        };
        let hang = async {
            Timer::after(Duration::from_secs(20)).await;
            panic!("the test hangs");
        };
        smol::block_on(smol::future::or(watching, smol::future::or(following, hang)));
    }

    #[test]
    fn the_configuration_has_the_last_word() {
        let now = Now::at(1000.0, 0.0);
        let key = |n: u8, key_id: &str, primary| ConfiguredKey {
            cluster: "a".into(),
            key: public(n),
            key_id: key_id.into(),
            primary,
            expires_at: None,
        };
        let mut keys = RouteKeys::new(vec![key(1, "k", true)]);
        assert!(keys.provide(vec![key(2, "k", false), key(3, "l", true)]));
        assert!(!keys.provide(vec![key(2, "k", false), key(3, "l", true)]));
        let mut trust = Trust::new(Settings::default(), now);
        trust.configure(keys.all(), now);
        assert_eq!(trust.active("a", now), [&public(1), &public(3)]);
        assert!(keys.configure(Vec::new()) && !keys.configure(Vec::new()));
        trust.configure(keys.all(), now);
        assert_eq!(trust.active("a", now), [&public(3), &public(2)]);
    }
}
