//! The 23 functions, each from its arguments to its outcome: read the payload, pass the gate, look, cut the page.

use serde_json::Value;
use serde_json::value::RawValue;

use super::access::{Sight, Viewer, denied};
use super::functions::{self, Describe, Mode};
use super::page::{Listing, Page, Window};
use super::payload::{Payload, kind_of, type_error};
use super::policy::{Policy, ReadRules, read_rules, rules_value};
use super::query::{CatalogQuery, Kind, MapQuery, Query};
use super::reply::{Reply, texts};
use super::resolver::{Asked, Known, Resolver, disabled_resync, disabled_stats};
use super::services::Registration;
use super::summary::SummaryQuery;
use super::watch::{DELTA_TOPIC, SUMMARY_TOPIC, Watch};
use super::{Discovery, Outcome, World, context, nodes};
use crate::core::catalog::Scope;
use crate::core::error::CallError;

impl Discovery {
    /// Answers one of [`super::FORCED_LOCAL`]; every other name is not found.
    pub fn call(
        &mut self,
        fun: &str,
        args: &RawValue,
        kwargs: &RawValue,
        viewer: &Viewer,
        world: World<'_>,
    ) -> Result<Outcome, CallError> {
        match fun {
            "cluster_map" => {
                Payload::none(fun, args, kwargs)?;
                let rows = Query::ClusterMap(MapQuery::read(&Payload::default())?).run(&context(
                    None,
                    &self.policy,
                    viewer,
                    &world,
                ));
                return Ok(Outcome::Value(nodes::cluster_map(&rows, &world)));
            }
            "resolver_cache_stats" | "resolver_resync" | "namespace_policy_export" => {
                Payload::ignore(fun, args, kwargs)?;
                return self.without_payload(fun, viewer, world).map(Outcome::Value);
            }
            _ => {}
        }
        let payload = Payload::read(fun, args, kwargs)?;
        // Who administers is never a matter of claims: those functions get the viewer as it is bound.
        let bound = viewer;
        let viewer = viewer.effective(&payload, &self.tenants)?;
        match fun {
            "list_peers" => nodes::list_peers(&payload, &world).map(Outcome::Value),
            "cluster_map_v2" => self.cluster_map_v2(&payload, &viewer, world).map(Outcome::Value),
            "catalog_query" => self.catalog_query(&payload, &viewer, world).map(Outcome::Value),
            "dns_list" | "dns_describe" => self.dns_list(fun, &payload, &viewer, world).map(Outcome::Value),
            "rpc_list" => self.rpc_list(&payload, &viewer, world).map(Outcome::Value),
            "rpc_report" => self.rpc_report(&payload, &viewer, world).map(Outcome::Value),
            "rpc_describe" => self.rpc_describe(&payload, &viewer, world),
            "rpc_describe_local" => self
                .rpc_describe_local(&Describe::read(&payload)?, &payload, &viewer, world)
                .map(Outcome::Value),
            "summary_query" => self.summary_query(&payload, &viewer, world).map(Outcome::Value),
            "catalog_watch" => {
                self.watch("catalog_watch", DELTA_TOPIC, &payload, &viewer, world).map(Outcome::Value)
            }
            "summary_watch" => {
                self.watch("summary_watch", SUMMARY_TOPIC, &payload, &viewer, world).map(Outcome::Value)
            }
            "dns_register" => self.dns_register(&payload, bound, world),
            "dns_unregister" => self.dns_unregister(&payload, bound, world),
            "namespace_status" => self.namespace_status(&payload, &viewer, world).map(Outcome::Value),
            "namespace_policy_validate" => self.policy_validate(&payload, bound, world).map(Outcome::Value),
            "namespace_policy_apply" => self.policy_apply(&payload, bound, world),
            "namespace_policy_audit" => {
                self.admin.permits(fun, bound)?;
                self.gate.policy_changes(&payload, world.now).map(Outcome::Value)
            }
            "discovery_access_audit" => {
                self.admin.permits(fun, bound)?;
                self.gate.refusals(&payload, world.now).map(Outcome::Value)
            }
            _ => Err(CallError::not_found(fun)),
        }
    }

    fn without_payload(&mut self, fun: &str, viewer: &Viewer, world: World<'_>) -> Result<Value, CallError> {
        let now = world.now;
        match (fun, &mut self.resolver) {
            ("resolver_cache_stats", Some(resolver)) => Ok(resolver.cache_stats(now)),
            ("resolver_cache_stats", None) => Ok(disabled_stats(now)),
            ("resolver_resync", resolver) => {
                self.admin.permits(fun, viewer)?;
                Ok(resolver.as_mut().map_or_else(|| disabled_resync(now), |r| r.resync(world.catalog, now)))
            }
            _ => Ok(Reply::new()
                .kept("enabled", self.policy.enabled())
                .kept("default_allow", self.policy.default_allow())
                .kept("generated_at", now.wall)
                .kept("rule_count", self.policy.rules().len())
                .kept("rules", rules_value(self.policy.rules()))
                .done()),
        }
    }

