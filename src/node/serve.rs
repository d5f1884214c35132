//! Listeners and dialled links: from a socket to a connection that is served.

use std::sync::Arc;
use std::time::Duration;

use smol::Timer;

use super::connection::{Connection, Origin};
use super::hub::{Hub, Newcomer};
use crate::config::{ClientAuth, Settings};
use crate::core::catalog::Text;
use crate::core::discovery::{Binding, Viewer, resolve_tenant};
use crate::core::fabric::Event;
use crate::core::reason::Reason;
use crate::drive::certificate::link_facts;
use crate::drive::dial::{DialSettings, dial};
use crate::drive::handshake::{AcceptSettings, HandshakeError, PeerInfo, Refusal, accept_link};
use crate::drive::link::{Link, LinkLimits};
use crate::drive::listen::{Accepted, EndpointClass, Listener};
use crate::drive::tls::TlsTrust;

/// Accepts connections until the node begins to stop; then the socket is closed.
pub async fn accept(hub: Arc<Hub>, listener: Listener) {
    let turning_away = Arc::new(());
    loop {
        let accepted = smol::future::or(
            async {
                hub.listening_ends().await;
                None
            },
            async { Some(listener.accept().await) },
        );
        let Some(accepted) = accepted.await else { return };
        let max = hub.settings().listen.max_connections;
        if hub.connections() >= max {
            let text = format!("{max} connections are open, the limit (listen.max_connections)");
            hub.refused(Reason::ConnectionsLimit, &accepted.address.to_string(), &text);
            if Arc::strong_count(&turning_away) <= TURNED_AWAY_AT_ONCE_MAX {
                let settings = accept_settings(&hub.settings(), &listener);
                let turned_away = turn_away(accepted, settings, text, turning_away.clone());
                hub.executor.spawn(turned_away).detach();
            }
            continue;
        }
        let class = listener.settings().class;
        let settings = accept_settings(&hub.settings(), &listener);
        // Counted here, where the limit was looked at, and not when the task begins.
        let counted = hub.begin_handshake();
        let newcomer = hub.newcomer();
        let shaking = shake_hands(hub.clone(), accepted, settings, class, newcomer);
        hub.executor
            .spawn(async move {
                shaking.await;
                drop(counted);
            })
            .detach();
    }
}

/// Dials a peer and serves the link; the outcome is an event of the fabric.
pub async fn dial_peer(hub: Arc<Hub>, url: Text, timeout: Option<Duration>, trust: Option<Arc<TlsTrust>>) {
    // One trust from beginning to end, whatever a reload brings meanwhile: what it verifies is believed.
    let trust = trust.map(|trust| Arc::new(TlsTrust::of(trust.current())));
    let verifies = trust.as_ref().is_none_or(|trust| trust.current().settings().verify_peers);
    let settings = {
        let settings = hub.settings();
        DialSettings {
            connect_timeout: timeout.unwrap_or(settings.peers.connect_timeout),
            limits: link_limits(&settings),
            tls: trust,
            ..DialSettings::default()
        }
    };
    match dial(&url, &settings).await {
        Ok(link) => {
            let facts = link_facts(&link, verifies, verifies);
            let viewer = Viewer::of_cluster(&hub.cluster_id().into());
            let origin = Origin {
                address: url.to_string(),
                dialled: Some(url),
                may_be_peer: true,
                may_be_client: false,
                viewer,
                facts,
            };
            serve(hub, link, origin, None);
        }
        Err(error) => {
            hub.journal.not_reached(&url, hub.clock.now().wall, &error.to_string());
            log::debug!(peer = &*url; "cannot dial: {error}");
            hub.control(Event::DialFailed { url });
        }
    }
}

