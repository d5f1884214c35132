//! Which neighbours are named in which area, and whose updates are believed (fabric.md 9.5).
//!
//! A neighbour belongs to the areas it is mapped to, or else to the default area, if this node belongs to them. The
//! neighbours of an area are also named, as a summary, in its parent and in the areas that summaries name as its target.
//! A node need not belong to such a target: it then speaks there, and names the neighbours that are mapped to it, but does
//! not listen. Summaries go one step: what came by a summary is not summarised again.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Settings;
use crate::core::catalog::Text;
use crate::core::route::Link;

/// `[link_state.areas]`
#[derive(Debug, Clone)]
pub struct Areas {
    /// Areas this node belongs to; empty: those that occur.
    pub local: BTreeSet<Text>,
    /// `None`: [`Settings::area`].
    pub default: Option<Text>,
    pub allow_unmapped_neighbours: bool,
    /// `[[link_state.areas.neighbor]]`: areas by cluster.
    pub neighbours: BTreeMap<Text, BTreeSet<Text>>,
    /// `[[link_state.areas.area]]`
    pub by_name: BTreeMap<Text, Area>,
    /// `[[link_state.areas.summary]]`; of several for one pair of areas each must let a neighbour pass.
    pub summaries: Vec<Summary>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Area {
    pub parent: Option<Text>,
    /// `None`: all.
    pub only_neighbours: Option<BTreeSet<Text>>,
}

/// What is told of one area in another; the names on the right are those of monitoring.md 3.12.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    #[serde(rename = "source_area")]
    pub from: Text,
    #[serde(rename = "target_area")]
    pub to: Text,
    /// `None`: all.
    #[serde(rename = "allowed_neighbors")]
    pub allow: Option<BTreeSet<Text>>,
    /// `None`: nobody.
    #[serde(rename = "denied_neighbors")]
    pub deny: Option<BTreeSet<Text>>,
}

/// Links by area; `None` is the part of the world that has no areas.
pub(super) type Shares = BTreeMap<Option<Text>, BTreeMap<Text, Link>>;

impl Settings {
    /// The areas that are believed; `None`: all, and updates that name none.
    pub fn accepted_areas(&self) -> Option<BTreeSet<Text>> {
        if !self.areas.local.is_empty() {
            return Some(self.areas.local.clone());
        }
        self.default_area().map(|area| BTreeSet::from([area.clone()]))
    }

    /// The area of neighbours that are not mapped.
    pub(super) fn default_area(&self) -> Option<&Text> {
        self.areas.default.as_ref().or(self.area.as_ref())
    }

    /// What is to be told in which area.
    pub(super) fn shares(&self, links: &BTreeMap<Text, Link>) -> Shares {
        let mut shares = Shares::new();
        for (name, link) in links {
            for area in self.areas_of(name) {
                shares.entry(area).or_default().insert(name.clone(), *link);
            }
        }
        let mut summaries = Shares::new();
        for (from, links) in &shares {
            let Some(from) = from.as_ref().filter(|from| self.is_local(from)) else { continue };
            for to in self.targets(from) {
                let told = links.iter().filter(|(name, _)| self.summarised(from, to, name));
                let told = told.map(|(name, link)| (name.clone(), *link));
                summaries.entry(Some(to.clone())).or_default().extend(told);
            }
        }
        for (area, links) in summaries {
            shares.entry(area).or_default().extend(links);
        }
        shares
    }

    /// The areas that a neighbour takes part in.
    pub(super) fn areas_of(&self, neighbour: &Text) -> BTreeSet<Option<Text>> {
        let areas: BTreeSet<Option<Text>> = match self.areas.neighbours.get(neighbour) {
            Some(mapped) => mapped.iter().cloned().map(Some).collect(),
            None if !self.areas.allow_unmapped_neighbours => BTreeSet::new(),
            None => BTreeSet::from([self.default_area().cloned()]),
        };
        areas.into_iter().filter(|area| self.takes_part(area, neighbour)).collect()
    }

    fn takes_part(&self, area: &Option<Text>, neighbour: &Text) -> bool {
        // Who lives in areas has nothing to say outside of them.
        let Some(area) = area else { return self.areas.local.is_empty() };
        let only = self.areas.by_name.get(area).and_then(|a| a.only_neighbours.as_ref());
        only.is_none_or(|only| only.contains(neighbour)) && (self.is_local(area) || self.is_target(area))
    }

    fn is_local(&self, area: &Text) -> bool {
        self.areas.local.is_empty() || self.areas.local.contains(area)
    }

    fn is_target(&self, area: &Text) -> bool {
        self.areas.local.iter().any(|from| self.targets(from).contains(area))
    }

    fn targets(&self, from: &Text) -> BTreeSet<&Text> {
        let parent = self.areas.by_name.get(from).and_then(|a| a.parent.as_ref());
        let named = self.areas.summaries.iter().filter(|s| s.from == *from).map(|s| &s.to);
        parent.into_iter().chain(named).filter(|to| *to != from).collect()
    }

    fn summarised(&self, from: &Text, to: &Text, neighbour: &Text) -> bool {
        let mut filters = self.areas.summaries.iter().filter(|s| s.from == *from && s.to == *to);
        filters.all(|s| {
            s.allow.as_ref().is_none_or(|allow| allow.contains(neighbour))
                && !s.deny.as_ref().is_some_and(|deny| deny.contains(neighbour))
        })
    }
}

impl Default for Areas {
    fn default() -> Areas {
        Areas {
            local: BTreeSet::new(),
            default: None,
            allow_unmapped_neighbours: true,
            neighbours: BTreeMap::new(),
            by_name: BTreeMap::new(),
            summaries: Vec::new(),
        }
    }
}