    fn cluster_map_v2(
        &mut self,
        payload: &Payload,
        viewer: &Viewer,
        world: World<'_>,
    ) -> Result<Value, CallError> {
        let query = MapQuery::read(payload)?;
        let window = Window::read(payload, &self.page)?;
        let named = query.namespace_filter.clone();
        let page = match self.pass("cluster_map_v2", viewer, named.as_deref(), &world)? {
            Sight::Hidden => Page::empty(&world),
            Sight::Shown => {
                let question = payload.question("cluster_map_v2");
                self.page_of(question, window, Query::ClusterMap(query), viewer, &world, |rows| rows)
            }
        };
        Ok(nodes::cluster_map_page(&page, &world))
    }

    fn catalog_query(
        &mut self,
        payload: &Payload,
        viewer: &Viewer,
        world: World<'_>,
    ) -> Result<Value, CallError> {
        let query = CatalogQuery::read(payload)?;
        let kind = query.kind;
        let page = self.catalog_page("catalog_query", query, payload, viewer, &world)?;
        Ok(Reply::new().kept("entry_type", kind.word()).with_items(&page))
    }

    fn dns_list(
        &mut self,
        fun: &str,
        payload: &Payload,
        viewer: &Viewer,
        world: World<'_>,
    ) -> Result<Value, CallError> {
        let query = CatalogQuery::read_services(payload)?;
        let page = self.catalog_page(fun, query, payload, viewer, &world)?;
        Ok(Reply::new().with_items(&page))
    }

    fn rpc_list(&mut self, payload: &Payload, viewer: &Viewer, world: World<'_>) -> Result<Value, CallError> {
        let query = CatalogQuery::read_functions(payload)?;
        Ok(functions::listed(&self.catalog_page("rpc_list", query, payload, viewer, &world)?))
    }

    fn rpc_report(
        &mut self,
        payload: &Payload,
        viewer: &Viewer,
        world: World<'_>,
    ) -> Result<Value, CallError> {
        let query = CatalogQuery {
            namespace: payload.trimmed("namespace")?,
            scope: payload.scope("scope")?,
            ..CatalogQuery::all(Kind::Functions)
        };
        match self.pass("catalog_query", viewer, query.namespace.as_deref(), &world)? {
            Sight::Hidden => Ok(functions::report(&[], world.now.wall)),
            Sight::Shown => {
                let listing =
                    listing(&mut self.resolver, &self.policy, Query::Catalog(query.into()), viewer, &world);
                Ok(functions::report(&listing.rows, listing.generated_at))
            }
        }
    }

    fn rpc_describe(
        &mut self,
        payload: &Payload,
        viewer: &Viewer,
        world: World<'_>,
    ) -> Result<Outcome, CallError> {
        let describe = Describe::read(payload)?;
        if describe.mode == Mode::Local {
            return self.rpc_describe_local(&describe, payload, viewer, world).map(Outcome::Value);
        }
        let window = Window::read(payload, &self.page)?;
        let query = describe.query.clone();
        let page = match self.pass("catalog_query", viewer, query.namespace.as_deref(), &world)? {
            Sight::Hidden => Page::empty(&world),
            Sight::Shown => {
                let question = payload.question("rpc_describe");
                let limit = |listing: Listing| describe.limit_nodes(listing);
                self.page_of(question, window, Query::Catalog(query.into()), viewer, &world, limit)
            }
        };
        match describe.answer(page, &self.registry, world.node) {
            Ok(value) => Ok(Outcome::Value(value)),
            Err(plan) => Ok(Outcome::Scatter(plan)),
        }
    }

    fn rpc_describe_local(
        &mut self,
        describe: &Describe,
        payload: &Payload,
        viewer: &Viewer,
        world: World<'_>,
    ) -> Result<Value, CallError> {
        let window = Window::read(payload, &self.page)?;
        let namespace = describe.query.namespace.as_deref();
        let page = match self.pass("rpc_describe", viewer, namespace, &world)? {
            Sight::Hidden => Page::empty(&world),
            Sight::Shown => {
                let Discovery { pages, registry, policy, .. } = self;
                pages.cut(viewer, payload.question("rpc_describe_local"), window, world.now, || Listing {
                    rows: functions::local_rows(registry, &describe.query, world.node, viewer, policy).into(),
                    generated_at: world.now.wall,
                })
            }
        };
        Ok(functions::local_answer(page, describe.full, world.node))
    }

