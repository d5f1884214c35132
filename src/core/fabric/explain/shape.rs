//! The questions and their answers, as they travel between nodes and to whoever asks.

use serde::{Deserialize, Serialize};

use super::*;

/// What somebody wants to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    pub about: About,
    /// Absent where a client asks: the way begins here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passage: Option<Passage>,
    /// How many nodes may be asked, this one included.
    #[serde(default = "nodes_max")]
    pub nodes_max: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    Call(Sought),
    Topic {
        topic: Text,
    },
    Route {
        cluster: Text,
        #[serde(default)]
        avoid: Vec<Text>,
    },
}

/// A call that is not made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sought {
    pub fun: Text,
    #[serde(default)]
    pub function_id: Option<Text>,
    #[serde(default)]
    pub version_constraint: Option<Text>,
    #[serde(default)]
    pub locs: Vec<Text>,
    #[serde(default)]
    pub target_cluster: Option<Text>,
}

/// What a message has behind it when it comes to a node, as its headers would say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Passage {
    /// Nodes that it has passed; the last one asks.
    pub nodes: Vec<Text>,
    /// Clusters that it has passed.
    #[serde(default)]
    pub clusters: Vec<Text>,
    /// The cluster of the client that began.
    #[serde(default)]
    pub caller_cluster: Text,
    #[serde(default)]
    pub hop_budget: Option<i64>,
    #[serde(default)]
    pub remaining_hops: Option<i64>,
    /// Of a call: the node that is to run it.
    #[serde(default)]
    pub target_cluster: Option<Text>,
    #[serde(default)]
    pub target_node: Option<Text>,
    /// Of a publication: who has a copy already, and for whom this node is to care.
    #[serde(default)]
    pub sent_to: Vec<Text>,
    #[serde(default)]
    pub relay_nodes: Vec<Text>,
    #[serde(default)]
    pub relay_clusters: Vec<Text>,
}

/// What one node says.
#[derive(Debug, Serialize)]
pub struct Step {
    pub node: Text,
    pub cluster: Text,
    /// Wall clock.
    pub evaluated_at: f64,
    /// Of a call: all endpoints of that name, the chosen one first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<Vec<Endpoint>>,
    /// Of a publication: the nodes that listen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscribers: Option<Vec<Subscriber>>,
    /// Candidates or subscribers that are not shown.
    pub left_off: usize,
    /// Of a cluster: what this node knows of the ways to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Box<Trace>>,
    pub verdict: Verdict,
    pub next: Vec<Next>,
}

/// What becomes of the message at a node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// `runs_here`, `delivered_here`, `arrived`, `forwarded`, else why it ends.
    pub word: &'static str,
    /// False where it ends without having come where it was to go.
    pub found: bool,
    pub text: String,
}

/// An endpoint of a function.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Endpoint {
    pub cluster: Text,
    pub node: Text,
    pub function_id: Text,
    pub version: String,
    pub resources: Vec<Text>,
    pub load: f64,
    #[serde(flatten)]
    pub fact: Fact,
    pub chosen: bool,
    /// The first thing that speaks against it.
    pub rejected_for: Option<&'static str>,
    pub text: String,
}

/// Where an entry of the catalog comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fact {
    /// Since its holder wrote it.
    pub age_seconds: f64,
    pub expires_in_seconds: f64,
    /// The peer that told of it: its holder, where there is a link. Absent for entries of this node.
    pub told_by: Option<Text>,
    /// Entries are not signed; this is the signature of the best route to their cluster. Absent for the own one.
    pub route_signature: Option<&'static str>,
}

/// A node that listens to a topic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Subscriber {
    pub cluster: Text,
    pub node: Text,
    /// Those of its patterns that match.
    pub patterns: Vec<Text>,
    #[serde(flatten)]
    pub fact: Fact,
    pub served: bool,
    pub text: String,
}

/// Where the message goes on.
#[derive(Debug, Serialize)]
pub struct Next {
    pub node: Text,
    pub cluster: Option<Text>,
    /// `link`, `own_cluster`, `link_state`, `route` or `neighbour`.
    pub by: &'static str,
    /// The peer that told of the target, where that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told_by: Option<Text>,
    /// Of link state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ways: Option<link_state::NextHop>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<TracedRoute>,
    /// Subscribers and clusters that its copy is for besides itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub relays_to: Vec<Text>,
    /// What that node is to be asked; absent where its answer is known.
    #[serde(skip)]
    pub question: Option<Question>,
}

impl Question {
    pub fn new(about: About) -> Question {
        Question { about, passage: None, nodes_max: nodes_max() }
    }

    /// Refuses what no node asks.
    pub fn check(&self) -> Result<(), CallError> {
        let lists = self.passage.iter().flat_map(|p| {
            [&p.nodes, &p.clusters, &p.sent_to, &p.relay_nodes, &p.relay_clusters].map(Vec::len)
        });
        let more = match &self.about {
            About::Call(sought) => sought.locs.len(),
            About::Topic { .. } => 0,
            About::Route { avoid, .. } => avoid.len(),
        };
        match lists.chain([more]).find(|length| *length > LIST_MAX) {
            Some(length) => {
                let text = format!("ValueError: a list of {length} names; at most {LIST_MAX} are taken");
                Err(CallError::failed(text).because(Reason::BadRequest))
            }
            None => Ok(()),
        }
    }
}

impl Step {
    /// Whether a subscriber of this node gets the publication.
    pub fn delivers_here(&self) -> bool {
        self.subscribers.iter().flatten().any(|s| s.node == self.node)
    }

    pub(super) fn with_candidates(self, (candidates, left_off): (Vec<Endpoint>, usize)) -> Step {
        Step { candidates: Some(candidates), left_off, ..self }
    }

    pub(super) fn with_next(self, next: Vec<Next>) -> Step {
        Step { next, ..self }
    }
}

impl Verdict {
    pub(super) fn reached(word: &'static str, text: impl Into<String>) -> Verdict {
        Verdict { word, found: true, text: text.into() }
    }

    pub(super) fn ended(word: &'static str, text: impl Into<String>) -> Verdict {
        Verdict { word, found: false, text: text.into() }
    }

    pub(super) fn forwarded(node: &str) -> Verdict {
        Verdict::reached("forwarded", format!("goes on to {node}"))
    }

    pub(super) fn because(reason: Reason) -> Verdict {
        let meaning = reason.meaning();
        Verdict::ended(reason.name(), format!("{} {}", meaning.meaning, meaning.remedy))
    }

    /// The words of fabric.md 13.2, with what can be done about it.
    pub(super) fn no_way(no_way: NoWay) -> Verdict {
        Verdict { word: no_way.word(), ..Verdict::because(no_way.reason()) }
    }
}

fn nodes_max() -> u32 {
    NODES_MAX
}

/// Nodes that are asked for one explanation.
pub(super) const NODES_MAX: u32 = 64;
/// Names in one list of a question.
const LIST_MAX: usize = 10_000;
