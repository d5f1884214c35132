//! References: strings in the arguments of one command that stand for the result of another (client.md 2.3, 2.4).
//!
//! Text is searched and cut; neither arguments nor results become trees. What a request can make a node copy and
//! search is bounded: a few short references to large results would otherwise fill its memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use memchr::{memchr, memmem};
use serde_json::value::RawValue;

use crate::core::error::CallError;
use crate::core::reason::Reason;
use crate::wire::json::{self, Json};

/// Results of finished commands by name.
pub type Finished<'r> = BTreeMap<&'r str, Json>;

/// Whether a string among `args` is a reference to the command `name`.
pub fn refers_to(args: &RawValue, name: &str) -> bool {
    let text = args.get().as_bytes();
    // The usual case, a single command without references, costs two fast searches however large the arguments
    // are. A name can hide behind an escape, hence the first of them.
    if memchr(b'\\', text).is_none() {
        let mut found = memmem::find_iter(text, name);
        if !found.any(|at| at.checked_sub(1).and_then(|before| text.get(before)) == Some(&b'"')) {
            return false;
        }
    }
    mentions(args, |candidate| (candidate == name).then_some(())).next().is_some()
}

/// What `lookup` knows of the strings among `args`: each is asked for whole, then by what stands before its first dot.
pub fn mentions<'a, T>(
    args: &'a RawValue,
    mut lookup: impl FnMut(&str) -> Option<T> + 'a,
) -> impl Iterator<Item = T> + 'a {
    let text = args.get().as_bytes();
    json::strings(text).filter_map(move |token| {
        let candidate = token.text(text)?;
        lookup(&candidate).or_else(|| lookup(candidate.split_once('.')?.0))
    })
}

/// Fills results into the arguments of the commands of one level.
#[derive(Debug)]
pub struct Filler<'f, 'r> {
    finished: &'f Finished<'r>,
    /// For the arguments of one command.
    bytes_max: usize,
    /// What may still be filled in, over all commands.
    left_bytes: usize,
    /// Paths that were followed before.
    known: BTreeMap<String, Option<&'f [u8]>>,
    searched_bytes: usize,
}

impl<'f, 'r> Filler<'f, 'r> {
    /// `bytes_max` is for the positional or named arguments of one command, `total_bytes_max` for all of them.
    pub fn new(finished: &'f Finished<'r>, bytes_max: usize, total_bytes_max: usize) -> Filler<'f, 'r> {
        Filler { finished, bytes_max, left_bytes: total_bytes_max, known: BTreeMap::new(), searched_bytes: 0 }
    }

    /// Replaces every reference to a finished command in `raw`, the positional or the named arguments. What cannot
    /// be resolved stays text, and what was filled in is not looked at again.
    pub fn fill<'a>(&mut self, raw: &'a RawValue) -> Result<Cow<'a, RawValue>, CallError> {
        if self.finished.is_empty() {
            return Ok(Cow::Borrowed(raw));
        }
        let text = raw.get().as_bytes();
        let mut parts: Vec<(Range<usize>, &[u8])> = Vec::new();
        let mut length = text.len();
        for token in json::strings(text) {
            let Some(candidate) = token.text(text) else { continue };
            let Some(value) = self.resolve(candidate)? else { continue };
            length = length.saturating_add(value.len()).saturating_sub(token.range.len());
            parts.push((token.range, value));
        }
        if parts.is_empty() {
            return Ok(Cow::Borrowed(raw));
        }
        let max = self.bytes_max.min(self.left_bytes);
        if length > max {
            let text = format!("the arguments would be larger than {max} bytes once results are filled in");
            return Err(CallError::failed(text).because(Reason::MessageTooLarge));
        }
        self.left_bytes -= length;
        let mut out = Vec::with_capacity(length);
        json::splice(text, parts, &mut out);
        let filled = String::from_utf8(out).ok().and_then(|text| RawValue::from_string(text).ok());
        filled.map(Cow::Owned).ok_or_else(|| CallError::failed("a result that was referred to is not JSON"))
    }

    fn resolve(&mut self, candidate: Cow<'_, str>) -> Result<Option<&'f [u8]>, CallError> {
        let Some((base, path)) = candidate.split_once('.') else {
            return Ok(self.finished.get(&*candidate).map(Json::as_bytes));
        };
        let Some(result) = self.finished.get(base) else { return Ok(None) };
        if let Some(known) = self.known.get(&*candidate) {
            return Ok(*known);
        }
        self.searched_bytes = self.searched_bytes.saturating_add(result.as_bytes().len());
        if self.searched_bytes > SEARCHED_BYTES_MAX {
            let text =
                format!("references of one level search more than {SEARCHED_BYTES_MAX} bytes of results");
            return Err(CallError::failed(text).because(Reason::MessageTooLarge));
        }
        let steps: Vec<&str> = path.split('.').collect();
        let value = json::navigate(result.as_bytes(), &steps);
        self.known.insert(candidate.into_owned(), value);
        Ok(value)
    }
}

