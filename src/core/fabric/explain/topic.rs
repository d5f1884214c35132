//! To whom a publication goes, on whose copy, and to whom not.

use super::*;

impl Fabric {
    /// A publication of a client of this node, or one that another node would send here.
    pub fn explain_topic(&mut self, topic: &Text, passage: Option<&Passage>, now: Now) -> Step {
        let own = self.node_id().clone();
        let cluster = self.cluster_id().clone();
        let begins = Passage { hop_budget: Some(self.own.hops_max), ..Passage::default() };
        let from = passage.and_then(|p| p.nodes.last()).cloned();
        let mut onward = passage.cloned().unwrap_or(begins);
        let budget = onward.hop_budget.unwrap_or(self.own.hops_max).min(self.own.hops_max);
        let speaker = from.as_deref().and_then(|peer| self.membership.peer(peer));
        let speaker = speaker.map_or(&cluster, |peer| &peer.cluster_id);
        if let Err(reason) = self.federation.may_publish(speaker, topic) {
            return self.step(now, Verdict::because(reason));
        }
        let refusal = passage.and_then(|p| self.header_refusal(p, budget));
        onward.hop_budget = Some(budget);
        onward.nodes.push(own.clone());
        if onward.clusters.last() != Some(&cluster) {
            onward.clusters.push(cluster.clone());
        }
        let audience = self.audience(topic);
        let (nodes, clusters) = (onward.relay_nodes.clone(), onward.relay_clusters.clone());
        let relay = Relay {
            nodes: nodes.iter().map(Str::from).collect(),
            clusters: clusters.iter().map(Str::from).collect(),
        };
        let targets = self.targets(&audience, passage.map(|_| &relay), &onward.clusters);
        let passed: Vec<&str> = onward.nodes.iter().map(|n| &**n).collect();
        let mut done = passed.clone();
        done.extend(onward.sent_to.iter().map(|n| &**n));
        let from_own_cluster = from.is_some_and(|peer| self.is_from_own_cluster(&peer));
        let visited = Visited { nodes: &passed, clusters: &onward.clusters, from_own_cluster };
        let mut notes: BTreeMap<Text, Because> = BTreeMap::new();
        let way = |fabric: &mut Fabric, cluster: &str, node: &str, visited: Visited<'_>| {
            let mut because = Because::default();
            let hop = fabric.way_without_turn(cluster, node, visited, &mut |by| because.note(by));
            if let Ok((node, _)) = &hop {
                notes.insert(node.clone(), because);
            }
            hop
        };
        let goes_on = self.own.routing && refusal.is_none();
        let copies = if goes_on { self.copies(&targets, &done, visited, way) } else { Copies::default() };
        let mut subscribers = self.subscribers(topic, now);
        for subscriber in &mut subscribers {
            let key = (&subscriber.cluster, &subscriber.node);
            (subscriber.served, subscriber.text) = if *key.1 == own {
                (true, "delivered by this node".to_owned())
            } else if done.contains(&&**key.1) {
                (true, "has its copy already".to_owned())
            } else if !targets.iter().any(|(c, n)| (c, n) == key) {
                let foreign = self.is_foreign(key.0) && !self.is_bridging();
                let text = if foreign { "this cluster talks to no other" } else { "others care for it" };
                (!foreign, text.to_owned())
            } else if let Some(verdict) = &refusal {
                (false, verdict.text.clone())
            } else if !self.own.routing {
                (false, Verdict::because(Reason::RoutingOff).text)
            } else if let Some((.., no_way)) =
                copies.lost.iter().find(|(c, n, _)| *c == key.0 && (*n == key.1 || self.is_foreign(c)))
            {
                (false, Verdict::no_way(*no_way).text)
            } else {
                (true, served_by(&copies, key))
            };
        }
        let reached = subscribers.iter().any(|s| s.served);
        let here = subscribers.iter().any(|s| s.node == own);
        let hops: Vec<Hop> = copies.hops.keys().cloned().collect();
        let sent_to: Vec<Text> =
            onward.sent_to.iter().chain(hops.iter().map(|(node, _)| node)).cloned().collect();
        let mut next = Vec::new();
        for (hop, relay) in &copies.hops {
            let because = notes.remove(&hop.0).unwrap_or(Because { by: "link", ..Because::default() });
            let passage = Passage {
                sent_to: sent_to.clone(),
                relay_nodes: relay.nodes.iter().map(Str::to_text).collect(),
                relay_clusters: relay.clusters.iter().map(Str::to_text).collect(),
                ..onward.clone()
            };
            let relays_to: Vec<Text> =
                passage.relay_nodes.iter().chain(&passage.relay_clusters).cloned().collect();
            // Who cares for nobody only delivers.
            let question = (!relays_to.is_empty()).then(|| Question {
                passage: Some(passage),
                ..Question::new(About::Topic { topic: topic.clone() })
            });
            let told = relay.nodes.first().map(|n| n.to_text()).unwrap_or_else(|| hop.0.clone());
            let next_hop = self.next_step(hop.clone(), because, (&cluster, &told), question, now);
            next.push(Next { relays_to, ..next_hop });
        }
        let verdict = match (refusal, here, next.len()) {
            (Some(refusal), false, _) => refusal,
            (_, true, 0) => Verdict::reached("delivered_here", "only subscribers of this node listen"),
            (_, false, 0) if subscribers.is_empty() => {
                Verdict::ended("no_subscribers", "nobody that this node knows of listens to the topic")
            }
            (_, false, 0) => Verdict {
                word: if passage.is_some() { "goes_no_further" } else { "no_way" },
                found: passage.is_some() && reached,
                text: "no copy leaves this node; see the subscribers".to_owned(),
            },
            (_, _, copies) => Verdict::reached("forwarded", format!("copies to {copies} nodes")),
        };
        let left_off = subscribers.len().saturating_sub(SHOWN_MAX);
        // What fails is what is asked for.
        subscribers.sort_by_key(|s| s.served);
        subscribers.truncate(SHOWN_MAX);
        let step = self.step(now, verdict).with_next(next);
        Step { subscribers: Some(subscribers), left_off, ..step }
    }

    fn subscribers(&self, topic: &str, now: Now) -> Vec<Subscriber> {
        let mut by_node: BTreeMap<(&Text, &Text), Subscriber> = BTreeMap::new();
        for entry in self.catalog.topics() {
            let matching = entry.patterns.iter().filter(|p| Pattern::parse(p).matches(topic));
            let patterns: Vec<Text> = matching.cloned().collect();
            if patterns.is_empty() {
                continue;
            }
            let key = (&entry.cluster_id, &entry.node_id);
            let subscriber = by_node.entry(key).or_insert_with(|| Subscriber {
                cluster: entry.cluster_id.clone(),
                node: entry.node_id.clone(),
                patterns: Vec::new(),
                fact: self.fact(&**entry, now),
                served: false,
                text: String::new(),
            });
            subscriber.patterns.extend(patterns);
            subscriber.patterns.sort();
            subscriber.patterns.dedup();
        }
        by_node.into_values().collect()
    }
}

/// Whose copy reaches a subscriber.
fn served_by(copies: &Copies, (cluster, node): (&Text, &Text)) -> String {
    let relays = |relay: &Relay| {
        relay.nodes.iter().any(|n| **n == **node) || relay.clusters.iter().any(|c| **c == **cluster)
    };
    let direct = copies.hops.keys().any(|(hop, _)| hop == node);
    match copies.hops.iter().find(|(_, relay)| relays(relay)).filter(|_| !direct) {
        Some(((hop, _), _)) => format!("by way of {hop}"),
        None => "its own copy".to_owned(),
    }
}
