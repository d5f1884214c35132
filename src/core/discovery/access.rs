//! Who asks, how often, and what was refused: effective viewers, the rate limit of client.md 6.4, the audits of 6.5
//! and 4.15, and who may administer. All of it concerns discovery only.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::Value;

use super::payload::{Payload, shortened, value_error};
use super::policy::Policy;
use super::reply::{Reply, texts};
use super::settings::{AdminMode, AdminSettings, RateLimitPer, RateLimitSettings};
use super::tenant::TenantSettings;
use crate::core::catalog::Text;
use crate::core::error::{CallError, DENIED, RATE_LIMITED};
use crate::core::reason::Reason;
use crate::core::time::Now;

/// Who asks, as the connection proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// The own cluster for a client; the proven cluster of a peer.
    pub cluster_id: Text,
    /// Any number that no other living connection has.
    pub connection: u64,
    /// What [`super::resolve_tenant`] found.
    pub tenant: Option<Text>,
    /// The other end is on this machine.
    pub loopback: bool,
    /// The other end showed a client certificate that was verified.
    pub certified: bool,
}

/// Whether a namespace that was asked for by name is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    Shown,
    /// Policy hides it; the audit has an entry.
    Hidden,
}

/// Rate limit and audits together, since each refusal is recorded.
#[derive(Debug)]
pub struct Gate {
    limit: RateLimitSettings,
    budgets: BTreeMap<BudgetKey, VecDeque<Duration>>,
    refused: VecDeque<Refusal>,
    refused_max: usize,
    changes: VecDeque<PolicyChange>,
    changes_max: usize,
    /// Requests that were counted on the shared budget since the last report.
    shared: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct BudgetKey {
    who: String,
    command: &'static str,
    namespace: Option<String>,
}

#[derive(Debug)]
struct Refusal {
    event: &'static str,
    timestamp: f64,
    cluster: Text,
    tenant: Option<Text>,
    namespace: Option<String>,
    reason: &'static str,
}

#[derive(Debug)]
struct PolicyChange {
    event: &'static str,
    timestamp: f64,
    actor: Option<String>,
    valid: bool,
    rule_count: usize,
    errors: Vec<String>,
}

impl Viewer {
    /// Nobody in particular of a cluster.
    pub fn of_cluster(cluster_id: &Text) -> Viewer {
        Viewer {
            cluster_id: cluster_id.clone(),
            connection: 0,
            tenant: None,
            loopback: false,
            certified: false,
        }
    }

    /// The viewer with the tenant that counts for this request (client.md 6.2).
    pub fn effective(&self, payload: &Payload, tenants: &TenantSettings) -> Result<Viewer, CallError> {
        let mut viewer = self.clone();
        if !tenants.enabled {
            viewer.tenant = None;
        } else if viewer.tenant.is_none() {
            let claimed = if tenants.allow_claimed { payload.text("viewer_tenant_id")? } else { None };
            viewer.tenant = claimed.map(Text::from).or_else(|| tenants.default.clone());
        }
        Ok(viewer)
    }

    /// As rate limit texts name it.
    fn name(&self) -> String {
        match &self.tenant {
            Some(tenant) => format!("tenant:{tenant}"),
            None => format!("cluster:{}", self.cluster_id),
        }
    }
}

impl Gate {
    pub fn new(limit: RateLimitSettings, refused_max: usize, changes_max: usize) -> Gate {
        Gate {
            limit,
            budgets: BTreeMap::new(),
            refused: VecDeque::new(),
            refused_max,
            changes: VecDeque::new(),
            changes_max,
            shared: 0,
        }
    }

    /// What was counted stays counted, unless it would be counted under other names now.
    pub fn set_limit(&mut self, limit: RateLimitSettings) {
        if (limit.per, limit.namespace_in_key) != (self.limit.per, self.limit.namespace_in_key) {
            self.budgets.clear();
        }
        self.limit = limit;
    }

    /// Counts the request, then asks policy about the namespace if one was named.
    pub fn pass(
        &mut self,
        command: &'static str,
        viewer: &Viewer,
        namespace: Option<&str>,
        policy: &Policy,
        now: Now,
    ) -> Result<Sight, CallError> {
        if !self.within_budget(command, viewer, namespace, now.mono) {
            self.record(command, viewer, namespace, "rate_limited", now.wall);
            let details = format!(
                "Rate limit exceeded for {command} (viewer={}, namespace={})",
                viewer.name(),
                namespace.map(shortened).unwrap_or_default()
            );
            return Err(CallError::new(RATE_LIMITED, "discovery_rate_limited", Some(details))
                .because(Reason::RateLimited));
        }
        let Some(namespace) = namespace else { return Ok(Sight::Shown) };
        let verdict = policy.viewer(namespace, &viewer.cluster_id, viewer.tenant.as_deref());
        if verdict.allowed {
            return Ok(Sight::Shown);
        }
        self.record(command, viewer, Some(namespace), verdict.reason, now.wall);
        Ok(Sight::Hidden)
    }

