//! The two small questions that forwarding asks of other modules' subjects: does a pattern match a topic (client.md
//! 5.3), does a version satisfy a constraint (2.8).

use crate::core::catalog::FunctionVersion;

/// Whether a subscription pattern matches a topic, by whole segments.
pub(super) fn topic_matches(pattern: &str, topic: &str) -> bool {
    let pattern: Vec<&str> = if pattern.is_empty() { Vec::new() } else { pattern.split('.').collect() };
    if pattern.len() > SEGMENTS_MAX {
        return false;
    }
    // Bit n: the first n segments of the pattern have matched what was read so far.
    let mut reached: u128 = 1;
    let segments = topic.split('.').take(if topic.is_empty() { 0 } else { usize::MAX });
    for segment in segments {
        let mut next = 0;
        for (n, word) in pattern.iter().enumerate() {
            if reached >> n & 1 == 0 {
                continue;
            }
            match *word {
                "#" => {
                    next |= 1 << n;
                    reached |= 1 << (n + 1); // it may also stand for nothing
                }
                "*" => next |= 1 << (n + 1),
                word if word == segment => next |= 1 << (n + 1),
                _ => {}
            }
        }
        reached = next;
    }
    // At the end of the topic one `#` counts as nothing, a second does not.
    let end = pattern.len();
    reached >> end & 1 == 1 || pattern.last() == Some(&"#") && reached >> (end - 1) & 1 == 1
}

/// Whether a version satisfies a constraint; the error is for whoever wrote the constraint.
pub(super) fn version_satisfies(constraint: &str, version: &FunctionVersion) -> Result<bool, String> {
    let text = constraint.trim().trim_matches(['(', ')']).replace("version", "");
    let mut satisfied = true;
    for term in text.split(',').map(str::trim).filter(|t| !t.is_empty()) {
        let (operator, value) = ["==", ">=", "<=", "=", ">", "<"]
            .into_iter()
            .find_map(|op| term.strip_prefix(op).map(|value| (op, value)))
            .unwrap_or(("==", term));
        let bound = FunctionVersion::parse(value)
            .ok_or_else(|| format!("Invalid semantic version: {}", value.trim()))?;
        satisfied &= match operator {
            ">=" => *version >= bound,
            "<=" => *version <= bound,
            ">" => *version > bound,
            "<" => *version < bound,
            _ => *version == bound,
        };
    }
    Ok(satisfied)
}

/// No pattern of use is deeper.
const SEGMENTS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_by_segments() {
        for (pattern, topic, matches) in [
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("a.*", "a.", true),
            ("a.#", "a", true),
            ("a.#", "a.b.c", true),
            ("#", "", true),
            ("#", "a.b", true),
            ("*", "", false),
            ("*", "a.b", false),
            ("#.b", "b", true),
            ("*.b", "a.b", true),
            ("", "", true),
            ("", "a", false),
            ("a.#.b", "a.b", true),
            ("a.#.b", "a.x.y.b", true),
            ("a.#.b", "a.x.y", false),
            ("a.#.#", "a", false),
            ("a.#.#", "a.x", true),
            ("#.#", "", false),
            ("a.*.#", "a", false),
            ("a.*.#", "a.b", true),
            ("a.#.*", "a", false),
            ("a.#.*", "a.b.c", true),
            ("a.*.b", "a..b", true),
            ("a.b*", "a.bc", false),
            ("A.b", "a.b", false),
            ("*.*", ".", true),
        ] {
            assert_eq!(topic_matches(pattern, topic), matches, "{pattern} {topic}");
        }
    }

    #[test]
    fn versions_satisfy_constraints() {
        let version = FunctionVersion::parse("1.10.0").unwrap();
        for (constraint, satisfied) in [
            ("", true),
            (">=1.9,<2", true),
            ("(version >= 1.10)", true),
            ("1.10", true),
            ("=v1.10.0", true),
            ("<1.9", false),
        ] {
            assert_eq!(version_satisfies(constraint, &version), Ok(satisfied), "{constraint}");
        }
        assert_eq!(version_satisfies(">>x", &version), Err("Invalid semantic version: >x".to_owned()));
    }
}
