//! Answers on their way back: by the record of the request, by its path, or by a way of their own.

use super::*;

impl Fabric {
    pub(super) fn response(
        &mut self,
        link: LinkId,
        peer: &Text,
        message: &Message,
        response: &RpcResponse,
        out: &mut Vec<Action>,
    ) {
        let request_id = response.request_id.to_text();
        let source = message.headers.source_cluster.as_deref().unwrap_or_default();
        let not_asked = || format!("{peer} answers {request_id}, for which it was not asked");
        if let Some(waiting) = self.calls.waiting.get(&request_id) {
            if !self.may_answer(peer, source, (&waiting.hop, &waiting.cluster, &waiting.node)) {
                return refuse(out, Reason::NotEntitled, Some(link), not_asked());
            }
            let outcome = match response.success {
                true => Ok(response.result.to_owned()),
                false => Err(call_error(response, &waiting.command)),
            };
            self.calls.take_waiting(&request_id);
            out.push(Action::CallAnswered { request_id, outcome });
            return;
        }
        let back = match self.calls.passed_key(response) {
            Some(key) => {
                let passed = self.calls.passed.get(&key);
                let entitled =
                    passed.is_some_and(|p| self.may_answer(peer, source, (&p.hop, &p.cluster, &p.node)));
                if !entitled {
                    return refuse(out, Reason::NotEntitled, Some(link), not_asked());
                }
                self.calls.take_passed(&key).map(|p| (p.asked.link, p.asked.peer))
            }
            None => {
                // Of a call that is not known here, its own cluster may tell, and who may speak for that.
                let speaker = self.membership.cluster_of(link).unwrap_or(self.cluster_id());
                if self.is_foreign(speaker) && self.may_come_from(speaker, source).is_err() {
                    return refuse(out, Reason::NotEntitled, Some(link), not_asked());
                }
                self.way_back(response).or_else(|| self.way_round(message, response))
            }
        };
        let Some((first, node)) = back else {
            return refuse(out, Reason::ResultNotUnderstood, Some(link), request_id.to_string());
        };
        let mut next = message.clone();
        if let Err(reason) = self.next_headers(&mut next.headers) {
            return refuse(out, reason, Some(link), format!("the answer to {request_id}"));
        }
        let (cluster, reply_to) = (response.reply_cluster.as_deref(), &*response.reply_to);
        let cluster = cluster.unwrap_or_else(|| &**self.cluster_id()).to_owned();
        // Too large is counted, and nobody is left to be told.
        let _ = self.send_back(first, &node, (&cluster, reply_to), (&next, response), out);
    }

    /// Who was asked answers, or, where the first way back is gone, a node that brings an answer of the cluster that
    /// was asked: one of the same cluster as who was asked, or of one that leads there.
    fn may_answer(&self, peer: &Text, source: &str, (hop, cluster, node): (&Text, &Text, &Text)) -> bool {
        let of = |node: &Text| self.membership.peer(node).map(|p| &p.cluster_id);
        let leads_there = |of_peer: &Text| {
            Some(of_peer) == of(hop) || self.is_foreign(source) && self.may_speak(of_peer, source).is_ok()
        };
        peer == hop || peer == node || (*source == **cluster && of(peer).is_some_and(leads_there))
    }

    /// For an answer that we keep no record of: the node before us on the path of its request.
    fn way_back(&self, response: &RpcResponse) -> Option<(LinkId, Text)> {
        let own = self.node_id();
        let at = response.routing_path.iter().position(|node| **node == **own)?;
        let before = response.routing_path.get(at.checked_sub(1)?)?.to_text();
        Some((self.membership.link_to(&before)?, before))
    }

    /// For an answer whose way back is broken before us: towards the node that asked.
    fn way_round(&mut self, message: &Message, response: &RpcResponse) -> Option<(LinkId, Text)> {
        let own = self.node_id().clone();
        let cluster = response.reply_cluster.as_deref().unwrap_or_else(|| &**self.cluster_id()).to_owned();
        if response.reply_to.is_empty() || self.federation.may_reach(&cluster).is_err() {
            return None;
        }
        let passed = message.headers.routing_path.iter().map(|node| &**node);
        let nodes: Vec<&str> = passed.chain([&*own]).collect();
        let clusters = message.headers.federation_path.iter().map(Str::to_text);
        let clusters: Vec<Text> = clusters.filter(|passed| *passed != *self.cluster_id()).collect();
        let visited = Visited { nodes: &nodes, clusters: &clusters, ..Visited::default() };
        let (node, link) = self.way_to(&cluster, &response.reply_to, visited).ok()?;
        Some((link, node))
    }

