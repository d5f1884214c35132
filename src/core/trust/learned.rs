//! The keys that other clusters announced, over a restart (fabric.md 8, 16).
//!
//! Only proven keys are kept, and with them the configured ones that the proof began with. They come back where one of
//! those is still configured; a key for which nobody vouches any more is not believed because it is on a disk. What was
//! announced before is not taken again, as if there had been no restart.

use serde::{Deserialize, Serialize};

use super::*;

/// Of one cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearnedKeys {
    pub cluster_id: Text,
    pub keys: Vec<KeyRecord>,
    pub primary_key_id: Option<Text>,
    /// When the last announcement that counted was made.
    pub announced_at: Option<f64>,
    /// Configured keys of the cluster, in hexadecimal digits: one of them vouches for the others.
    pub roots: Vec<Text>,
}

impl Trust {
    /// What is worth keeping: the proven keys that are active, of each cluster that announced any.
    pub fn learned(&self, now: Now) -> Vec<LearnedKeys> {
        let of_cluster = |(cluster, keys): (&Text, &Keys)| {
            let is_learned = |k: &&Known| k.origin == Origin::Learned && k.is_active(now);
            let record = |(id, known): (&Text, &Known)| {
                is_learned(&known).then(|| KeyRecord {
                    key_id: id.clone(),
                    public_key: known.key.to_hex(),
                    added_at: known.added_at,
                    expires_at: known.expires_at,
                })
            };
            let learned: Vec<KeyRecord> = keys.by_id.iter().filter_map(record).collect();
            let primary = keys.primary.clone().filter(|id| learned.iter().any(|record| record.key_id == *id));
            (!learned.is_empty()).then(|| LearnedKeys {
                cluster_id: cluster.clone(),
                keys: learned,
                primary_key_id: primary,
                announced_at: keys.announced_at,
                roots: keys.configured().map(PublicKey::to_hex).collect(),
            })
        };
        self.clusters.iter().filter_map(of_cluster).collect()
    }

    /// Takes up what was kept, behind the configuration of now. Returns the clusters whose keys are not believed.
    pub fn restore(&mut self, kept: Vec<LearnedKeys>, now: Now) -> Vec<(Text, Reason)> {
        let mut refused = Vec::new();
        for kept in kept {
            if let Err(reason) = self.restore_cluster(&kept, now) {
                refused.push((kept.cluster_id, reason));
            }
        }
        refused
    }

    fn restore_cluster(&mut self, kept: &LearnedKeys, now: Now) -> Result<(), Reason> {
        let keys = self.clusters.get_mut(&kept.cluster_id).ok_or(Reason::RouteKeyUnknown)?;
        let is_vouched = keys.configured().any(|key| kept.roots.contains(&key.to_hex()));
        if kept.cluster_id == self.settings.cluster_id || !is_vouched {
            return Err(Reason::RouteKeyUnknown);
        }
        let announced = RouteKeyAnnouncement {
            cluster_id: kept.cluster_id.clone(),
            keys: kept.keys.clone(),
            primary_key_id: kept.primary_key_id.clone(),
            advertised_at: kept.announced_at.unwrap_or(0.0),
            ttl_seconds: 0.0,
            seal: Seal::default(),
        };
        keys.learn(&announced, Origin::Learned, now)?;
        keys.announced_at = kept.announced_at;
        Ok(())
    }

    /// Own announcements go on after `date`, of a former life of this node.
    pub fn resume(&mut self, date: f64) {
        self.dated = self.dated.max(date);
    }

    /// The date of the last announcement of own keys.
    pub fn last_date(&self) -> f64 {
        self.dated
    }
}

