//! From the commands of a request to levels: which may run side by side, and after which (client.md 2.3).
//!
//! The order within a level is that of the reference, since it is the order of members of `r`. A circle is an error
//! that names its commands. Work and memory grow with the size of the request only.

use std::collections::BTreeMap;

use crate::core::error::CallError;
use crate::core::reason::Reason;
use crate::core::rpc::refs;
use crate::core::rpc::text::{clipped, listed};
use crate::wire::client::Command;

/// The levels of a request, each a list of indices into its commands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan(Shape);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Shape {
    /// One command; by far the most frequent request, and worth no allocation.
    #[default]
    Single,
    Levels(Vec<Vec<usize>>),
}

impl Plan {
    /// Orders commands. Of those with the same name the last counts, at the place of the first.
    pub fn of(commands: &[Command<'_>]) -> Result<Plan, CallError> {
        match commands {
            [] => Err(CallError::failed("cmds is empty: a request needs at least one command")
                .because(Reason::BadRequest)),
            [only] if refs::refers_to(only.args(), &only.name) => Err(circle(&[&only.name])),
            [_] => Ok(Plan(Shape::Single)),
            _ => Graph::of(commands).levels().map(|levels| Plan(Shape::Levels(levels))),
        }
    }

    /// How many levels there are, at least one.
    pub fn levels(&self) -> usize {
        match &self.0 {
            Shape::Single => 1,
            Shape::Levels(levels) => levels.len(),
        }
    }

    /// The commands of a level; none beyond the last.
    pub fn level(&self, index: usize) -> &[usize] {
        match &self.0 {
            Shape::Single if index == 0 => &[0],
            Shape::Single => &[],
            Shape::Levels(levels) => levels.get(index).map_or(&[], Vec::as_slice),
        }
    }
}

/// Who refers to whom. A node is a distinct name, numbered by where the name occurs first.
struct Graph<'c> {
    commands: &'c [Command<'c>],
    nodes: Vec<Node>,
    /// Nodes in the order in which they are mentioned: a command, then what it refers to.
    mentioned: Vec<usize>,
}

#[derive(Default)]
struct Node {
    /// Index of the command that counts.
    command: usize,
    needs: Vec<usize>,
    needed_by: Vec<usize>,
    /// How many of `needs` are not placed yet.
    open: usize,
}

impl<'c> Graph<'c> {
    fn of(commands: &'c [Command<'c>]) -> Graph<'c> {
        let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
        let mut nodes: Vec<Node> = Vec::with_capacity(commands.len());
        for (command, Command { name, .. }) in commands.iter().enumerate() {
            let place = *by_name.entry(name).or_insert(nodes.len());
            match nodes.get_mut(place) {
                Some(node) => node.command = command,
                None => nodes.push(Node { command, ..Node::default() }),
            }
        }
        let mut graph = Graph { commands, nodes, mentioned: Vec::with_capacity(commands.len()) };
        let count = graph.nodes.len();
        let (mut seen, mut needed) = (vec![false; count], vec![None; count]);
        for user in 0..count {
            graph.mention(user, &mut seen);
            let Some(command) = graph.nodes.get(user).and_then(|node| commands.get(node.command)) else {
                continue;
            };
            for base in refs::mentions(command.args(), |name| by_name.get(name).copied()) {
                // A command that is mentioned a thousand times is still needed once.
                match needed.get_mut(base) {
                    Some(last) if *last != Some(user) => *last = Some(user),
                    _ => continue,
                }
                graph.mention(base, &mut seen);
                if let Some(node) = graph.nodes.get_mut(base) {
                    node.needed_by.push(user);
                }
                if let Some(node) = graph.nodes.get_mut(user) {
                    node.needs.push(base);
                    node.open += 1;
                }
            }
        }
        graph
    }

    fn mention(&mut self, node: usize, seen: &mut [bool]) {
        if let Some(seen @ false) = seen.get_mut(node) {
            *seen = true;
            self.mentioned.push(node);
        }
    }

    fn levels(mut self) -> Result<Vec<Vec<usize>>, CallError> {
        let is_free = |&node: &usize| self.nodes.get(node).is_some_and(|n| n.open == 0);
        let mut ready: Vec<usize> = self.mentioned.iter().copied().filter(is_free).collect();
        let (mut levels, mut placed) = (Vec::new(), 0);
        while !ready.is_empty() {
            placed += ready.len();
            let mut next = Vec::new();
            for &done in &ready {
                let users =
                    self.nodes.get_mut(done).map(|n| std::mem::take(&mut n.needed_by)).unwrap_or_default();
                for user in users {
                    if let Some(node) = self.nodes.get_mut(user) {
                        node.open -= 1;
                        if node.open == 0 {
                            next.push(user);
                        }
                    }
                }
            }
            levels.push(ready.iter().filter_map(|&n| self.nodes.get(n)).map(|n| n.command).collect());
            ready = next;
        }
        if placed == self.nodes.len() { Ok(levels) } else { Err(circle(&self.circle())) }
    }

    /// The names of one circle among the nodes that could not be placed: each of them needs another of them.
    fn circle(&self) -> Vec<&str> {
        let is_open = |node: usize| self.nodes.get(node).is_some_and(|n| n.open > 0);
        let mut path: Vec<usize> = Vec::new();
        let mut position = vec![None; self.nodes.len()];
        let mut at = (0..self.nodes.len()).find(|&node| is_open(node));
        while let Some(node) = at {
            match position.get_mut(node) {
                Some(Some(start)) => {
                    path.drain(..*start);
                    break;
                }
                Some(free) => *free = Some(path.len()),
                None => break,
            }
            path.push(node);
            at = self.nodes.get(node).and_then(|n| n.needs.iter().copied().find(|&need| is_open(need)));
        }
        let name = |node: &usize| Some(&*self.commands.get(self.nodes.get(*node)?.command)?.name);
        path.iter().filter_map(name).collect()
    }
}

fn circle(names: &[&str]) -> CallError {
    let text = match names {
        [only] => format!(
            "CycleError: an argument of command {0} refers to the command itself, because it equals its name or \
             starts with it and a dot; give the command another name",
            quoted(only)
        ),
        _ => format!(
            "CycleError: these commands refer to each other in a circle: {}",
            listed(names.iter().copied())
        ),
    };
    CallError::failed(text).because(Reason::Cycle)
}

fn quoted(name: &str) -> String {
    format!("{:?}", clipped(name, QUOTED_CHARS_MAX))
}

const QUOTED_CHARS_MAX: usize = 60;
