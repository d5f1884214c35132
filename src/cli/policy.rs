//! `mpreg client namespace-policy`: rules of who sees which namespace.
//!
//! The node judges and keeps the rules; nothing is checked or remembered here. A bad verdict is still a result,
//! so it is printed, and the exit status says that it is bad.

use std::{fs, path::Path};

use argh::{ArgsInfo, FromArgs};
use serde_json::{Map, Value};

use super::{
    output::{self, Failure, Outcome},
    remote::{Payload, Remote},
};

/// check, set and show the rules of who sees which namespace
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "namespace-policy")]
pub struct PolicyGroup {
    #[argh(subcommand)]
    verb: PolicyVerb,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum PolicyVerb {
    Validate(Validate),
    Apply(Apply),
    Export(Export),
    Audit(Audit),
}

impl PolicyGroup {
    pub fn run(self) -> Outcome {
        match self.verb {
            PolicyVerb::Validate(verb) => verb.run(),
            PolicyVerb::Apply(verb) => verb.run(),
            PolicyVerb::Export(verb) => verb.run(),
            PolicyVerb::Audit(verb) => verb.run(),
        }
    }
}

remote_verb! {
    /// let a node check rules without using them
    #[argh(
        subcommand,
        name = "validate",
        example = "mpreg client namespace-policy validate --rules-file rules.json --url ws://127.0.0.1:7000",
        note = "The file holds a JSON list of rules, or one rule: [{{\"namespace\": \"svc.market\", \"visibility\": [\"cluster-a\"]}}]",
        note = "Exit status 1 when the rules are not valid; the faults are part of the result."
    )]
    struct Validate {
        /// file with the rules
        #[argh(option, arg_name = "path")]
        rules_file: String,
        /// who asks, for the audit
        #[argh(option, arg_name = "name")]
        actor: Option<String>,
    }
}

impl Validate {
    fn run(self) -> Outcome {
        let remote = self.remote();
        let payload =
            Payload::new().put("rules", Some(rules(&self.rules_file)?)).put("actor", self.actor).done();
        verdict(&remote, "namespace_policy_validate", payload, "valid")
    }
}

remote_verb! {
    /// replace the rules of a node
    #[argh(
        subcommand,
        name = "apply",
        example = "mpreg client namespace-policy apply --rules-file rules.json --enabled --default-deny --url ws://127.0.0.1:7000",
        note = "The rules of this one node are replaced, until its file is read again. What is not given (enabled, default) stays.",
        note = "Exit status 1 when the rules are not valid; then nothing is changed."
    )]
    struct Apply {
        /// file with the rules, as for validate
        #[argh(option, arg_name = "path")]
        rules_file: String,
        /// who asks, for the audit
        #[argh(option, arg_name = "name")]
        actor: Option<String>,
        /// use the policy
        #[argh(switch)]
        enabled: bool,
        /// do not use the policy
        #[argh(switch)]
        no_enabled: bool,
        /// namespaces without a rule are visible
        #[argh(switch)]
        default_allow: bool,
        /// namespaces without a rule are hidden
        #[argh(switch)]
        default_deny: bool,
    }
}

impl Apply {
    fn run(self) -> Outcome {
        let remote = self.remote();
        let payload = Payload::new()
            .put("rules", Some(rules(&self.rules_file)?))
            .put("enabled", either(("--enabled", self.enabled), ("--no-enabled", self.no_enabled))?)
            .put(
                "default_allow",
                either(("--default-allow", self.default_allow), ("--default-deny", self.default_deny))?,
            )
            .put("actor", self.actor)
            .done();
        verdict(&remote, "namespace_policy_apply", payload, "applied")
    }
}

remote_verb! {
    /// show the rules of a node
    #[argh(
        subcommand,
        name = "export",
        example = "mpreg client namespace-policy export --url ws://127.0.0.1:7000",
        example = "mpreg client namespace-policy export --json"
    )]
    struct Export {}
}

impl Export {
    fn run(self) -> Outcome {
        let remote = self.remote();
        let policy = remote.ask("namespace_policy_export", Map::new())?;
        remote.show(&policy, output::outline)
    }
}

remote_verb! {
    /// show who checked or replaced the rules of a node
    #[argh(
        subcommand,
        name = "audit",
        example = "mpreg client namespace-policy audit --limit 20 --url ws://127.0.0.1:7000"
    )]
    struct Audit {
        /// the newest so many; default all that are kept
        #[argh(option, arg_name = "number")]
        limit: Option<u32>,
    }
}

impl Audit {
    fn run(self) -> Outcome {
        let remote = self.remote();
        let answer = remote.ask("namespace_policy_audit", Payload::new().put("limit", self.limit).done())?;
        remote.show(&answer, |answer| {
            let entries = answer.get("entries").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            output::table(AUDIT_COLUMNS, entries) + &output::count_line(entries.len(), "entries", None)
        })
    }
}

/// The value of a pair of switches that exclude each other.
pub fn either(yes: (&str, bool), no: (&str, bool)) -> Result<Option<bool>, Failure> {
    match (yes.1, no.1) {
        (true, true) => Err(Failure::usage(format!("give {} or {}, not both", yes.0, no.0))),
        (true, false) => Ok(Some(true)),
        (false, true) => Ok(Some(false)),
        (false, false) => Ok(None),
    }
}

/// The result is the verdict of the node, faults included; the status says whether it is a good one.
fn verdict(remote: &Remote, fun: &str, payload: Map<String, Value>, member: &str) -> Outcome {
    let answer = remote.ask(fun, payload)?;
    remote.show(&answer, output::outline)?;
    if answer.get(member) == Some(&Value::Bool(true)) {
        return Ok(());
    }
    let errors = answer.get("errors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let errors: Vec<String> = errors.iter().map(|error| output::plain(Some(error))).collect();
    Err(Failure::failed(format!("the rules are not {member}: {}", errors.join("; "))))
}

fn rules(path: &str) -> Result<Vec<Value>, Failure> {
    let text = fs::read_to_string(Path::new(path))
        .map_err(|e| Failure::usage(format!("--rules-file {path}: {e}")))?;
    let value = serde_json::from_str(&text)
        .map_err(|e| Failure::failed(format!("--rules-file {path}: this is not JSON: {e}")))?;
    match value {
        Value::Array(rules) => Ok(rules),
        rule @ Value::Object(_) => Ok(vec![rule]),
        _ => {
            Err(Failure::failed(format!("--rules-file {path}: it holds neither a list of rules nor a rule")))
        }
    }
}

const AUDIT_COLUMNS: &[&str] = &["timestamp", "event", "actor", "valid", "rule_count", "errors"];
