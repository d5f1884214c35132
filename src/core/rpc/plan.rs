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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::client::{Message, read};

    /// Commands as name and arguments.
    fn frame(commands: &[(&str, &str)]) -> String {
        let commands: Vec<String> = commands
            .iter()
            .map(|(name, args)| {
                format!(r#"{{"name":{},"fun":"echo","args":{args}}}"#, serde_json::json!(name))
            })
            .collect();
        format!(r#"{{"role":"rpc","u":"u","cmds":[{}]}}"#, commands.join(","))
    }

    fn plan(commands: &[(&str, &str)]) -> Result<Vec<Vec<usize>>, CallError> {
        let frame = frame(commands);
        let Ok(Message::Rpc(request)) = read(frame.as_bytes()) else { panic!("{frame}") };
        let plan = Plan::of(&request.commands)?;
        assert!(plan.level(plan.levels()).is_empty());
        Ok((0..plan.levels()).map(|level| plan.level(level).to_vec()).collect())
    }

    fn details(commands: &[(&str, &str)]) -> String {
        let error = plan(commands).unwrap_err();
        assert_eq!((error.code, error.reason), (1003, Some(Reason::Cycle)));
        error.details.unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn levels() {
        type Row<'a> = (&'a [(&'a str, &'a str)], &'a [&'a [usize]]);
        let rows: &[Row<'_>] = &[
            (&[("a", "[1]")], &[&[0]]),
            (&[("a", "[1]"), ("b", "[2]"), ("c", "[3]")], &[&[0, 1, 2]]),
            (&[("a", "[1]"), ("b", r#"["a"]"#)], &[&[0], &[1]]),
            (&[("a", "[1]"), ("lonely", "[2]"), ("b", r#"[[{"k":["a.x.y"]}]]"#)], &[&[0, 1], &[2]]),
            (&[("s3", r#"["s2"]"#), ("s2", r#"["s1"]"#), ("s1", "[1]")], &[&[2], &[1], &[0]]),
            // Names of members are no references, nor are parts of a text.
            (&[("a", "[1]"), ("b", r#"[{"a":1},"xa","a/b"," a"]"#)], &[&[0, 1]]),
            // The later command counts, at the place of the earlier one.
            (&[("a", "[1]"), ("b", "[2]"), ("a", "[3]")], &[&[2, 1]]),
            (&[("a", r#"["b"]"#), ("b", "[2]"), ("a", "[3]")], &[&[2, 1]]),
            // A whole name goes before what stands in front of its first dot.
            (&[("a", "[1]"), ("a.b", r#"["a"]"#), ("c", r#"["a.b"]"#)], &[&[0], &[1], &[2]]),
            (&[("", "[1]"), ("b", r#"["", ".x"]"#)], &[&[0], &[1]]),
            // First level by first mention, later ones in the order of becoming ready.
            (&[("z", r#"["y","x"]"#), ("x", "[1]"), ("y", "[2]")], &[&[2, 1], &[0]]),
            (&[("p", r#"["b"]"#), ("q", r#"["a"]"#), ("a", "[1]"), ("b", "[1]")], &[&[3, 2], &[0, 1]]),
            (&[("a", "[1]"), ("b", r#"["a","a","a.x"]"#)], &[&[0], &[1]]),
        ];
        for (commands, expected) in rows {
            assert_eq!(plan(commands).unwrap(), *expected, "{commands:?}");
        }
    }

    #[test]
    fn circles_are_named() {
        assert!(details(&[("c1", r#"["c1"]"#)]).contains("\"c1\""));
        assert!(details(&[("c1", r#"["c1.x.y"]"#)]).contains("\"c1\""));
        assert!(details(&[("c1", r#"[[{"k":["\u00631"]}]]"#)]).contains("\"c1\""));
        assert!(details(&[("echo", "[1]"), ("x", r#"["x"]"#)]).contains("\"x\""));
        let two = details(&[("left-one", r#"["right-one"]"#), ("right-one", r#"["left-one"]"#)]);
        assert!(two.ends_with("circle: left-one, right-one"), "{two}");
        // Commands that only wait for the circle are not part of it.
        let three = details(&[
            ("user", r#"["a"]"#),
            ("a", r#"["ok","c"]"#),
            ("b", r#"["a.q"]"#),
            ("c", r#"[{"k":"b"}]"#),
            ("ok", "[1]"),
        ]);
        assert!(three.ends_with("circle: a, c, b"), "{three}");
        let long = "n".repeat(100_000);
        assert!(details(&[(&long, &format!("[\"{long}\"]"))]).len() < 400);
        let names: Vec<String> = (0..500).map(|i| format!("name-{i}-{}", "x".repeat(500))).collect();
        let ring: Vec<(&str, String)> =
            (0..500).map(|i| (names[i].as_str(), format!("[\"{}\"]", names[(i + 1) % 500]))).collect();
        let ring: Vec<(&str, &str)> = ring.iter().map(|(name, args)| (*name, args.as_str())).collect();
        assert!(details(&ring).len() < 1000);
    }

    #[test]
    fn an_empty_request_is_an_error() {
        let error = Plan::of(&[]).unwrap_err();
        assert_eq!((error.code, error.reason), (1003, Some(Reason::BadRequest)));
    }

    #[test]
    fn a_long_chain_and_a_wide_level() {
        let args: Vec<(String, String)> =
            (0..3000).map(|i| (format!("s{i}"), format!("[\"s{}\"]", i as i64 - 1))).collect();
        let chain: Vec<(&str, &str)> =
            args.iter().map(|(name, args)| (name.as_str(), args.as_str())).collect();
        assert_eq!(plan(&chain).unwrap().len(), 3000);
        let wide: Vec<(&str, &str)> = chain.iter().map(|(name, _)| (*name, "[\"s\",1]")).collect();
        assert_eq!(plan(&wide).unwrap(), [(0..3000).collect::<Vec<_>>()]);
    }

    proptest! {
        #[test]
        fn every_command_comes_after_what_it_needs(
            edges in prop::collection::vec(prop::collection::vec(0usize..8, 0..4), 1..8)
        ) {
            let names: Vec<String> = (0..8).map(|i| format!("n{i}")).collect();
            let args: Vec<String> = edges
                .iter()
                .map(|needs| serde_json::json!(needs.iter().map(|&n| &names[n]).collect::<Vec<_>>()).to_string())
                .collect();
            let commands: Vec<(&str, &str)> =
                names.iter().zip(&args).map(|(name, args)| (name.as_str(), args.as_str())).collect();
            // Naive: place what is free until nothing moves.
            let mut level_of: Vec<Option<usize>> = vec![None; edges.len()];
            for round in 0..edges.len() {
                let free: Vec<usize> = (0..edges.len()).filter(|&n| level_of[n].is_none()).filter(|&n| {
                    edges[n].iter().all(|&need| need >= edges.len() || level_of[need].is_some())
                }).collect();
                free.into_iter().for_each(|n| level_of[n] = Some(round));
            }
            match plan(&commands) {
                Err(error) => {
                    prop_assert_eq!(error.reason, Some(Reason::Cycle));
                    prop_assert!(level_of.contains(&None));
                }
                Ok(levels) => {
                    let mut seen = vec![None; edges.len()];
                    for (level, commands) in levels.iter().enumerate() {
                        commands.iter().for_each(|&command| seen[command] = Some(level));
                    }
                    prop_assert_eq!(seen, level_of);
                }
            }
        }
    }
}
