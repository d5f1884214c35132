//! The monitoring endpoint: whether the node lives, whether it should be given work, its metrics and its routes, over HTTP.
//!
//! Promises: nothing is gathered before somebody asks, and what is read is counters and sizes. It goes on answering
//! while the node stops. Where a token is configured, nothing but the two probes is shown without it. It never
//! changes anything.

mod metrics;
mod routing;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};

use super::hub::Hub;
use super::start::bind_fault;
use crate::config::{Cors, Monitoring, Secret, Settings, url_of};
use crate::core::reason::Reason;
use crate::drive::http::{HttpEnd, HttpTimes, Request, Response, serve_http};
use crate::drive::link::Protocol;
use crate::drive::listen::{Accepted, EndpointClass, EndpointSettings, Listener};
use crate::drive::passed::Passed;

/// A page and who makes it.
struct Page {
    path: &'static str,
    /// Shown without a token: load balancers and supervisors have none.
    is_probe: bool,
    answer: fn(&Hub, &Request) -> Response,
}

/// Every page there is.
const PAGES: &[Page] = &[
    Page { path: "/healthz", is_probe: true, answer: alive },
    Page { path: "/readyz", is_probe: true, answer: ready },
    Page { path: "/metrics/prometheus", is_probe: false, answer: prometheus },
    Page { path: "/routing/trace", is_probe: false, answer: routing::trace },
    Page { path: "/routing/table", is_probe: false, answer: routing::table },
    Page { path: "/routing/link-state", is_probe: false, answer: routing::link_state },
];

/// Binds where monitoring is on; the error is one line that names the key and the remedy.
pub fn bind(settings: &Settings, passed: &mut Passed) -> Result<Option<Listener>, String> {
    let Monitoring { enabled, host, port, port_fallback, .. } = &settings.monitoring;
    if !enabled {
        return Ok(None);
    }
    let endpoint = |port| EndpointSettings {
        // A bare socket: HTTP is spoken over what was accepted.
        protocol: Protocol::Tcp,
        host: host.clone(),
        port,
        class: EndpointClass::Any,
        tls: None,
    };
    let bound = match Listener::bind_or_take(&endpoint(*port), Some("monitoring"), passed) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && *port_fallback => {
            log::warn!("monitoring.port: {port} is in use; monitoring.port_fallback takes a free one");
            Listener::bind(&endpoint(0))
        }
        bound => bound,
    };
    bound.map(Some).map_err(|error| bind_fault("monitoring.port", host, *port, &error))
}

/// The URL that is told to others.
pub fn url(settings: &Settings, listener: &Listener) -> String {
    url_of("http", &settings.monitoring.host, listener.local_addr().port())
}

/// Accepts connections until the process ends.
pub async fn accept(hub: Arc<Hub>, listener: Listener) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let accepted = listener.accept().await;
        if open.load(Relaxed) >= CONNECTIONS_MAX {
            let text = format!("{CONNECTIONS_MAX} connections to the monitoring endpoint are open");
            hub.refused(Reason::MonitoringConnectionsLimit, &accepted.address.to_string(), &text);
            continue;
        }
        open.fetch_add(1, Relaxed);
        let (hub, open) = (hub.clone(), open.clone());
        let executor = hub.executor.clone();
        executor
            .spawn(async move {
                serve(&hub, accepted).await;
                open.fetch_sub(1, Relaxed);
            })
            .detach();
    }
}

async fn serve(hub: &Hub, accepted: Accepted) {
    let peer = accepted.address.to_string();
    match serve_http(accepted.stream, HttpTimes::default(), |request| answer(hub, &peer, request)).await {
        HttpEnd::Left => {}
        HttpEnd::Silent => hub.refused(Reason::MonitoringTimeout, &peer, "no request or no reader in time"),
        HttpEnd::Malformed(text) => hub.refused(Reason::MonitoringMalformed, &peer, &text),
        HttpEnd::Failed(text) => log::debug!(peer = peer.as_str(); "monitoring: connection ended: {text}"),
    }
}

