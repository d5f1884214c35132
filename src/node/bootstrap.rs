//! Peers that are found in the places of `[[peers.discover]]`: each place is asked in a task of its own, again and again.
//!
//! Promises: asking has a time and an answer a size; a place that fails is asked again soon, then ever more rarely up
//! to its interval, and is told of in the log when it begins to fail and when it answers again; what it said last
//! holds meanwhile. A file is read again as soon as it has changed. What a document says is judged in
//! `core::bootstrap`, and who of the found is dialled and when in `core::membership`.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use smol::{Task, Timer};

use super::hub::{Hub, lock};
use super::start::seed;
use crate::config::{Discover, DiscoverType, host_and_port};
use crate::core::bootstrap::{Addresses, Health, Place, Told, read_consul, read_document, srv_protocol, url};
use crate::core::fabric::Event;
use crate::core::membership::{Chance, FOUND_MAX};
use crate::core::reason::Reason;
use crate::drive::fetch::{FetchSettings, fetch};
use crate::drive::file::read_bounded;
use crate::drive::resolve::{Resolver, Service};

/// The places that are asked, in the order of the configuration.
#[derive(Default)]
pub struct Bootstrap {
    places: Vec<Asked>,
    last_id: u64,
}

struct Asked {
    id: u64,
    settings: Discover,
    place: Place,
    /// Ends when it is dropped.
    _task: Task<()>,
}

/// What has been said of a place, so that nothing is said twice.
#[derive(Default)]
struct Said {
    failures: u32,
    refused: Vec<String>,
    answered: bool,
}

impl Hub {
    /// Asks these places from now on and no others. Those that are asked already go on as they are.
    pub fn look_for_peers(self: &Arc<Self>, wanted: &[Discover]) {
        let mut control = lock(&self.control);
        let mut known = std::mem::take(&mut control.bootstrap.places);
        if known.iter().map(|place| &place.settings).eq(wanted) {
            control.bootstrap.places = known;
            return;
        }
        for settings in wanted {
            let place = match known.iter().position(|asked| asked.settings == *settings) {
                Some(place) => known.swap_remove(place),
                None => {
                    control.bootstrap.last_id += 1;
                    let id = control.bootstrap.last_id;
                    Asked {
                        id,
                        settings: settings.clone(),
                        place: Place::new(settings.registration_ttl),
                        _task: self.executor.spawn(follow(self.clone(), id, settings.clone())),
                    }
                }
            };
            control.bootstrap.places.push(place);
        }
        let found = control.bootstrap.found();
        self.control_locked(&mut control, Event::PeersFound(found), self.clock.now());
    }

    /// A place has answered.
    fn peers_told(self: &Arc<Self>, id: u64, peers: Vec<Addresses>) {
        let now = self.clock.now();
        let mut control = lock(&self.control);
        // Gone by a reload, while the answer was under way.
        let Some(asked) = control.bootstrap.places.iter_mut().find(|asked| asked.id == id) else { return };
        if asked.place.told(peers, now.mono) {
            let found = control.bootstrap.found();
            self.control_locked(&mut control, Event::PeersFound(found), now);
        }
    }
}

impl Bootstrap {
    fn found(&self) -> Vec<Addresses> {
        let mut known = BTreeSet::new();
        let peers = self.places.iter().flat_map(|asked| asked.place.peers());
        peers.filter(|peer| known.insert(*peer)).take(FOUND_MAX).cloned().collect()
    }
}

/// Asks one place until the task is dropped.
async fn follow(hub: Arc<Hub>, id: u64, settings: Discover) {
    let mut chance = Chance::new(seed());
    let mut said = Said::default();
    let name = name(&settings);
    loop {
        let before = stamp(&settings).await;
        match ask(&hub, &settings).await {
            Ok(Told { peers, refused }) => {
                said.answer(&hub, &name, peers.len(), refused);
                hub.peers_told(id, peers);
            }
            Err(fault) => said.fault(&hub, &name, &fault),
        }
        let pause = match said.failures {
            0 => settings.interval,
            failures => settings.interval.min(RETRY_MIN * 2u32.saturating_pow(failures.min(10) - 1)),
        };
        let pause = Duration::try_from_secs_f64(chance.jittered(pause.as_secs_f64())).unwrap_or(pause);
        wait(&settings, before, pause).await;
    }
}

impl Said {
    fn answer(&mut self, hub: &Hub, name: &str, peers: usize, refused: Vec<String>) {
        if !self.answered || self.failures > 0 {
            log::info!("peers.discover: {name}: {peers} peers");
        }
        (self.answered, self.failures) = (true, 0);
        hub.counters.count_many(Reason::PeerAddressRefused, refused.len() as u64);
        if self.refused == refused {
            return;
        }
        if let Some(first) = refused.first() {
            log::warn!(
                reason = Reason::PeerAddressRefused.name();
                "peers.discover: {name}: {} addresses cannot be dialled; the first is {first}",
                refused.len()
            );
        }
        self.refused = refused;
    }

    fn fault(&mut self, hub: &Hub, name: &str, fault: &str) {
        self.failures = self.failures.saturating_add(1);
        hub.counters.count(Reason::PeerSourceFailed);
        let level = if self.failures == 1 { log::Level::Warn } else { log::Level::Debug };
        let stays = if self.answered { "the peers stay as they were" } else { "it is asked again" };
        log::log!(level, reason = Reason::PeerSourceFailed.name(); "peers.discover: {name}: {fault}; {stays}");
    }
}