    /// Requests that were counted on the shared budget since the last call.
    pub fn take_shared(&mut self) -> u64 {
        std::mem::take(&mut self.shared)
    }

    /// discovery_access_audit
    pub fn refusals(&self, payload: &Payload, now: Now) -> Result<Value, CallError> {
        let entries = last(&self.refused, payload)?.map(Refusal::value).collect::<Vec<_>>();
        Ok(Reply::new().kept("generated_at", now.wall).kept("entries", entries).done())
    }

    /// namespace_policy_audit
    pub fn policy_changes(&self, payload: &Payload, now: Now) -> Result<Value, CallError> {
        let entries = last(&self.changes, payload)?.map(PolicyChange::value).collect::<Vec<_>>();
        Ok(Reply::new().kept("generated_at", now.wall).kept("entries", entries).done())
    }

    pub fn record_policy(
        &mut self,
        event: &'static str,
        actor: Option<String>,
        rule_count: usize,
        errors: &[String],
        now: Now,
    ) {
        let change = PolicyChange {
            event,
            timestamp: now.wall,
            actor: actor.map(|a| shortened(&a)),
            valid: errors.is_empty(),
            rule_count,
            errors: errors.iter().take(AUDITED_ERRORS_MAX).map(|e| shortened(e)).collect(),
        };
        push_bounded(&mut self.changes, change, self.changes_max);
    }

    fn record(
        &mut self,
        event: &'static str,
        viewer: &Viewer,
        namespace: Option<&str>,
        reason: &'static str,
        timestamp: f64,
    ) {
        let refusal = Refusal {
            event,
            timestamp,
            cluster: viewer.cluster_id.clone(),
            tenant: viewer.tenant.clone(),
            namespace: namespace.map(shortened),
            reason,
        };
        push_bounded(&mut self.refused, refusal, self.refused_max);
    }

    /// An exact sliding window; only what is let through counts, and not any more once it is a window old.
    fn within_budget(
        &mut self,
        command: &'static str,
        viewer: &Viewer,
        namespace: Option<&str>,
        now: Duration,
    ) -> bool {
        let (requests, window) = (self.limit.requests, self.limit.window);
        if requests == 0 || window.is_zero() {
            return true;
        }
        let by_connection = || format!("connection:{}", viewer.connection);
        let who = match (self.limit.per, &viewer.tenant) {
            (RateLimitPer::Connection, _) | (RateLimitPer::Tenant, None) => by_connection(),
            (RateLimitPer::Tenant | RateLimitPer::Cluster, _) => viewer.name(),
        };
        let namespace = namespace.filter(|_| self.limit.namespace_in_key).map(shortened);
        let mut key = BudgetKey { who, command, namespace };
        let keys_max = self.limit.keys_max;
        if keys_max > 0 && self.budgets.len() >= keys_max && !self.budgets.contains_key(&key) {
            self.budgets.retain(|_, admitted| admitted.back().is_some_and(|at| *at + window > now));
            if self.budgets.len() >= keys_max {
                // Whoever comes too late shares one budget; nobody's budget is reset to make room.
                key = BudgetKey { who: String::new(), command, namespace: None };
                self.shared += 1;
            }
        }
        let admitted = self.budgets.entry(key).or_default();
        while admitted.front().is_some_and(|at| *at + window <= now) {
            admitted.pop_front();
        }
        let within = admitted.len() < requests;
        if within {
            admitted.push_back(now);
        }
        within
    }
}

impl AdminSettings {
    /// May this viewer change policy, resync, or read the audits?
    pub fn permits(&self, fun: &str, viewer: &Viewer) -> Result<(), CallError> {
        let permitted = match self.mode {
            AdminMode::Open => true,
            AdminMode::Loopback => viewer.loopback,
            AdminMode::Certificate => viewer.certified,
            AdminMode::Tenants => self.is_admin_tenant(viewer),
        };
        if permitted { Ok(()) } else { Err(denied(format!("{fun} is for administrators ([admin])"))) }
    }

    /// May this viewer register or remove services in `namespace`?
    pub fn permits_service(&self, fun: &str, namespace: &str, viewer: &Viewer) -> Result<(), CallError> {
        if self.register_namespaces.is_empty() {
            return Ok(());
        }
        let own = viewer.tenant.as_ref().and_then(|t| self.register_namespaces.get(t));
        let permitted = own.is_some_and(|list| list.iter().any(|n| super::filter::at_or_below(namespace, n)));
        if permitted || self.mode == AdminMode::Tenants && self.is_admin_tenant(viewer) {
            return Ok(());
        }
        Err(denied(format!("{fun} denied for namespace {namespace}")))
    }