fn answer(hub: &Hub, peer: &str, request: &Request) -> Response {
    let settings = hub.settings();
    let Monitoring { token, cors, .. } = &settings.monitoring;
    let mut response = if cors.enabled && is_preflight(request) {
        // A browser sends no token with it.
        status_only(StatusCode::NO_CONTENT)
    } else {
        decide(hub, peer, token, request)
    };
    if cors.enabled {
        share(cors, request.headers(), response.headers_mut());
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn decide(hub: &Hub, peer: &str, token: &Secret, request: &Request) -> Response {
    let path = request.uri().path();
    let page = PAGES.iter().find(|page| page.path == path);
    let is_probe = page.is_some_and(|page| page.is_probe);
    if !is_probe && !token.is_empty() && !shows(request.headers(), token) {
        hub.refused(Reason::MonitoringUnauthorized, peer, "a page was asked for without its token");
        let mut response =
            error(hub, StatusCode::UNAUTHORIZED, "this page needs the token of monitoring.token");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    }
    let Some(page) = page else {
        let paths: Vec<&str> = PAGES.iter().map(|page| page.path).collect();
        return error(hub, StatusCode::NOT_FOUND, &format!("no such page; there are {}", paths.join(", ")));
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = error(hub, StatusCode::METHOD_NOT_ALLOWED, "this page knows GET and HEAD");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    (page.answer)(hub, request)
}

fn alive(hub: &Hub, _: &Request) -> Response {
    json(StatusCode::OK, &serde_json::json!({ "status": "ok", "timestamp": hub.clock.now().wall }))
}

/// The listeners are bound before this endpoint answers, so that they do not speak against it.
fn ready(hub: &Hub, request: &Request) -> Response {
    match hub.unready().first() {
        Some(fault) => error(hub, StatusCode::SERVICE_UNAVAILABLE, fault),
        None => alive(hub, request),
    }
}

fn prometheus(hub: &Hub, _: &Request) -> Response {
    if !hub.settings().monitoring.prometheus {
        return error(hub, StatusCode::NOT_FOUND, "monitoring.prometheus is off");
    }
    let mut response = Response::new(metrics::render(hub));
    let form = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, form);
    response
}

/// Whether the headers show this token. The comparison of secrets takes the same time wherever they differ.
fn shows(headers: &HeaderMap, token: &Secret) -> bool {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    shown
        .and_then(|shown| shown.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .is_some_and(|(_, shown)| Secret::new(shown.trim().to_owned()) == *token)
}

/// A browser asks whether a page of another origin may send its request.
fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    *request.method() == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Lets pages of the configured origins read an answer.
fn share(cors: &Cors, asked: &HeaderMap, headers: &mut HeaderMap) {
    let origin = if cors.origins.iter().any(|origin| origin == "*") {
        Some(HeaderValue::from_static("*"))
    } else {
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        let is_listed =
            |shown: &&HeaderValue| cors.origins.iter().any(|origin| origin.as_bytes() == shown.as_bytes());
        asked.get(header::ORIGIN).filter(is_listed).cloned()
    };
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let methods = HeaderValue::from_static("GET, HEAD, OPTIONS");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        let names = HeaderValue::from_static("Authorization, Content-Type");
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
}

fn error(hub: &Hub, status: StatusCode, message: &str) -> Response {
    let now = hub.clock.now().wall;
    json(status, &serde_json::json!({ "status": "error", "message": message, "timestamp": now }))
}

fn json(status: StatusCode, document: &serde_json::Value) -> Response {
    let mut response = Response::new(document.to_string());
    *response.status_mut() = status;
    let form = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, form);
    response
}

fn status_only(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

/// Connections at a time; scrapers and probes need few.
const CONNECTIONS_MAX: usize = 64;
