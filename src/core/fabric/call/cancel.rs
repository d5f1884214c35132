//! The news that nobody waits for a call any more.

use super::*;

impl Fabric {
    /// Nobody waits for a call of ours any more.
    pub(in crate::core::fabric) fn cancel_call(
        &mut self,
        request_id: &Text,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let own = self.node_id().clone();
        if let Some(waiting) = self.calls.take_waiting(request_id) {
            self.say_cancelled(waiting.link, request_id, &own, now, out);
        }
    }

    /// A caller of another node has gone: what runs for it is stopped, what was passed on is told so.
    pub(super) fn cancelled(
        &mut self,
        link: LinkId,
        peer: &Text,
        message: &Message,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let read = message.payload.and_then(|raw| serde_json::from_str::<Cancel>(raw.get()).ok());
        let Some(Cancel { request_id, reply_to }) = read else {
            return refuse(out, Reason::BadRequest, Some(link), "a cancellation without request_id");
        };
        let (request_id, reply_to) = (request_id.to_text(), reply_to.to_text());
        let of_peer = |asked: &Asked| {
            asked.peer == *peer && asked.request_id == request_id && asked.reply_to == reply_to
        };
        let running = self.calls.running.iter().find(|(_, r)| of_peer(&r.asked)).map(|(id, _)| *id);
        if let Some(execution) = running {
            self.calls.take_running(execution);
            out.push(Action::CancelExecution { execution });
        }
        let key = (request_id, reply_to);
        if self.calls.passed.get(&key).is_some_and(|p| p.asked.peer == *peer)
            && let Some(passed) = self.calls.take_passed(&key)
        {
            self.say_cancelled(passed.link, &key.0, &key.1, now, out);
        }
    }

    /// Nodes that do not know the topic ignore it (fabric.md 4.12).
    pub(super) fn say_cancelled(
        &mut self,
        link: LinkId,
        request_id: &Text,
        reply_to: &Text,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let (own, cluster) = (self.node_id().clone(), self.cluster_id().clone());
        let cancel = Cancel { request_id: Str::from(request_id), reply_to: Str::from(reply_to) };
        let Ok(payload) = to_raw_value(&cancel) else { return };
        let id = self.chance.uuid();
        let bytes = Message {
            message_id: id.as_str().into(),
            topic: CANCEL_TOPIC.into(),
            message_type: "control".into(),
            delivery: "fire_and_forget".into(),
            payload: Some(&payload),
            headers: Headers {
                correlation_id: Str::from(request_id),
                source_cluster: Some(Str::from(&cluster)),
                target_cluster: None,
                routing_path: vec![Str::from(&own)],
                federation_path: Vec::new(),
                hop_budget: Some(self.own.hops_max),
                priority: "normal".into(),
                metadata: empty_object(),
            },
            timestamp: now.wall,
        }
        .encode();
        out.push(Action::Send { link, bytes });
    }
}

/// A caller has gone.
#[derive(Serialize, Deserialize)]
struct Cancel<'a> {
    #[serde(borrow)]
    request_id: Str<'a>,
    #[serde(borrow, default)]
    reply_to: Str<'a>,
}

/// Control messages of this topic end a call (no other program has it).
pub(super) const CANCEL_TOPIC: &str = "mpreg.rpc.cancel";
