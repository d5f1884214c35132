//! The start of a node: sockets are bound before anything is announced, and what cannot work says which key is at
//! fault.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smol::{Executor, Timer};

use super::control::{self, Control};
use super::functions::{Local, LocalFunction, LocalFunctions};
use super::hub::{Hub, Parts, lock};
use super::keeper::{self, Keeper};
use super::policy_file::{Kept, PolicyFile};
use super::route_keys::{self, RouteKeys};
use super::{discover, fabric_settings, monitoring, serve, translate};
use crate::config::{Loaded, ProviderType, Settings, url_of};
use crate::core::catalog::{FunctionVersion, IDEMPOTENT_TAG, Scope, Text, TransportEndpoint};
use crate::core::discovery::{Discovery, FunctionDeclaration, Policy};
use crate::core::fabric::explain;
use crate::core::fabric::{Event, Fabric};
use crate::drive::clock::Clock;
use crate::drive::deadlines::Deadlines;
use crate::drive::link::Protocol;
use crate::drive::listen::{EndpointClass, EndpointSettings, Listener};
use crate::drive::passed::Passed;
use crate::drive::supervisor::Supervisor;
use crate::drive::tls::{TlsIdentity, TlsTrust};
use crate::drive::worker::{WorkerEvent, WorkerLimits, Workers};

/// A node that runs.
pub struct Started {
    pub hub: Arc<Hub>,
    pub tls: Tls,
    pub loaded: Loaded,
}

/// What is read again when certificates change.
#[derive(Default, Clone)]
pub struct Tls {
    pub identity: Option<Arc<TlsIdentity>>,
    pub trust: Option<Arc<TlsTrust>>,
}

/// What a node says of itself in the catalog.
pub struct Place {
    pub resources: Vec<Text>,
    pub capabilities: Vec<Text>,
    pub tags: Vec<Text>,
    pub scope: Scope,
    pub advertised_urls: Vec<Text>,
    pub transport_endpoints: Vec<TransportEndpoint>,
    /// Of those: where its own listeners are dialled.
    pub listening: Vec<TransportEndpoint>,
}

/// Why a node does not start: a line that names the key and the remedy, or several.
pub enum Refusal {
    /// Only a change of the configuration, or of a file that it names, helps.
    Configuration(String),
    Failed(String),
}

impl From<String> for Refusal {
    fn from(text: String) -> Refusal {
        Refusal::Failed(text)
    }
}