impl Keys {
    fn configured(&self) -> impl Iterator<Item = &PublicKey> {
        self.by_id.values().filter(|k| k.origin == Origin::Configured).map(|k| &k.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: f64) -> Now {
        Now { mono: std::time::Duration::from_secs_f64(wall), wall }
    }

    fn signer(digits: &str) -> Signer {
        Signer::parse(&digits.repeat(32), "").unwrap()
    }

    fn trust(roots: &[&str]) -> Trust {
        let key = |root: &&str| ConfiguredKey {
            cluster: "near".into(),
            key: signer(root).public(),
            key_id: "".into(),
            primary: false,
            expires_at: None,
        };
        let keys = roots.iter().map(key).collect();
        let settings =
            Settings { cluster_id: "own".into(), require_signatures: true, keys, ..Settings::default() };
        Trust::new(settings, at(0.0))
    }

    /// A neighbour that has changed its key once, and what it announced.
    fn rotated() -> (Trust, RouteKeyAnnouncement) {
        let settings = Settings {
            cluster_id: "near".into(),
            signer: Some(signer("11")),
            key_ttl_seconds: 120.0,
            rotation_overlap_seconds: 60.0,
            ..Settings::default()
        };
        let mut near = Trust::new(settings, at(0.0));
        near.sign_with(signer("22"), at(1.0));
        let announced = near.own_keys(at(2.0)).unwrap();
        (near, announced)
    }

    #[test]
    fn a_learned_key_counts_after_a_restart_while_its_root_is_configured() {
        let (mut near, announced) = rotated();
        let mut before = trust(&["11"]);
        before.keys_announced(&"near".into(), &announced, at(2.0)).unwrap();
        let kept = before.learned(at(3.0));
        let written = serde_json::to_vec(&kept).unwrap();
        let kept: Vec<LearnedKeys> = serde_json::from_slice(&written).unwrap();
        assert_eq!(kept.len(), 1);

        let new = signer("22").seal(b"words");
        let judge = |trust: &mut Trust, now| trust.judge("near", b"words", &new, at(now));
        let mut after = trust(&["11"]);
        assert_eq!(judge(&mut after, 5.0), Err(Reason::RouteForged));
        assert_eq!(after.restore(kept.clone(), at(5.0)), []);
        assert_eq!(judge(&mut after, 5.0), Ok(Standing::Verified));
        assert_eq!(after.learned(at(5.0)), kept);
        // No announcement counts twice, and the next one does.
        let near_id: Text = "near".into();
        assert_eq!(after.keys_announced(&near_id, &announced, at(6.0)), Err(Reason::RouteReplayed));
        let next = near.own_keys(at(7.0)).unwrap();
        assert!(after.keys_announced(&near_id, &next, at(7.0)).is_ok());

        for roots in [&[][..], &["33"]] {
            let mut other = trust(roots);
            assert_eq!(other.restore(kept.clone(), at(5.0)), [("near".into(), Reason::RouteKeyUnknown)]);
            assert!(judge(&mut other, 5.0).is_err() && other.learned(at(5.0)).is_empty());
        }
    }

    #[test]
    fn claims_and_run_out_keys_are_not_kept_and_own_keys_never_restored() {
        let (_, announced) = rotated();
        let settings = Settings { cluster_id: "own".into(), allow_unsigned: true, ..Settings::default() };
        let mut lax = Trust::new(settings, at(0.0));
        lax.keys_announced(&"near".into(), &announced, at(2.0)).unwrap();
        assert!(lax.learned(at(2.0)).is_empty());

        let mut before = trust(&["11"]);
        let mut short = announced.clone();
        short.keys.iter_mut().for_each(|key| key.expires_at = Some(50.0));
        short.seal = signer("11").seal(&short.canonical());
        before.keys_announced(&"near".into(), &short, at(2.0)).unwrap();
        let kept = before.learned(at(3.0));
        assert_eq!(kept.len(), 1);
        assert!(before.learned(at(60.0)).is_empty());
        let mut after = trust(&["11"]);
        after.restore(kept.clone(), at(60.0));
        assert!(after.learned(at(60.0)).is_empty());
        let own = LearnedKeys { cluster_id: "own".into(), ..kept[0].clone() };
        assert_eq!(after.restore(vec![own], at(3.0)), [("own".into(), Reason::RouteKeyUnknown)]);
    }

    #[test]
    fn announcements_go_on_after_those_of_before_where_the_clock_was_set_back() {
        let (mut near, _) = rotated();
        near.resume(90.0);
        let first = near.own_keys(at(80.0)).unwrap().advertised_at;
        let second = near.own_keys(at(80.0)).unwrap().advertised_at;
        assert!(first > 90.0 && second > first && second < 90.1 && near.last_date() == second);
        assert_eq!(near.own_keys(at(95.0)).unwrap().advertised_at, 95.0);
    }
}