    fn summary_query(
        &mut self,
        payload: &Payload,
        viewer: &Viewer,
        world: World<'_>,
    ) -> Result<Value, CallError> {
        let query = SummaryQuery::read(payload)?;
        let window = Window::read(payload, &self.page)?;
        let sight = self.pass("summary_query", viewer, query.namespace.as_deref(), &world)?;
        let Discovery { pages, resolver, policy, summaries, .. } = self;
        let context = context(resolver.as_ref(), policy, viewer, &world);
        let page = match sight {
            Sight::Hidden => Page::empty(&world),
            Sight::Shown => pages.cut(viewer, payload.question("summary_query"), window, world.now, || {
                let wide = query.scope.is_some_and(|s| s >= Scope::Region);
                let rows = match summaries {
                    Some(cache) if wide => query.received(cache, &context),
                    _ => query.summarised(&context),
                };
                Listing { rows: rows.into(), generated_at: world.now.wall }
            }),
        };
        let ingress = query.ingress(&page.rows, &context, &world);
        let items: Vec<Value> = page.rows.iter().map(super::row::Row::value).collect();
        Ok(Reply::new()
            .kept("generated_at", page.generated_at)
            .kept("items", items)
            .given("ingress", ingress)
            .given("next_page_token", page.next_page_token)
            .done())
    }

    fn watch(
        &mut self,
        command: &'static str,
        base: &'static str,
        payload: &Payload,
        viewer: &Viewer,
        world: World<'_>,
    ) -> Result<Value, CallError> {
        let watch = Watch::read(base, payload)?;
        match self.pass(command, viewer, watch.namespace(), &world)? {
            Sight::Shown => Ok(watch.answer(world.node, world.now)),
            Sight::Hidden => {
                let namespace = watch.namespace().unwrap_or_default();
                Err(denied(format!("{command} denied for namespace {namespace}")))
            }
        }
    }

    fn dns_register(
        &mut self,
        payload: &Payload,
        viewer: &Viewer,
        world: World<'_>,
    ) -> Result<Outcome, CallError> {
        let registration = Registration::read(payload)?;
        self.admin.permits_service("dns_register", registration.namespace(), viewer)?;
        let value = registration.answer(self.ids.uuid(), world.now);
        let entry = self.services.register(registration, world.node, world.now)?;
        Ok(Outcome::Services { value, upsert: vec![entry], remove: Vec::new() })
    }

    fn dns_unregister(
        &mut self,
        payload: &Payload,
        viewer: &Viewer,
        world: World<'_>,
    ) -> Result<Outcome, CallError> {
        let namespace = payload.text("namespace")?.unwrap_or_default();
        self.admin.permits_service("dns_unregister", &namespace, viewer)?;
        let removed = self.services.unregister(payload, world.node)?;
        let value =
            Reply::new().kept("removed", removed.is_some()).kept("generated_at", world.now.wall).done();
        Ok(Outcome::Services { value, upsert: Vec::new(), remove: removed.into_iter().collect() })
    }

    fn namespace_status(
        &mut self,
        payload: &Payload,
        viewer: &Viewer,
        world: World<'_>,
    ) -> Result<Value, CallError> {
        let namespace = payload.trimmed("namespace")?.unwrap_or_default();
        let named = Some(namespace.as_str()).filter(|n| !n.is_empty());
        self.pass("namespace_status", viewer, named, &world)?;
        let verdict = self.policy.viewer(&namespace, &viewer.cluster_id, viewer.tenant.as_deref());
        let exported = self.exports.told(&namespace);
        Ok(Reply::new()
            .given("namespace", namespace.as_str())
            .kept("generated_at", world.now.wall)
            .kept("viewer_cluster_id", &*viewer.cluster_id)
            .kept("viewer_tenant_id", viewer.tenant.as_deref())
            .kept("allowed", verdict.allowed)
            .kept("reason", verdict.reason)
            .given("rule", verdict.rule.map(|r| r.value()))
            .given("summaries_exported", exported.map(|(count, _)| count))
            .given("last_export_at", exported.map(|(_, at)| at))
            .done())
    }

    fn policy_validate(
        &mut self,
        payload: &Payload,
        viewer: &Viewer,
        world: World<'_>,
    ) -> Result<Value, CallError> {
        let read = self.rules_of(payload)?;
        self.gate.record_policy("validate", actor(payload, viewer)?, read.count, &read.errors, world.now);
        Ok(Reply::new()
            .kept("valid", read.errors.is_empty())
            .kept("generated_at", world.now.wall)
            .kept("rule_count", read.count)
            .kept("errors", texts(&read.errors))
            .done())
    }