/// Binds, assembles and starts all tasks.
pub async fn start(
    executor: &Arc<Executor<'static>>,
    loaded: Loaded,
    supervisor: &Arc<Supervisor>,
) -> Result<Started, Refusal> {
    let settings = Arc::new(loaded.settings.clone());
    let clock = Clock::start();
    let (policy_file, kept_policy) = kept_policy(&loaded)?;
    let (keeper, kept) = Keeper::open(&settings, clock.now())?;
    let tls = load_tls(&settings)?;
    let mut passed = Passed::of_process()?;
    let main = bind_main(&settings, &mut passed)?;
    let mut listeners = vec![main];
    for (index, endpoint) in settings.listen.endpoint.iter().enumerate() {
        let wanted = EndpointSettings {
            protocol: translate::protocol(endpoint.protocol),
            host: endpoint.host.clone(),
            port: endpoint.port,
            class: translate::class(endpoint.class),
            tls: tls.identity.clone(),
        };
        let name = format!("listen.endpoint[{index}]");
        listeners.push(
            Listener::bind_or_take(&wanted, Some(&name), &mut passed).map_err(|error| {
                bind_fault(&format!("{name}.port"), &endpoint.host, endpoint.port, &error)
            })?,
        );
    }
    let watched = monitoring::bind(&settings, &mut passed)?;
    passed.refuse_rest()?;
    let port = listeners.first().map(|l| l.local_addr().port()).unwrap_or_default();
    let node_id = Text::from(settings.node_id(port));
    let place = place(&settings, &node_id, port, &listeners);
    let instance_id = Text::from(fresh_id());

    let now = clock.now();
    let mut discovery = Discovery::new(translate::discovery(&settings, seed()));
    if let Some(policy) = kept_policy {
        discovery.set_policy(policy);
    }
    let specs = translate::workers(&settings);
    discovery.set_functions(declarations(&settings)?).map_err(|(_, text)| format!("[[function]]: {text}"))?;
    let bridging = fabric_settings::bridging(&loaded).map_err(|f| Refusal::Configuration(f.to_string()))?;
    let route_keys = RouteKeys::new(bridging.trust.keys.clone());
    let fabric = translate::fabric(&settings, &node_id, &instance_id, &place, bridging, seed());
    let fabric = Fabric::new(fabric, now);
    let local = discover::local_node(&settings, &node_id, &place);
    let functions = discovery.registry().entries(&local, now.wall);
    let (mut control, moved) =
        Control::new(fabric, discovery, local, policy_file, tls.trust.clone(), instance_id.clone());

    control.route_keys = route_keys;
    let limits = WorkerLimits {
        message_bytes_max: settings.listen.max_message as usize,
        // What waits has a place among limits.pending_calls_max, which may change while the node runs.
        waiting_max: usize::MAX,
    };
    let noted: Arc<std::sync::OnceLock<std::sync::Weak<Hub>>> = Arc::default();
    let report = noted.clone();
    let workers = Workers::start(specs, limits, executor, move |event| {
        if let (WorkerEvent::Noted { reason, count }, Some(hub)) =
            (event, report.get().and_then(std::sync::Weak::upgrade))
        {
            hub.counters.count_many(reason, count);
        }
    });
    let table = local_functions(&node_id, &control.discovery, &workers);
    let (deadlines, waking) = Deadlines::new(clock);
    executor.spawn(waking).detach();
    let hub = Hub::new(Parts {
        clock,
        deadlines,
        executor: executor.clone(),
        supervisor: supervisor.clone(),
        settings: settings.clone(),
        node_id: node_id.clone(),
        instance_id,
        listening: place.listening,
        control,
        functions: table,
        workers,
        keeper,
    });
    // Set once, here.
    let _ = noted.set(Arc::downgrade(&hub));

    hub.restore(kept);
    hub.control(Event::LocalFunctions(functions.iter().map(|f| (**f).clone()).collect()));
    {
        let mut control = lock(&hub.control);
        let Control { fabric, discovery, .. } = &mut *control;
        discovery.start(fabric.catalog(), hub.clock.now());
    }
    hub.look_for_peers(&settings.peers.discover);
    hub.subscribe_to_summaries();
    executor.spawn(control::keep_time(hub.clone(), moved)).detach();
    if let Some((source, interval)) = fabric_settings::key_source(&settings, tls.trust.clone()) {
        let told = hub.clone();
        executor
            .spawn(route_keys::refresh(source, interval, move |keys| told.provide_route_keys(keys)))
            .detach();
    }
    executor.spawn(keeper::keep(hub.clone())).detach();
    write_port_file("listen.port_file", &settings.listen.port_file, port)?;
    if let Some(listener) = &watched {
        let port = listener.local_addr().port();
        write_port_file("monitoring.port_file", &settings.monitoring.port_file, port)?;
    }
    announce(&settings, port, watched.as_ref());
    for listener in listeners {
        log::info!("listening on {} ({})", listener.local_addr(), listener.settings().protocol);
        executor.spawn(serve::accept(hub.clone(), listener)).detach();
    }
    if let Some(listener) = watched {
        log::info!("monitoring on {}", listener.local_addr());
        executor.spawn(monitoring::accept(hub.clone(), listener)).detach();
    }
    log::info!(node_id = &*node_id, cluster = settings.node.cluster_id.as_str(); "ready in {:.1} ms", clock.now().mono.as_secs_f64() * 1000.0);
    Ok(Started { hub, tls, loaded })
}

/// The lines that scripts read (cli-config 4.5).
fn announce(settings: &Settings, port: u16, watched: Option<&Listener>) {
    let url = url_of("ws", &settings.listen.host, port);
    let mut out = std::io::stdout().lock();
    // A closed stdout is no reason not to serve.
    let _ = writeln!(out, "Server endpoint: {url}\nMPREG_URL={url}");
    if let Some(listener) = watched {
        let url = monitoring::url(settings, listener);
        let _ = writeln!(out, "Monitoring endpoint: {url}\nMPREG_MONITORING_URL={url}");
    }
    let _ = out.flush();
}

