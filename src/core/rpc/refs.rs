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
