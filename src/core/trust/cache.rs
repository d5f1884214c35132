//! Signatures that were looked at, so that the same bytes are not verified twice. It is bounded, forgets the oldest first,
//! and knows an answer only for exactly these bytes, this signature and this key.

use std::collections::{BTreeMap, VecDeque};

use sha2::{Digest, Sha256};

use super::key::PublicKey;
use crate::wire::fabric::route::{ALGORITHM, Seal};

#[derive(Debug, Default)]
pub(super) struct Verified {
    answers: BTreeMap<[u8; 32], bool>,
    order: VecDeque<[u8; 32]>,
    computed: u64,
}

impl Verified {
    /// Whether one of the keys made the seal; they are tried in their order.
    pub fn check_any(&mut self, keys: &[PublicKey], bytes: &[u8], seal: &Seal) -> bool {
        keys.iter().any(|key| self.check(key, bytes, seal))
    }

    pub fn check(&mut self, key: &PublicKey, canonical: &[u8], seal: &Seal) -> bool {
        if &*seal.signature_algorithm != ALGORITHM || seal.signature.len() != SIGNATURE_DIGITS {
            return false;
        }
        let mut question = Sha256::new();
        question.update(key.as_bytes());
        question.update(seal.signature.as_bytes());
        question.update(canonical);
        let question: [u8; 32] = question.finalize().into();
        if let Some(answer) = self.answers.get(&question) {
            return *answer;
        }
        self.computed += 1;
        let answer = key.verifies(canonical, &seal.signature);
        if self.order.len() >= ANSWERS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
        self.order.push_back(question);
        self.answers.insert(question, answer);
        answer
    }

    pub fn computed(&self) -> u64 {
        self.computed
    }
}

/// 64 bytes.
const SIGNATURE_DIGITS: usize = 128;
/// Some 100 bytes each.
const ANSWERS_MAX: usize = 8192;