fn load_tls(settings: &Settings) -> Result<Tls, String> {
    let wanted = translate::tls(settings);
    let needs_identity = settings.listen.endpoint.iter().any(|e| translate::protocol(e.protocol).is_tls());
    let identity = if wanted.cert_file.is_some() {
        Some(Arc::new(TlsIdentity::load(wanted.clone()).map_err(|e| e.to_string())?))
    } else if needs_identity {
        return Err("listen.endpoint: wss and tcps need tls.cert_file and tls.key_file".into());
    } else {
        None
    };
    let trust = if identity.is_some() || dials_tls(settings) || wanted.ca_file.is_some() {
        Some(Arc::new(TlsTrust::load(wanted).map_err(|e| e.to_string())?))
    } else {
        None
    };
    Ok(Tls { identity, trust })
}

/// Whether a static peer is dialled with TLS, one that is found may be, or keys come from a URL.
pub fn dials_tls(settings: &Settings) -> bool {
    let provider = &settings.route.security.provider;
    let fetches = !settings.peers.discover.is_empty() || provider.r#type == ProviderType::Http;
    fetches
        || settings.peers.r#static.iter().chain([&settings.peers.connect]).any(|url| {
            url.split_once("://")
                .and_then(|(scheme, _)| Protocol::from_name(scheme))
                .is_some_and(Protocol::is_tls)
        })
}

/// Where policies are kept that are applied by RPC, and the one of the last run, which wins over the configuration.
fn kept_policy(loaded: &Loaded) -> Result<(Option<PolicyFile>, Option<Policy>), String> {
    let settings = &loaded.settings;
    if !settings.discovery.policy.persist {
        return Ok((None, None));
    }
    let file = PolicyFile::new(&settings.node.state_dir);
    // Where nobody asked for policies, a directory of somebody else is no reason not to start.
    if settings.discovery.policy.enabled || loaded.origin("discovery.policy.persist").is_written() {
        file.check()?;
    }
    let policy = match file.load()? {
        Kept::Nothing => None,
        Kept::Policy(policy) => {
            let path = file.path();
            log::warn!(
                "the policy of {} holds, as it was applied by RPC, and not that of the configuration",
                path.display()
            );
            Some(policy)
        }
        Kept::SetAside { fault, path } => {
            log::error!("the stored policy is damaged ({fault}) and was set aside as {}", path.display());
            None
        }
    };
    Ok((Some(file), policy))
}

/// The main listener: `listen.port`, or the first free one of `listen.port_range`.
fn bind_main(settings: &Settings, passed: &mut Passed) -> Result<Listener, String> {
    let endpoint = |port| EndpointSettings {
        protocol: Protocol::Ws,
        host: settings.listen.host.clone(),
        port,
        class: EndpointClass::Any,
        tls: None,
    };
    let wanted = settings.listen.port;
    if wanted != 0 || passed.has_named(MAIN) {
        return Listener::bind_or_take(&endpoint(wanted), Some(MAIN), passed)
            .map_err(|error| bind_fault("listen.port", &settings.listen.host, wanted, &error));
    }
    let (first, last) = translate::port_range(settings);
    // Nodes that start together look at different places first.
    let width = u64::from(last - first) + 1;
    let start = seed() % width;
    let mut fault = None;
    for step in 0..width {
        let port = first + ((start + step) % width) as u16;
        match Listener::bind(&endpoint(port)) {
            Ok(listener) => return Ok(listener),
            Err(error) => fault = Some(error),
        }
    }
    let text = fault.map(|e| e.to_string()).unwrap_or_default();
    Err(format!("listen.port_range: no free port of {}: {text}; widen the range", settings.listen.port_range))
}

pub fn bind_fault(key: &str, host: &str, port: u16, error: &std::io::Error) -> String {
    let remedy = match error.kind() {
        std::io::ErrorKind::AddrInUse => "the port is in use; stop what listens there or choose another",
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege; choose another",
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address; correct the host",
        _ => "correct host and port",
    };
    format!("{key}: cannot listen on {host}:{port}: {error}; {remedy}")
}

