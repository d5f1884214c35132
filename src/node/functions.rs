//! The functions that this node itself serves, as the data path sees them: an immutable table by name.

use std::collections::BTreeMap;

use crate::core::catalog::Text;
use crate::core::discovery;
use crate::core::error::CallError;
use crate::core::rpc::select::{Candidate, Demands, choose};
use crate::drive::worker::FunctionKey;
use crate::wire::client::Command;

/// How a function of this node runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Local {
    Echo,
    Echos,
    /// One of the discovery functions.
    Discovery,
    /// Asks the nodes on the way (core::fabric::explain).
    Explain,
    Worker(FunctionKey),
}

/// One function at one version.
#[derive(Debug, Clone)]
pub struct LocalFunction {
    pub name: Text,
    pub function_id: Text,
    pub version: semver::Version,
    pub resources: Vec<Text>,
    pub run: Local,
}

/// Everything that this node serves itself.
#[derive(Debug, Default)]
pub struct LocalFunctions {
    by_name: BTreeMap<Text, Vec<LocalFunction>>,
    node_id: Text,
}

impl LocalFunctions {
    pub fn new(node_id: Text, functions: impl IntoIterator<Item = LocalFunction>) -> LocalFunctions {
        let mut by_name: BTreeMap<Text, Vec<LocalFunction>> = BTreeMap::new();
        for function in functions {
            by_name.entry(function.name.clone()).or_default().push(function);
        }
        LocalFunctions { by_name, node_id }
    }

    /// The function of this node that meets the demands; 1001 without one.
    pub fn find(&self, demands: &Demands<'_>, own_cluster: &str) -> Result<Local, CallError> {
        let functions = self.by_name.get(demands.fun).map(Vec::as_slice).unwrap_or_default();
        let candidates = functions.iter().map(|f| Candidate {
            name: &f.name,
            function_id: &f.function_id,
            version: &f.version,
            resources: &f.resources,
            cluster: own_cluster,
            node: &self.node_id,
            load: 0.0,
            local: true,
        });
        let chosen = choose(candidates, demands, own_cluster)?;
        // The candidates were made from these, so the version finds the one that was chosen.
        let found =
            functions.iter().find(|f| f.version == *chosen.version && f.resources == chosen.resources);
        found.map(|f| f.run.clone()).ok_or_else(|| CallError::not_found(demands.fun))
    }

    /// Discovery functions run at the node that is asked, whatever resources a command names (client.md 2.6).
    pub fn is_forced_local(&self, command: &Command<'_>, own_cluster: &str) -> bool {
        stays(command, own_cluster) && discovery::is_builtin(&command.fun)
    }

    /// True for what needs neither a worker nor another node, so that it can be answered in the task that read it.
    pub fn answers_at_once(&self, command: &Command<'_>, own_cluster: &str) -> bool {
        let plain = command.function_id.is_none()
            && command.version_constraint.is_none()
            && command.target_cluster.is_none()
            && command.locs.is_empty();
        if plain && matches!(self.plain(&command.fun), Some(Local::Echo | Local::Echos)) {
            return true;
        }
        // A description may have to be fetched from other nodes.
        command.fun != "rpc_describe" && self.is_forced_local(command, own_cluster)
    }

    /// False for what certainly runs on another node: a function unknown here, or one that is asked of another cluster.
    pub fn may_serve(&self, command: &Command<'_>, own_cluster: &str) -> bool {
        stays(command, own_cluster) && self.by_name.contains_key(command.fun.as_ref())
    }

    /// What runs a command that demands nothing but the name.
    pub fn plain(&self, name: &str) -> Option<&Local> {
        self.by_name.get(name).and_then(|functions| functions.first()).map(|f| &f.run)
    }
}

/// Whether a command may run in the own cluster.
fn stays(command: &Command<'_>, own_cluster: &str) -> bool {
    command.target_cluster.as_deref().is_none_or(|cluster| cluster == own_cluster)
}