    fn is_admin_tenant(&self, viewer: &Viewer) -> bool {
        viewer.tenant.as_ref().is_some_and(|t| self.tenants.contains(t))
    }
}

/// 403 `discovery_access_denied`.
pub fn denied(details: String) -> CallError {
    CallError::new(DENIED, "discovery_access_denied", Some(details)).because(Reason::PolicyDenied)
}

impl Refusal {
    fn value(&self) -> Value {
        Reply::new()
            .kept("event", self.event)
            .kept("timestamp", self.timestamp)
            .kept("viewer_cluster_id", &*self.cluster)
            .given("viewer_tenant_id", self.tenant.as_deref())
            .given("namespace", self.namespace.as_deref())
            .kept("allowed", false)
            .kept("reason", self.reason)
            .done()
    }
}

impl PolicyChange {
    fn value(&self) -> Value {
        Reply::new()
            .kept("event", self.event)
            .kept("timestamp", self.timestamp)
            .given("actor", self.actor.as_deref())
            .kept("valid", self.valid)
            .kept("rule_count", self.rule_count)
            .given("errors", texts(&self.errors))
            .done()
    }
}

fn push_bounded<T>(log: &mut VecDeque<T>, entry: T, entries_max: usize) {
    log.push_back(entry);
    while log.len() > entries_max {
        log.pop_front();
    }
}

/// The newest `limit` of a log, oldest first.
fn last<'a, T>(log: &'a VecDeque<T>, payload: &Payload) -> Result<impl Iterator<Item = &'a T>, CallError> {
    let limit = match payload.integer("limit")? {
        None => log.len(),
        Some(n) if n < 1 => return Err(value_error(format_args!("limit must be at least 1, not {n}"))),
        Some(n) => usize::try_from(n).unwrap_or(usize::MAX),
    };
    Ok(log.iter().skip(log.len().saturating_sub(limit)))
}

