//! How two kin make one catalog of two: versions are compared, then what differs is sent, and nothing else.
//!
//! Who believes a node dead that another holds for alive says so; the doubt goes on to that node, which contradicts if it
//! lives. Nothing is taken for dead here on the word of others.

use super::super::way::Visited;
use super::*;

impl Fabric {
    pub(super) fn exchange(
        &mut self,
        link: LinkId,
        peer: &Text,
        told: Exchange,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        if told.prune {
            self.kin.quiet.insert(peer.clone());
        }
        if told.graft {
            self.kin.quiet.remove(peer);
        }
        if told.digest.is_some_and(|digest| digest != self.digest()) {
            self.compare_with(peer, out);
        }
        if !told.states.is_empty() {
            self.take_states(link, peer, told.states, told.delta.0, now, out);
        }
        if let Some(versions) = told.versions {
            self.compare(peer, link, versions, now, out);
        }
        if !told.offers.is_empty() {
            let pull = self.news_among(&told.offers, now);
            if !pull.is_empty() {
                self.exchange_with(peer, Exchange { pull, ..Exchange::default() }, out);
            }
        }
        if !told.pull.is_empty() {
            self.send_states(peer, told.pull, out);
        }
        if !told.doubts.is_empty() {
            self.doubted(peer, told.doubts, now, out);
        }
    }

    fn take_states(
        &mut self,
        link: LinkId,
        peer: &Text,
        states: VersionList,
        mut delta: Delta,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let (mut news, mut doubts) = (VersionList::new(), VersionList::new());
        for (node, version) in states {
            if !self.in_time(version, peer, link, now, out) {
                continue;
            }
            match self.kin.roster.judge(&node, version) {
                Standing::Own => self.outdo(version, now, out),
                Standing::Known => {}
                Standing::Dead => {
                    refuse(out, Reason::EntryStale, Some(link), format!("{node} was found dead"));
                    let death = self.kin.roster.death(&node).unwrap_or(version);
                    doubts.insert(node, death);
                }
                Standing::Newer(_) => drop(news.insert(node, version)),
            }
        }
        if !doubts.is_empty() {
            self.exchange_with(peer, Exchange { doubts, ..Exchange::default() }, out);
        }
        if news.is_empty() {
            return;
        }
        let nodes: BTreeSet<Text> = news.keys().cloned().collect();
        // What is here already, or doubted, was sent along and is not meant.
        delta.screen(|claim| (!nodes.contains(claim.node_id)).then_some(Reason::EntryStale));
        self.screen_kin(&nodes, &mut delta, link, out);
        self.learn(news.clone(), true, &delta, peer, now, out);
        match news.into_iter().next() {
            // A node that has come introduces itself; the others hear of it at once.
            Some((node, to)) if nodes.len() == 1 && node == *peer => {
                let news = News { node, from: 0, to, delta: Compact(delta), direct: false, left: false };
                self.push(news, Some(peer), out);
            }
            _ => {
                let soon = now.mono + self.kin.swim.period() / 10;
                self.kin.compare_at = Some(self.kin.compare_at.map_or(soon, |at| at.min(soon)));
            }
        }
    }

    pub(super) fn compare_with(&mut self, peer: &Text, out: &mut Vec<Action>) {
        let (sums, others) = (self.kin.roster.sums().to_vec(), self.digest().others);
        let versions = Some(Versions { sums, others_digest: Some(others), ..Versions::default() });
        self.exchange_with(peer, Exchange { versions, ..Exchange::default() }, out);
    }

    fn compare(&mut self, peer: &Text, link: LinkId, theirs: Versions, now: Now, out: &mut Vec<Action>) {
        if theirs.others {
            self.tell_of_others(peer, link, now, out);
        }
        if theirs.listed.is_empty() {
            let listed = self.kin.roster.differing(&theirs.sums);
            let others = theirs.others_digest.is_some_and(|theirs| theirs != self.digest().others);
            if others {
                self.tell_of_others(peer, link, now, out);
            }
            if others || !listed.is_empty() {
                let have = self.kin.roster.listed(&listed);
                let sums = self.kin.roster.sums().to_vec();
                let versions = Some(Versions { sums, listed, have, others, others_digest: None });
                self.exchange_with(peer, Exchange { versions, ..Exchange::default() }, out);
            }
            return;
        }
        let mut doubts = VersionList::new();
        for (node, version) in &theirs.have {
            match self.kin.roster.judge(node, *version) {
                Standing::Own if *version > self.kin.roster.own_version() => self.outdo(*version, now, out),
                Standing::Dead => {
                    let death = self.kin.roster.death(node).unwrap_or(*version);
                    doubts.insert(node.clone(), death);
                }
                Standing::Own | Standing::Known | Standing::Newer(_) => {}
            }
        }
        let pull = self.news_among(&theirs.have, now);
        let mine = self.kin.roster.listed(&theirs.listed);
        let lacking = mine.into_iter().filter(|(node, version)| {
            theirs.have.get(node).is_none_or(|theirs| theirs < version) && node != peer
        });
        let lacking: VersionList = lacking.collect();
        if !pull.is_empty() || !doubts.is_empty() {
            let graft = !pull.is_empty();
            if graft {
                self.kin.quiet.remove(peer);
            }
            self.exchange_with(peer, Exchange { pull, doubts, graft, ..Exchange::default() }, out);
        }
        match lacking.len() {
            0..=UNASKED_MAX => self.send_states(peer, lacking.into_keys().collect(), out),
            _ => self.exchange_with(peer, Exchange { offers: lacking, ..Exchange::default() }, out),
        }
    }

