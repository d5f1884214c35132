//! Answers `mpreg.explain`: what this node would do, and what the nodes after it say, asked one after the other along
//! the way that the message would take.
//!
//! A neighbour that does not answer (an older program, a function list that leaves the question out) ends the
//! explanation there with the reason; what this node decided stands.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::hub::{Hub, lock};
use crate::core::catalog::Delta;
use crate::core::discovery::Viewer;
use crate::core::error::{CallError, NOT_FOUND, TIMED_OUT};
use crate::core::fabric::explain::{About, FUNCTION, Next, Question, Step};
use crate::core::reason::Reason;
use crate::core::rpc::select::Demands;
use crate::wire::json::Json;

/// Takes one question, positional.
pub async fn answer(
    hub: &Arc<Hub>,
    args: &RawValue,
    viewer: &Viewer,
    time: Duration,
) -> Result<Json, CallError> {
    let read: Result<(Question,), _> = serde_json::from_str(args.get());
    let (question,) = read
        .map_err(|error| CallError::failed(format!("TypeError: {FUNCTION}() takes one question: {error}")))?;
    let foreign = *viewer.cluster_id != *hub.cluster_id();
    if foreign && question.passage.is_none() {
        let text = "another cluster asks only for what it would send here";
        return Err(CallError::failed(text).because(Reason::NotEntitled));
    }
    let step = {
        let mut control = lock(&hub.control);
        let mut step = control.fabric.explain(&question, hub.clock.now())?;
        control.hide(&question.about, viewer, &mut step);
        if foreign {
            // Which routes there are besides the one that is taken is told by announcements, as policy allows.
            step.trace = None;
        }
        step
    };
    // Who asks gives up later than who is asked, so that the last answer is not lost with the time.
    let time = time.mul_f64(SHARE_OF_TIME);
    let asking = step.next.iter().map(|next| ask(hub, next, time));
    let answers = futures_util::future::join_all(asking).await;
    let mut shown = serde_json::to_value(&step).map_err(|error| CallError::failed(error.to_string()))?;
    let mut found = step.verdict.found;
    let mut told = answers.iter().flatten();
    if !answers.is_empty() && answers.iter().all(Option::is_some) && !step.delivers_here() {
        found = told.any(|answer| answer.get("found").is_none_or(|f| f == true));
    }
    if let Some(next) = shown.get_mut("next").and_then(Value::as_array_mut) {
        for (next, answer) in next.iter_mut().zip(answers) {
            if let (Some(members), Some(answer)) = (next.as_object_mut(), answer) {
                members.insert("answer".to_owned(), answer);
            }
        }
    }
    if let Some(members) = shown.as_object_mut() {
        members.insert("found".to_owned(), found.into());
    }
    Json::from_value(&shown).ok_or_else(|| CallError::failed("the answer cannot be written as JSON"))
}

/// What the next node says; `None` where there is nothing to ask it.
fn ask<'a>(
    hub: &'a Arc<Hub>,
    next: &'a Next,
    time: Duration,
) -> Pin<Box<dyn Future<Output = Option<Value>> + Send + 'a>> {
    Box::pin(async move {
        let question = next.question.as_ref()?;
        let unanswered = |word: &str, text: String| Some(json!({ "unanswered": word, "text": text }));
        if question.nodes_max == 0 {
            return unanswered("nodes_limit", "enough nodes were asked".to_owned());
        }
        let Some(cluster) = &next.cluster else {
            return unanswered("unknown_node", format!("{} has not said which cluster it is of", next.node));
        };
        let Ok(args) = to_raw_value(&[question]) else {
            return unanswered("call_failed", "the question cannot be written".to_owned());
        };
        let demands = Demands { fun: FUNCTION, ..Demands::default() };
        let deadline = hub.clock.now().mono + time;
        let kwargs = crate::wire::fabric::empty_object();
        let outcome = hub.call_node(cluster, &next.node, &demands, &args, kwargs, deadline).await;
        match outcome.map(|json| serde_json::from_slice(json.as_bytes())) {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => unanswered("unreadable", format!("its answer cannot be read: {error}")),
            Err(error) if error.code == NOT_FOUND => {
                unanswered("not_supported", "its program does not explain; it would be sent there".to_owned())
            }
            Err(error) if error.code == TIMED_OUT => {
                unanswered("deadline_passed", "it did not answer in time".to_owned())
            }
            Err(error) => {
                let text = error.details.as_ref().and_then(Value::as_str).unwrap_or(&error.message);
                let word = error.reason.map_or("call_failed", |reason| reason.name());
                unanswered(word, text.to_owned())
            }
        }
    })
}

impl super::control::Control {
    /// Takes out what policy does not show to whoever asks.
    fn hide(&self, about: &About, viewer: &Viewer, step: &mut Step) {
        let catalog = self.fabric.catalog();
        let hidden = match about {
            About::Call(sought) => {
                let functions = catalog.functions_named(&sought.fun).cloned().collect();
                let delta = Delta { functions, ..Delta::default() };
                let shown = self.discovery.visible(&delta, &self.discovery.unclaimed(viewer)).functions;
                let candidates = step.candidates.iter_mut();
                candidates
                    .map(|all| {
                        let before = all.len();
                        all.retain(|c| {
                            shown.iter().any(|f| f.node_id == c.node && f.cluster_id == c.cluster)
                        });
                        before - all.len()
                    })
                    .sum()
            }
            About::Topic { .. } => {
                let topics = catalog.topics().cloned().collect();
                let delta = Delta { topics, ..Delta::default() };
                let shown = self.discovery.visible(&delta, &self.discovery.unclaimed(viewer)).topics;
                let subscribers = step.subscribers.iter_mut();
                subscribers
                    .map(|all| {
                        let before = all.len();
                        all.retain(|s| {
                            shown.iter().any(|t| t.node_id == s.node && t.cluster_id == s.cluster)
                        });
                        before - all.len()
                    })
                    .sum()
            }
            About::Route { .. } => 0,
        };
        step.left_off += hidden;
    }
}

/// Of the time that a node has, what it gives to the next.
const SHARE_OF_TIME: f64 = 0.8;