/// About a quarter of a second of one core: a path is followed through the whole text of a result.
const SEARCHED_BYTES_MAX: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn raw(value: &Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(value).unwrap()
    }

    fn finished<'r>(results: &[(&'r str, Value)]) -> Finished<'r> {
        results.iter().map(|(name, value)| (*name, Json::from(raw(value)))).collect()
    }

    fn filled(args: Value, results: &[(&str, Value)]) -> Value {
        let (args, finished) = (raw(&args), finished(results));
        let mut filler = Filler::new(&finished, 1 << 20, 1 << 20);
        serde_json::from_str(filler.fill(&args).unwrap().get()).unwrap()
    }

    #[test]
    fn a_command_without_references_is_left_as_it_is() {
        let args: &RawValue = serde_json::from_str(r#"[ "s2", {"s1":1} ]"#).unwrap();
        for results in [finished(&[]), finished(&[("s1", json!(1))])] {
            let mut filler = Filler::new(&results, 1, 1);
            assert!(matches!(filler.fill(args), Ok(Cow::Borrowed(same)) if std::ptr::eq(same, args)));
        }
    }

    #[test]
    fn references_of_the_protocol() {
        let object = json!({"list": [10, 20], "nest": {"s": "deep", "n": null, "": "empty key"}, "": 5, "a.b": 6, "num": 7, "text": "word"});
        for (reference, value) in [
            ("s1", object.clone()),
            ("s1.num", json!(7)),
            ("s1.nest.s", json!("deep")),
            ("s1.nest.n", json!(null)),
            ("s1.list", json!([10, 20])),
            ("s1.", json!(5)),
            ("s1.nest.", json!("empty key")),
        ] {
            assert_eq!(filled(json!([reference]), &[("s1", object.clone())]), json!([value]));
        }
        for kept in [
            "s1.nope",
            "s1.nest.nope",
            "s1.nest.n.x",
            "s1.text.x",
            "s1.list.0",
            "s1.a.b",
            "S1",
            " s1",
            "s1x",
            ".s1",
            ".",
        ] {
            assert_eq!(filled(json!([kept]), &[("s1", object.clone())]), json!([kept]));
        }
        assert_eq!(filled(json!(["s1", {"s1": "s1"}]), &[("s1", json!(3))]), json!([3, {"s1": 3}]));
        assert_eq!(filled(json!(["a.b"]), &[("a.b", json!(3))]), json!(["a.b"]));
        assert_eq!(filled(json!(["", ".x"]), &[("", json!({"x": 8}))]), json!([{"x": 8}, 8]));
        assert_eq!(filled(json!(["größe.ä"]), &[("größe", json!({"ä": 4}))]), json!([4]));
        // What was filled in is not looked at again.
        assert_eq!(filled(json!(["a"]), &[("a", json!("b")), ("b", json!(1))]), json!(["b"]));
    }

    #[test]
    fn references_hidden_behind_escapes_are_found() {
        let args: &RawValue = serde_json::from_str(r#"["\u0073\u0031", "x\\", "\ud800"]"#).unwrap();
        assert!(refers_to(args, "s1") && !refers_to(args, "x"));
        let results = finished(&[("s1", json!(1))]);
        let mut filler = Filler::new(&results, 100, 100);
        assert_eq!(filler.fill(args).unwrap().get(), r#"[1, "x\\", "\ud800"]"#);
    }

    #[test]
    fn growth_has_a_bound() {
        let results = finished(&[("s1", json!("x".repeat(1000)))]);
        let args = raw(&json!(vec!["s1"; 100]));
        let error = Filler::new(&results, 50_000, 500_000).fill(&args).unwrap_err();
        assert_eq!((error.code, error.reason), (1003, Some(Reason::MessageTooLarge)));
        let mut shared = Filler::new(&results, 200_000, 250_000);
        assert!(shared.fill(&args).is_ok() && shared.fill(&args).is_ok() && shared.fill(&args).is_err());
    }

    #[test]
    fn searching_has_a_bound() {
        let results = finished(&[("s1", json!({"a": "x".repeat(30 << 20)}))]);
        let same = raw(&json!(vec!["s1.b"; 1000]));
        assert!(Filler::new(&results, 1 << 20, 1 << 20).fill(&same).is_ok());
        let different: Vec<String> = (0..1000).map(|i| format!("s1.b{i}")).collect();
        let error = Filler::new(&results, 1 << 20, 1 << 20).fill(&raw(&json!(different))).unwrap_err();
        assert_eq!(error.reason, Some(Reason::MessageTooLarge));
    }

    fn naive(value: &mut Value, results: &[(&str, Value)]) {
        match value {
            Value::String(text) => {
                let result = |name: &str| {
                    results.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value)
                };
                let found = match text.split_once('.') {
                    None => result(text).cloned(),
                    Some((base, path)) => result(base)
                        .and_then(|value| {
                            path.split('.').try_fold(value, |at, step| at.as_object()?.get(step))
                        })
                        .cloned(),
                };
                if let Some(found) = found {
                    *value = found;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| naive(item, results)),
            Value::Object(members) => members.values_mut().for_each(|item| naive(item, results)),
            _ => {}
        }
    }

    fn any_value(text: &'static str) -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<u8>().prop_map(Value::from), text.prop_map(Value::from)];
        leaf.prop_recursive(4, 30, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[ab]{0,1}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn filling_does_what_a_tree_does(
            args in any_value("[ab.\\\\]{0,5}"),
            a in any_value("[ab.]{0,3}"),
            b in any_value("[ab.]{0,3}"),
        ) {
            let results = [("a", a.clone()), ("b", b), ("", json!({"a": a})), ("\\", json!([1]))];
            let mut tree = args.clone();
            naive(&mut tree, &results);
            prop_assert_eq!(filled(args, &results), tree);
        }

        #[test]
        fn the_fast_search_agrees_with_the_full_one(args in any_value("[ab.\\\\\"é]{0,3}"), name in "[ab.é\\\\]{0,2}") {
            let args = raw(&args);
            let full = mentions(&args, |candidate| (candidate == name).then_some(())).next().is_some();
            prop_assert_eq!(refers_to(&args, &name), full);
        }
    }
}