    /// Those that are news here and not on their way from somebody else: where many join at once, all that are linked
    /// would send the same. What does not come is asked for again after the next comparison.
    fn news_among(&mut self, offered: &VersionList, now: Now) -> Vec<Text> {
        let until = now.mono + self.kin.swim.period() / 4;
        self.kin.pulling.retain(|_, (_, until)| now.mono < *until);
        let is_news = |(node, version): &(&Text, &u64)| {
            let under_way = self.kin.pulling.get(*node).is_some_and(|(asked, _)| asked >= *version);
            !under_way && matches!(self.kin.roster.judge(node, **version), Standing::Newer(_))
        };
        let pull: Vec<(Text, u64)> = offered.iter().filter(is_news).map(|(n, v)| (n.clone(), *v)).collect();
        self.kin.pulling.extend(pull.iter().map(|(node, version)| (node.clone(), (*version, until))));
        pull.into_iter().map(|(node, _)| node).collect()
    }

    /// Sends all that these nodes say.
    pub(super) fn send_states(&mut self, peer: &Text, nodes: Vec<Text>, out: &mut Vec<Action>) {
        let Some(link) = self.membership.link_to(peer) else { return };
        let mut waiting = vec![nodes];
        while let Some(nodes) = waiting.pop() {
            let version = |node: &Text| match *node == *self.node_id() {
                true => Some(self.kin.roster.own_version()),
                false => self.kin.roster.version(node),
            };
            let states: VersionList =
                nodes.into_iter().filter_map(|node| Some((node.clone(), version(&node)?))).collect();
            if states.is_empty() {
                continue;
            }
            let cluster = self.cluster_id().clone();
            let mut delta = self.catalog.excerpt_of(&cluster, states.keys());
            delta.drop_local();
            let delta = Compact(delta);
            let exchange = Exchange { states, delta, ..Exchange::default() };
            let bytes = self.encode_exchange(&exchange);
            if bytes.len() <= self.own.gossip_bytes_max {
                out.push(Action::Send { link, bytes });
                continue;
            }
            let mut all: Vec<Text> = exchange.states.keys().cloned().collect();
            if all.len() > 1 {
                let half = all.split_off(all.len() / 2);
                waiting.extend([half, all]);
            } else if let Some((node, to)) = exchange.states.into_iter().next() {
                let news = News { node, from: 0, to, delta: exchange.delta, direct: false, left: false };
                self.push_over(news, &[link], out);
            }
        }
    }

    /// Tells a peer of the nodes of other programs and clusters, by gossip of the protocol, but not all the time.
    fn tell_of_others(&mut self, peer: &Text, link: LinkId, now: Now, out: &mut Vec<Action>) {
        if self.kin.others_told.get(peer).is_some_and(|until| now.mono < *until) {
            return;
        }
        let pause = Duration::try_from_secs_f64(self.own.catalog_ttl_seconds / 3.0).unwrap_or_default();
        self.kin.others_told.insert(peer.clone(), now.mono + pause);
        self.introduce_others(link, now, out);
    }

    /// Others believe these dead; those that live are told, on the way that leads to them.
    fn doubted(&mut self, peer: &Text, doubts: VersionList, now: Now, out: &mut Vec<Action>) {
        let mut further: BTreeMap<Text, VersionList> = BTreeMap::new();
        for (node, version) in doubts {
            match self.kin.roster.judge(&node, version) {
                Standing::Own => self.accused_by(peer, version, now, out),
                // A version that is not known here is the node's to outdo as well.
                Standing::Known | Standing::Newer(1..) => {
                    if self.kin.roster.version(&node).is_some_and(|known| known > version) {
                        continue;
                    }
                    // Whoever missed the suspicion would hold it for alive for ever.
                    self.ask_others(&node, false, now, out);
                    let visited = Visited { nodes: &[peer], ..Visited::default() };
                    if let Some((hop, _)) = self.hop_within(&node, visited) {
                        further.entry(hop).or_default().insert(node, version);
                    }
                }
                Standing::Dead | Standing::Newer(0) => {}
            }
        }
        for (hop, doubts) in further {
            self.exchange_with(&hop, Exchange { doubts, ..Exchange::default() }, out);
        }
    }
}

/// What more nodes than these say is only sent when it is asked for.
const UNASKED_MAX: usize = 8;