/// Of one change; the caller was told all of them.
const AUDITED_ERRORS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::super::testing::viewer;
    use super::*;

    fn limited(settings: RateLimitSettings) -> Gate {
        Gate::new(RateLimitSettings { requests: 2, ..settings }, 3, 3)
    }

    fn pass(gate: &mut Gate, viewer: &Viewer, namespace: Option<&str>, seconds: f64) -> bool {
        gate.pass("catalog_query", viewer, namespace, &Policy::default(), Now::at(1e9, seconds)).is_ok()
    }

    #[test]
    fn the_window_slides_and_refusals_do_not_count() {
        let mut gate = limited(RateLimitSettings::default());
        let who = viewer();
        let at = [0.0, 1.0, 2.0, 59.9, 60.0, 60.5, 61.0];
        let admitted: Vec<bool> = at.iter().map(|s| pass(&mut gate, &who, None, *s)).collect();
        assert_eq!(admitted, [true, true, false, false, true, false, true]);
        let audit = gate.refusals(&Payload::default(), Now::at(1e9, 70.0)).unwrap();
        assert_eq!(audit["entries"].as_array().unwrap().len(), 3);
        assert_eq!(audit["entries"][0]["reason"], "rate_limited");
    }

    #[test]
    fn the_text_names_viewer_and_namespace_as_sent() {
        let mut gate = limited(RateLimitSettings::default());
        for _ in 0..2 {
            pass(&mut gate, &viewer(), Some("svc"), 0.0);
        }
        let now = Now::at(1e9, 0.0);
        let error = gate.pass("catalog_query", &viewer(), Some("svc"), &Policy::default(), now).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (429, "discovery_rate_limited"));
        assert_eq!(
            error.details.unwrap(),
            "Rate limit exceeded for catalog_query (viewer=cluster:c1, namespace=svc)"
        );
    }

    #[test]
    fn another_limit_counts_what_was_counted() {
        let mut gate = limited(RateLimitSettings::default());
        assert!(pass(&mut gate, &viewer(), None, 0.0));
        gate.set_limit(RateLimitSettings { requests: 1, ..RateLimitSettings::default() });
        assert!(!pass(&mut gate, &viewer(), None, 1.0));
        let by_cluster = RateLimitSettings { per: RateLimitPer::Cluster, ..RateLimitSettings::default() };
        gate.set_limit(RateLimitSettings { requests: 1, ..by_cluster });
        assert!(pass(&mut gate, &viewer(), None, 2.0));
    }

    #[test]
    fn who_shares_a_budget_is_a_setting() {
        let other = Viewer { connection: 2, ..viewer() };
        let gold = Viewer { tenant: Some("gold".into()), ..viewer() };
        for (per, other_passes, gold_passes) in [
            (RateLimitPer::Connection, true, false),
            (RateLimitPer::Tenant, true, true),
            (RateLimitPer::Cluster, false, true),
        ] {
            let mut gate = limited(RateLimitSettings { per, ..RateLimitSettings::default() });
            assert!(pass(&mut gate, &viewer(), None, 0.0) && pass(&mut gate, &viewer(), None, 0.0));
            assert!(!pass(&mut gate, &viewer(), Some("new"), 0.0), "a namespace buys nothing");
            assert_eq!(pass(&mut gate, &other, None, 0.0), other_passes, "{per:?}");
            assert_eq!(pass(&mut gate, &gold, None, 0.0), gold_passes, "{per:?}");
        }
        let mut gate = limited(RateLimitSettings { namespace_in_key: true, ..RateLimitSettings::default() });
        for namespace in [None, Some("a"), Some("b")] {
            assert!(pass(&mut gate, &viewer(), namespace, 0.0) && pass(&mut gate, &viewer(), namespace, 0.0));
            assert!(!pass(&mut gate, &viewer(), namespace, 0.0));
        }
    }

    #[test]
    fn keys_are_bounded_and_nobody_is_reset() {
        let mut gate = limited(RateLimitSettings { keys_max: 2, ..RateLimitSettings::default() });
        let by = |connection| Viewer { connection, ..viewer() };
        for connection in 1..=2 {
            assert!(
                pass(&mut gate, &by(connection), None, 0.0) && pass(&mut gate, &by(connection), None, 0.0)
            );
        }
        let late: Vec<bool> = (3..=6).map(|c| pass(&mut gate, &by(c), None, 0.0)).collect();
        assert_eq!(late, [true, true, false, false]);
        assert!(!pass(&mut gate, &by(1), None, 1.0));
        assert!(gate.budgets.len() <= 3);
        assert!(pass(&mut gate, &by(7), None, 100.0), "old keys make room");
        assert!(gate.budgets.len() <= 2);
    }

    #[test]
    fn audits_are_bounded_and_a_limit_below_one_is_a_fault() {
        let mut gate = Gate::new(RateLimitSettings::default(), 2, 2);
        let now = Now::at(1e9, 0.0);
        for n in 0..5 {
            gate.record_policy("apply", Some(format!("a{n}")), 1, &[], now);
        }
        let limit = |n: i64| Payload::from_members(serde_json::Map::from_iter([("limit".into(), n.into())]));
        assert_eq!(gate.policy_changes(&Payload::default(), now).unwrap()["entries"][0]["actor"], "a3");
        assert_eq!(gate.policy_changes(&limit(1), now).unwrap()["entries"][0]["actor"], "a4");
        assert!(
            gate.policy_changes(&limit(0), now).unwrap_err().details.unwrap().to_string().contains("limit")
        );
        let none = Gate::new(RateLimitSettings::default(), 0, 0);
        assert_eq!(none.refusals(&limit(3), now).unwrap()["entries"], Value::Array(vec![]));
    }

    #[test]
    fn administration_can_be_closed() {
        let gold = Viewer { tenant: Some("gold".into()), ..viewer() };
        let tenants = |mode| AdminSettings { mode, tenants: vec!["gold".into()], ..AdminSettings::default() };
        assert!(tenants(AdminMode::Open).permits("f", &viewer()).is_ok());
        assert_eq!(tenants(AdminMode::Tenants).permits("f", &viewer()).unwrap_err().code, 403);
        assert!(tenants(AdminMode::Tenants).permits("f", &gold).is_ok());
        assert!(tenants(AdminMode::Loopback).permits("f", &gold).is_err());
        assert!(tenants(AdminMode::Loopback).permits("f", &Viewer { loopback: true, ..viewer() }).is_ok());
        assert!(
            tenants(AdminMode::Certificate).permits("f", &Viewer { certified: true, ..viewer() }).is_ok()
        );
        let bound = AdminSettings {
            register_namespaces: BTreeMap::from([("gold".into(), vec!["gold".into(), "shared.gold".into()])]),
            ..AdminSettings::default()
        };
        for (namespace, allowed) in [
            ("gold", true),
            ("gold.deep", true),
            ("shared.gold", true),
            ("goldx", false),
            ("shared", false),
            ("", false),
        ] {
            assert_eq!(
                bound.permits_service("dns_register", namespace, &gold).is_ok(),
                allowed,
                "{namespace}"
            );
        }
        assert!(bound.permits_service("dns_register", "gold", &viewer()).is_err());
    }
}