    /// All or nothing: with any fault the policy in force stays as it is.
    fn policy_apply(
        &mut self,
        payload: &Payload,
        viewer: &Viewer,
        world: World<'_>,
    ) -> Result<Outcome, CallError> {
        self.admin.permits("namespace_policy_apply", viewer)?;
        let read = self.rules_of(payload)?;
        if read.foreign_items {
            return Err(type_error(read.errors.first().map_or("rules", |e| e)));
        }
        let enabled = payload.switch("enabled")?.unwrap_or(self.policy.enabled());
        let default_allow = payload.switch("default_allow")?.unwrap_or(self.policy.default_allow());
        self.gate.record_policy("apply", actor(payload, viewer)?, read.count, &read.errors, world.now);
        let valid = read.errors.is_empty();
        let value = Reply::new()
            .kept("applied", valid)
            .kept("valid", valid)
            .kept("generated_at", world.now.wall)
            .kept("rule_count", read.count)
            .kept("errors", texts(&read.errors))
            .done();
        if !valid {
            return Ok(Outcome::Value(value));
        }
        let former = self.set_policy(Policy::new(enabled, default_allow, read.rules));
        Ok(Outcome::PolicyChanged { value, former })
    }

    /// The rules of a request, or those in force where it has none.
    fn rules_of(&self, payload: &Payload) -> Result<ReadRules, CallError> {
        match payload.get("rules") {
            Some(rules) => read_rules(rules).ok_or_else(|| {
                type_error(format_args!("rules is not a list of rules but {}", kind_of(rules)))
            }),
            None => {
                let rules = self.policy.rules().to_vec();
                let errors = super::policy::faults(&rules);
                Ok(ReadRules { count: rules.len(), rules, errors, foreign_items: false })
            }
        }
    }

    fn pass(
        &mut self,
        command: &'static str,
        viewer: &Viewer,
        namespace: Option<&str>,
        world: &World<'_>,
    ) -> Result<Sight, CallError> {
        self.gate.pass(command, viewer, namespace, &self.policy, world.now)
    }

    /// A page of what `catalog_query` is the name for, whichever function asked.
    fn catalog_page(
        &mut self,
        fun: &str,
        query: CatalogQuery,
        payload: &Payload,
        viewer: &Viewer,
        world: &World<'_>,
    ) -> Result<Page, CallError> {
        let window = Window::read(payload, &self.page)?;
        let namespace = query.namespace.clone();
        Ok(match self.pass("catalog_query", viewer, namespace.as_deref(), world)? {
            Sight::Hidden => Page::empty(world),
            Sight::Shown => {
                let question = payload.question(fun);
                self.page_of(question, window, Query::Catalog(query.into()), viewer, world, |rows| rows)
            }
        })
    }

    fn page_of(
        &mut self,
        question: String,
        window: Window,
        query: Query,
        viewer: &Viewer,
        world: &World<'_>,
        narrow: impl FnOnce(Listing) -> Listing,
    ) -> Page {
        let Discovery { pages, resolver, policy, .. } = self;
        pages.cut(viewer, question, window, world.now, || {
            narrow(listing(resolver, policy, query, viewer, world))
        })
    }
}

impl Page {
    fn empty(world: &World<'_>) -> Page {
        Page { rows: Vec::new(), generated_at: world.now.wall, next_page_token: None }
    }
}

impl Reply {
    fn with_items(self, page: &Page) -> Value {
        let items: Vec<Value> = page.rows.iter().map(super::row::Row::value).collect();
        self.kept("generated_at", page.generated_at)
            .kept("items", items)
            .given("next_page_token", page.next_page_token.clone())
            .done()
    }
}

/// The list that answers a query: of a resolver with its cache, else of the main catalog.
fn listing(
    resolver: &mut Option<Resolver>,
    policy: &Policy,
    query: Query,
    viewer: &Viewer,
    world: &World<'_>,
) -> Listing {
    let computed = |resolver: Option<&Resolver>, query: &Query| Listing {
        rows: query.run(&context(resolver, policy, viewer, world)).into(),
        generated_at: world.now.wall,
    };
    let Some(resolver) = resolver else { return computed(None, &query) };
    let asked = Asked::new(viewer, query);
    match resolver.look(&asked, world.now.mono) {
        Known::Fresh(listing) | Known::Stale(listing) => listing,
        Known::Nothing => {
            let listing = computed(Some(resolver), &asked.query);
            resolver.keep(asked, listing.clone(), world.now.mono);
            listing
        }
    }
}

/// Who is behind a change: the tenant of the connection, else what the request says.
fn actor(payload: &Payload, viewer: &Viewer) -> Result<Option<String>, CallError> {
    match &viewer.tenant {
        Some(tenant) => Ok(Some(tenant.to_string())),
        None => payload.text("actor"),
    }
}

#[cfg(test)]
mod tests;
