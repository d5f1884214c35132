//! The small questions that every filter asks: is a name at or below a namespace, has an entry all of a list, does a
//! scope reach, does a pattern match a topic.

use crate::core::catalog::{Scope, Text};

/// `svc` covers `svc` and `svc.x`, not `svcx`; the empty namespace covers everything.
pub fn at_or_below(name: &str, namespace: &str) -> bool {
    match name.strip_prefix(namespace) {
        None => false,
        Some(rest) => namespace.is_empty() || rest.is_empty() || rest.starts_with('.'),
    }
}

/// True where there are no namespaces to choose from, or one of them covers `name`.
pub fn in_any(name: &str, namespaces: &[Text]) -> bool {
    namespaces.is_empty() || namespaces.iter().any(|n| at_or_below(name, n.trim()))
}

/// All of `wanted` are in `there`.
pub fn has_all(there: &[Text], wanted: &[String]) -> bool {
    wanted.iter().all(|w| there.iter().any(|t| **t == **w))
}

/// An entry of this scope answers a question of that scope (client.md 3.4).
pub fn reaches(entry: Scope, asked: Option<Scope>) -> bool {
    asked.is_none_or(|asked| entry >= asked)
}

/// The namespace under which summaries and deltas show a name: before the last dot, or the whole name.
pub fn own_namespace(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(namespace, _)| namespace)
}

/// A pattern up to its first segment that is a wildcard; empty where it begins with one.
pub fn literal_prefix(pattern: &str) -> &str {
    let mut end = 0usize;
    for segment in pattern.split('.') {
        if segment == "*" || segment == "#" {
            return pattern.get(..end.saturating_sub(1)).unwrap_or_default();
        }
        end += segment.len() + 1;
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_end_at_dots() {
        for (name, namespace, covered) in [
            ("svc", "svc", true),
            ("svc.x", "svc", true),
            ("svcx", "svc", false),
            ("x", "", true),
            ("", "svc", false),
        ] {
            assert_eq!(at_or_below(name, namespace), covered, "{name} {namespace}");
        }
    }

    #[test]
    fn the_literal_beginning_of_a_pattern() {
        for (pattern, prefix) in
            [("a.b.*", "a.b"), ("#", ""), ("a.b", "a.b"), ("a.*.c", "a"), ("a.b*", "a.b*"), ("", "")]
        {
            assert_eq!(literal_prefix(pattern), prefix, "{pattern}");
        }
    }
}