async fn shake_hands(
    hub: Arc<Hub>,
    accepted: Accepted,
    settings: AcceptSettings,
    class: EndpointClass,
    newcomer: Newcomer,
) {
    let address = accepted.address;
    let mut tenant = None;
    let shaking = accept_link(accepted, &settings, |info| {
        // Nodes may find each other all the same.
        if let Some((reason, text)) = hub.takes_no_work().filter(|_| class != EndpointClass::Internal) {
            return Err(Refusal { reason, status: 503, text: text.into() });
        }
        tenant = find_tenant(&hub, info)?;
        Ok(())
    });
    let shaken = smol::future::or(async { Some(shaking.await) }, async {
        Timer::after(HANDSHAKE_TIME_MAX).await;
        None
    });
    // On the heap: the connection that follows should not carry the size of its handshake.
    let shaken = Box::pin(shaken).await;
    match shaken {
        Some(Ok((link, info))) => {
            let mut viewer = Viewer::of_cluster(&hub.cluster_id().into());
            viewer.tenant = tenant;
            viewer.loopback = info.address.ip().is_loopback();
            viewer.certified = !info.client_certificates.is_empty();
            // A listener asks for certificates only where it checks them.
            let asks = hub.settings().tls.client_auth != ClientAuth::None;
            let facts = link_facts(&link, true, asks);
            let origin = Origin {
                address: info.address.to_string(),
                dialled: None,
                may_be_peer: class != EndpointClass::Client,
                may_be_client: class != EndpointClass::Internal,
                viewer,
                facts,
            };
            serve(hub, link, origin, Some(newcomer));
        }
        Some(Err(HandshakeError::Io(error))) => {
            log::debug!(peer = address.to_string().as_str(); "left: {error}")
        }
        Some(Err(error)) => hub.refused(error.reason(), &address.to_string(), &error.to_string()),
        None => hub.refused(Reason::HandshakeTimeout, &address.to_string(), "no complete handshake in time"),
    }
}

/// Says why there is no room, to somebody who asks in time. Few are told at once, and none in no time, so that a
/// stampede at a full node costs it little; the others only see their connection end.
async fn turn_away(accepted: Accepted, settings: AcceptSettings, text: String, _place: Arc<()>) {
    let refusing = accept_link(accepted, &settings, |_| {
        Err(Refusal { reason: Reason::ConnectionsLimit, status: 503, text })
    });
    let told = smol::future::or(async { refusing.await.is_err() }, async {
        Timer::after(TURNING_AWAY_TIME_MAX).await;
        false
    });
    smol::future::zip(told, Timer::after(TURNING_AWAY_TIME_MIN)).await;
}

/// Hands the link to a task of its own.
fn serve(hub: Arc<Hub>, link: Link, origin: Origin, newcomer: Option<Newcomer>) {
    let executor = hub.executor.clone();
    let tenant = origin.viewer.tenant.clone();
    let connection = Connection::new(hub, link, origin, newcomer);
    if let Some(tenant) = tenant {
        connection.hub.bind(connection.outlet.id(), tenant);
    }
    executor.spawn(connection.serve()).detach();
}

/// The tenant that the headers of an upgrade show; a refusal where a token belongs to nobody.
fn find_tenant(hub: &Hub, info: &PeerInfo) -> Result<Option<Text>, Refusal> {
    let settings = hub.tenants();
    let named = settings.header.as_deref().unwrap_or_default();
    let headers =
        [("authorization", &info.authorization), ("x-api-key", &info.api_key), (named, &info.tenant_header)];
    let headers = headers.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
    match resolve_tenant(headers, &settings) {
        Binding::Tenant(tenant) => Ok(Some(tenant)),
        Binding::Anonymous => Ok(None),
        Binding::Refused => Err(Refusal {
            reason: Reason::CredentialRefused,
            status: 401,
            text: "the token belongs to no tenant of this node".into(),
        }),
    }
}

fn accept_settings(settings: &Settings, listener: &Listener) -> AcceptSettings {
    AcceptSettings {
        protocol: listener.settings().protocol,
        tls: listener.settings().tls.clone(),
        limits: link_limits(settings),
        tenant_header: (!settings.tenants.header.is_empty()).then(|| settings.tenants.header.clone()),
    }
}

pub fn link_limits(settings: &Settings) -> LinkLimits {
    LinkLimits { message_bytes_max: settings.listen.max_message as usize, ..LinkLimits::default() }
}

/// From the first byte to a link, TLS included (client.md 1.2).
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// Connections beyond listen.max_connections that are answered at a time, on each listener.
const TURNED_AWAY_AT_ONCE_MAX: usize = 32;
/// From the first byte to the answer, TLS included.
const TURNING_AWAY_TIME_MAX: Duration = Duration::from_secs(2);
const TURNING_AWAY_TIME_MIN: Duration = Duration::from_millis(100);