/// How a place is called in the log.
fn name(settings: &Discover) -> String {
    match settings.r#type {
        DiscoverType::StaticFile => settings.path.clone(),
        DiscoverType::Http => settings.url.clone(),
        DiscoverType::DnsSrv => format!("SRV {}.{}", settings.service, settings.domain),
        DiscoverType::Consul => {
            format!(
                "{} of Consul at {}:{}",
                settings.consul.service, settings.consul.host, settings.consul.port
            )
        }
    }
}

async fn ask(hub: &Arc<Hub>, settings: &Discover) -> Result<Told, String> {
    let health = Health { score_min: settings.min_health_score, filter_unhealthy: settings.filter_unhealthy };
    match settings.r#type {
        DiscoverType::StaticFile => read_document(&read_file(settings).await?, health),
        DiscoverType::Http => read_document(&document(hub, settings, &settings.url).await?, health),
        DiscoverType::DnsSrv => services(settings).await,
        DiscoverType::Consul => read_consul(&document(hub, settings, &consul_url(settings)).await?),
    }
}

async fn document(hub: &Arc<Hub>, settings: &Discover, url: &str) -> Result<Vec<u8>, String> {
    let tls = lock(&hub.control).trust.clone();
    let resolver = Resolver::system();
    let how = FetchSettings { time_max: settings.timeout, bytes_max: DOCUMENT_BYTES_MAX, tls, resolver };
    fetch(url, &how).await.map_err(|error| error.to_string())
}

/// The words in it were checked to need no escapes.
fn consul_url(settings: &Discover) -> String {
    let consul = &settings.consul;
    let mut asked = url("http", &consul.host, consul.port) + "/v1/health/service/" + &consul.service;
    let mut mark = '?';
    for (key, value, wanted) in [
        ("dc", consul.datacenter.as_str(), !consul.datacenter.is_empty()),
        ("passing", "true", settings.filter_unhealthy),
    ] {
        if wanted {
            asked += &format!("{mark}{key}={value}");
            mark = '&';
        }
    }
    asked
}

async fn services(settings: &Discover) -> Result<Told, String> {
    let fault = |error: std::io::Error| error.to_string();
    let system = Resolver::system();
    let resolver = match host_and_port(&settings.resolver) {
        None => system,
        Some((host, port)) => {
            let servers = system.addresses(host, port, settings.timeout).await.map_err(fault)?;
            Arc::new(Resolver::asking(servers))
        }
    };
    let name = format!("{}.{}", settings.service, settings.domain);
    let found = resolver.services(&name, settings.use_tcp, settings.timeout).await.map_err(fault)?;
    let protocol = srv_protocol(&settings.service);
    let mut told = Told::default();
    // What only that server knows is asked there. A certificate is for a name, so that one stays.
    let resolve = !settings.resolver.is_empty() && protocol == "ws";
    for services in found.chunks(AT_ONCE) {
        let peers = services.iter().map(|service| async {
            match resolve {
                true => located(&resolver, service, settings.timeout).await,
                false => vec![url(protocol, &service.target, service.port)],
            }
        });
        for peer in join_all(peers).await {
            told.add(peer.iter().map(String::as_str));
        }
    }
    Ok(told)
}

/// The addresses of a service; its name where they are not known there.
async fn located(resolver: &Arc<Resolver>, service: &Service, time_max: Duration) -> Vec<String> {
    match resolver.addresses(&service.target, service.port, time_max).await {
        Ok(addresses) => addresses.iter().map(|address| format!("ws://{address}")).collect(),
        Err(error) => {
            log::debug!("peers.discover: {error}");
            vec![url("ws", &service.target, service.port)]
        }
    }
}

async fn read_file(settings: &Discover) -> Result<Vec<u8>, String> {
    let path = PathBuf::from(&settings.path);
    let read = smol::unblock(move || {
        read_bounded(&path, DOCUMENT_BYTES_MAX, |_| Ok(()))
            .map_err(|error| format!("cannot be read: {error}"))
    });
    let give_up = async {
        Timer::after(settings.timeout).await;
        Err(format!("not read within {} s", settings.timeout.as_secs_f64()))
    };
    smol::future::or(read, give_up).await
}

/// What tells one state of a file from another; `None` for other places, and where there is none.
async fn stamp(settings: &Discover) -> Option<(u64, u64, i64, i64)> {
    if settings.r#type != DiscoverType::StaticFile {
        return None;
    }
    let path = PathBuf::from(&settings.path);
    let stamp = |meta: Metadata| (meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec());
    smol::unblock(move || fs::metadata(path).ok()).await.map(stamp)
}

/// Until it is time to ask again, or the file has changed.
async fn wait(settings: &Discover, before: Option<(u64, u64, i64, i64)>, pause: Duration) {
    if settings.r#type != DiscoverType::StaticFile {
        Timer::after(pause).await;
        return;
    }
    let mut left = pause;
    while !left.is_zero() {
        let step = left.min(FILE_LOOK);
        Timer::after(step).await;
        left -= step;
        if stamp(settings).await != before {
            return;
        }
    }
}

/// A thousand peers have room in it.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// The first pause after a failure.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// How often a file is looked at.
const FILE_LOOK: Duration = Duration::from_secs(1);
/// Names that are looked up at a time.
const AT_ONCE: usize = 16;