fn write_port_file(key: &str, path: &str, port: u16) -> Result<(), String> {
    if path.is_empty() {
        return Ok(());
    }
    // Written beside and renamed, so that a reader never sees half of it.
    let beside = format!("{path}.new");
    std::fs::write(&beside, format!("{port}\n")).and_then(|()| std::fs::rename(&beside, path)).map_err(
        |error| format!("{key}: cannot write {path}: {error}; create the directory or correct the path"),
    )
}

fn place(settings: &Settings, node_id: &Text, port: u16, listeners: &[Listener]) -> Place {
    let mut listening = vec![translate::transport_endpoint("ws", &settings.listen.host, port)];
    for listener in listeners.iter().skip(1).filter(|l| l.settings().class != EndpointClass::Client) {
        let wanted = listener.settings();
        let name = wanted.protocol.name();
        listening.push(translate::transport_endpoint(name, &wanted.host, listener.local_addr().port()));
    }
    let (advertised_urls, transport_endpoints) = translate::advertised(settings, node_id, &listening);
    Place {
        resources: translate::sorted(&settings.node.resources),
        capabilities: vec!["rpc".into()],
        tags: translate::sorted(&settings.node.tags),
        scope: translate::scope(settings.node.scope),
        advertised_urls,
        transport_endpoints,
        listening,
    }
}

/// The declared functions as discovery takes them.
pub fn declarations(settings: &Settings) -> Result<Vec<FunctionDeclaration>, String> {
    settings.function.iter().map(declaration).collect()
}

fn declaration(function: &crate::config::Function) -> Result<FunctionDeclaration, String> {
    let version = FunctionVersion::parse(&function.version).ok_or_else(|| {
        format!("[[function]] {}: version {} cannot be read", function.name, function.version)
    })?;
    Ok(FunctionDeclaration {
        name: function.name.as_str().into(),
        function_id: Some(function.id.as_str().into()),
        version,
        resources: translate::sorted(&function.resources),
        tags: function_tags(function),
        scope: translate::scope(function.scope),
        namespace: None,
        capabilities: Vec::new(),
        summary: function.summary.as_str().into(),
        description: "".into(),
        parameters: None,
    })
}

fn function_tags(function: &crate::config::Function) -> Vec<Text> {
    let mut tags = function.tags.clone();
    if function.idempotent {
        tags.push(IDEMPOTENT_TAG.into());
    }
    translate::sorted(&tags)
}

/// The built-in and the declared functions as the data path needs them.
pub fn local_functions(node_id: &Text, discovery: &Discovery, workers: &Workers) -> LocalFunctions {
    let functions = discovery.registry().functions().iter().map(|description| {
        let identity = &description.identity;
        let run = match &*identity.name {
            "echo" => Local::Echo,
            "echos" => Local::Echos,
            _ => match workers.key(&identity.name, &identity.function_id, &identity.version.to_string()) {
                Some(key) => Local::Worker(key),
                None => Local::Discovery,
            },
        };
        LocalFunction {
            name: identity.name.clone(),
            function_id: identity.function_id.clone(),
            version: identity.version.0.clone(),
            resources: description.placement.resources.clone(),
            run,
        }
    });
    // Known to who asks for it, and to no catalog: every node answers for itself.
    let explain = LocalFunction {
        name: explain::FUNCTION.into(),
        function_id: explain::FUNCTION.into(),
        version: semver::Version::new(1, 0, 0),
        resources: Vec::new(),
        run: Local::Explain,
    };
    LocalFunctions::new(node_id.clone(), std::iter::once(explain).chain(functions))
}

/// Unlike that of any other start of any node.
fn fresh_id() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:012x}{:016x}", since.as_millis(), seed())
}

/// Random bits of the system.
pub fn seed() -> u64 {
    let mut bytes = [0u8; 8];
    if rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).is_ok() {
        return u64::from_le_bytes(bytes);
    }
    // Without a source of randomness the time still differs from start to start.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

/// What a socket is called (`FileDescriptorName=`) that is passed for the main listener.
const MAIN: &str = "listen";

/// Writes what log bursts held back.
pub async fn settle_logs() {
    loop {
        Timer::after(Duration::from_secs(5)).await;
        crate::drive::log::settle();
    }
}