    /// Answers a request on the link it came on, in the form of 12.2.
    pub(super) fn respond(
        &mut self,
        asked: &Asked,
        command: &str,
        outcome: Result<&RawValue, &RawValue>,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        if asked.reply_to.is_empty() {
            return;
        }
        let (own, cluster) = (self.node_id().clone(), self.cluster_id().clone());
        let mut response = RpcResponse::new(&asked.request_id, &own, outcome);
        response.reply_to = Str::from(&asked.reply_to);
        response.reply_cluster = asked.reply_cluster.as_ref().map(Str::from);
        response.routing_path = asked.path.iter().chain([&own]).map(Str::from).collect();
        let message = Message {
            message_id: Str::from(&asked.request_id),
            topic: "mpreg.rpc.response".into(),
            message_type: "rpc".into(),
            delivery: "at_least_once".into(),
            payload: None,
            headers: Headers {
                correlation_id: Str::from(&asked.request_id),
                source_cluster: Some(Str::from(&cluster)),
                target_cluster: asked.reply_cluster.as_ref().map(Str::from),
                routing_path: vec![Str::from(&own)],
                federation_path: vec![Str::from(&cluster)],
                hop_budget: Some(self.own.hops_max),
                priority: "normal".into(),
                metadata: empty_object(),
            },
            timestamp: now.wall,
        };
        let reply_cluster = asked.reply_cluster.as_ref().unwrap_or(&cluster);
        let target = (&**reply_cluster, &*asked.reply_to);
        let too_large = self.send_back(asked.link, &asked.peer, target, (&message, &response), out).err();
        if let Some(bytes) = too_large.filter(|_| outcome.is_ok()) {
            let text = format!("an answer of {bytes} bytes does not fit through the link");
            let error = CallError::failed(text).because(Reason::ResultTooLarge);
            let error = error_object(&error, command);
            self.respond(asked, command, Err(&error), now, out);
        }
    }

    /// Sends an answer to the peer that the request came from, on a link that we dialled if there is one: a reference
    /// node sends requests on links that it never reads. Otherwise on the link of the request, or where there is none on
    /// another way to the node that asked. The error is its size in bytes, too large for any.
    fn send_back(
        &mut self,
        first: LinkId,
        peer: &Text,
        (cluster, node): (&str, &str),
        (message, response): (&Message, &RpcResponse),
        out: &mut Vec<Action>,
    ) -> Result<(), usize> {
        let alive = self.membership.speaker(first) == Some(peer);
        let youngest = self.membership.link_to(peer);
        let dialled = youngest.filter(|link| self.membership.is_dialled(*link));
        let links = dialled.into_iter().chain(alive.then_some(first)).chain(youngest);
        let mut links: Vec<LinkId> = links.collect();
        if links.is_empty() {
            let own = self.node_id().clone();
            let visited = Visited { nodes: &[&own, peer], ..Visited::default() };
            links.extend(self.way_to(cluster, node, visited).ok().map(|(_, link)| link));
        }
        if links.is_empty() {
            refuse(out, Reason::LinkLost, Some(first), format!("an answer for {peer}"));
            return Ok(());
        }
        let mut size = 0;
        for link in links {
            let bytes = self.written_for(link, message, Carried::Response(response));
            if self.fits_through(link, &bytes) {
                out.push(Action::Send { link, bytes });
                return Ok(());
            }
            size = bytes.len();
        }
        refuse(out, Reason::ResultTooLarge, Some(first), format!("an answer of {size} bytes"));
        Err(size)
    }

    /// A reference node ends a link that it dialled when more than 1 MiB comes at once (fabric.md 2).
    pub(super) fn fits_through(&self, link: LinkId, bytes: &Bytes) -> bool {
        let kin = || self.membership.speaker(link).is_some_and(|peer| self.is_kin(peer));
        bytes.len() <= DIALLER_BYTES_MAX || self.membership.is_dialled(link) || kin()
    }
}

/// What a reference node takes on a socket that it dialled.
const DIALLER_BYTES_MAX: usize = 1 << 20;
