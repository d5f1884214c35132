//! Which tenant a connection belongs to, from the headers of its upgrade (client.md 6.2).
//!
//! Tokens are kept and compared as SHA-256, every credential is looked at whatever the outcome, and each
//! comparison takes the same time, so that an answer says nothing about how near a guess was.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::core::catalog::Text;

#[derive(Debug, Clone)]
pub struct TenantSettings {
    pub enabled: bool,
    /// Believe `viewer_tenant_id` of a request where the connection has no tenant.
    pub allow_claimed: bool,
    /// Tenant of those that have none.
    pub default: Option<Text>,
    /// Header that names the tenant; read only where there are no credentials.
    pub header: Option<String>,
    /// Refuse connections whose token belongs to nobody.
    pub reject_unknown: bool,
    pub credentials: Vec<Credential>,
}

#[derive(Clone)]
pub struct Credential {
    pub tenant: Text,
    pub scheme: CredentialScheme,
    token_sha256: [u8; 32],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialScheme {
    /// `Authorization: Bearer <token>`
    Bearer,
    /// `X-API-Key: <token>`
    ApiKey,
}

/// What the headers of a connection prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    Anonymous,
    Tenant(Text),
    /// A credential was shown that belongs to nobody: [`crate::core::reason::Reason::CredentialRefused`].
    Refused,
}

/// `headers` are name and value as they came; the first of a name counts, names in any case.
pub fn resolve_tenant<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    settings: &TenantSettings,
) -> Binding {
    if !settings.enabled {
        return Binding::Anonymous;
    }
    let (mut authorization, mut api_key, mut named) = (None, None, None);
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("authorization") {
            authorization.get_or_insert(value);
        } else if name.eq_ignore_ascii_case("x-api-key") {
            api_key.get_or_insert(value);
        }
        if settings.header.as_deref().is_some_and(|h| h.trim().eq_ignore_ascii_case(name)) {
            named.get_or_insert(value);
        }
    }
    if settings.credentials.is_empty() {
        let tenant = named.and_then(|v| v.split(',').next()).map(str::trim).filter(|t| !t.is_empty());
        return tenant.map_or(Binding::Anonymous, |t| Binding::Tenant(t.into()));
    }
    let authorization = authorization.map(str::trim).filter(|a| !a.is_empty());
    let api_key = api_key.map(str::trim).filter(|k| !k.is_empty());
    let by_token =
        authorization.and_then(bearer_token).and_then(|t| settings.find(CredentialScheme::Bearer, t));
    let found = by_token.or_else(|| api_key.and_then(|k| settings.find(CredentialScheme::ApiKey, k)));
    match found {
        Some(tenant) => Binding::Tenant(tenant),
        None if settings.reject_unknown && (authorization.is_some() || api_key.is_some()) => Binding::Refused,
        None => Binding::Anonymous,
    }
}

impl Credential {
    pub fn from_token(tenant: Text, scheme: CredentialScheme, token: &str) -> Credential {
        Credential { tenant, scheme, token_sha256: Sha256::digest(token.trim()).into() }
    }

    /// `hex` is the SHA-256 of the token, 64 digits; `None` where it is not.
    pub fn from_sha256(tenant: Text, scheme: CredentialScheme, hex: &str) -> Option<Credential> {
        let digits = hex.trim().as_bytes();
        let mut token_sha256 = [0u8; 32];
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in token_sha256.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Credential { tenant, scheme, token_sha256 })
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("tenant", &self.tenant)
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

impl Default for TenantSettings {
    fn default() -> TenantSettings {
        TenantSettings {
            enabled: false,
            allow_claimed: true,
            default: None,
            header: None,
            reject_unknown: true,
            credentials: Vec::new(),
        }
    }
}

impl TenantSettings {
    /// The first credential of that scheme and token.
    fn find(&self, scheme: CredentialScheme, token: &str) -> Option<Text> {
        let shown: [u8; 32] = Sha256::digest(token).into();
        let mut found = None;
        for credential in &self.credentials {
            let same = bool::from(credential.token_sha256.ct_eq(&shown));
            if same & (credential.scheme == scheme) & found.is_none() {
                found = Some(credential.tenant.clone());
            }
        }
        found
    }
}

/// The token of a bearer scheme, which need not be named; `None` for other schemes.
fn bearer_token(authorization: &str) -> Option<&str> {
    match authorization.split_once(char::is_whitespace) {
        None => Some(authorization),
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim()),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> TenantSettings {
        TenantSettings {
            enabled: true,
            credentials: vec![
                Credential::from_token("tx".into(), CredentialScheme::Bearer, "tok-x"),
                Credential::from_token("y".into(), CredentialScheme::ApiKey, "key-y"),
            ],
            ..TenantSettings::default()
        }
    }

    #[test]
    fn the_table_of_headers_holds() {
        let tenant = |t: &str| Binding::Tenant(t.into());
        let refusing = settings();
        let lenient = TenantSettings { reject_unknown: false, ..settings() };
        type Row = (&'static [(&'static str, &'static str)], Binding, Binding);
        let rows: &[Row] = &[
            (&[("Authorization", "Bearer tok-x")], tenant("tx"), tenant("tx")),
            (&[("authorization", "bEaReR   tok-x")], tenant("tx"), tenant("tx")),
            (&[("Authorization", "tok-x")], tenant("tx"), tenant("tx")),
            (&[("Authorization", "Basic tok-x")], Binding::Anonymous, Binding::Refused),
            (&[("X-API-Key", "key-y")], tenant("y"), tenant("y")),
            (&[("X-API-Key", " key-y ")], tenant("y"), tenant("y")),
            (&[("Authorization", "Bearer wrong"), ("X-API-Key", "key-y")], tenant("y"), tenant("y")),
            (&[("Authorization", "Bearer tok-x"), ("X-API-Key", "key-y")], tenant("tx"), tenant("tx")),
            (&[("Authorization", "Bearer key-y")], Binding::Anonymous, Binding::Refused),
            (&[("Authorization", "Bearer tok-x2")], Binding::Anonymous, Binding::Refused),
            (&[("Authorization", "Bearer tok-")], Binding::Anonymous, Binding::Refused),
            (&[("Authorization", "Bearer ")], Binding::Anonymous, Binding::Refused),
            (&[("X-API-Key", "tok-x")], Binding::Anonymous, Binding::Refused),
            (&[("Authorization", "")], Binding::Anonymous, Binding::Anonymous),
            (&[], Binding::Anonymous, Binding::Anonymous),
        ];
        for (headers, when_lenient, when_refusing) in rows {
            assert_eq!(resolve_tenant(headers.iter().copied(), &lenient), *when_lenient, "{headers:?}");
            assert_eq!(resolve_tenant(headers.iter().copied(), &refusing), *when_refusing, "{headers:?}");
        }
        let off = TenantSettings { enabled: false, ..settings() };
        assert_eq!(resolve_tenant([("Authorization", "Bearer tok-x")], &off), Binding::Anonymous);
    }

    #[test]
    fn a_trusted_header_counts_only_without_credentials() {
        let header = Some(" X-Tenant ".to_owned());
        let open = TenantSettings { enabled: true, header: header.clone(), ..TenantSettings::default() };
        for (value, expected) in [
            ("gold", Binding::Tenant("gold".into())),
            (" gold , other", Binding::Tenant("gold".into())),
            (" ,x", Binding::Anonymous),
        ] {
            assert_eq!(resolve_tenant([("x-tenant", value)], &open), expected, "{value}");
        }
        let guarded = TenantSettings { header, ..settings() };
        assert_eq!(resolve_tenant([("X-Tenant", "gold")], &guarded), Binding::Anonymous);
    }

    #[test]
    fn a_token_may_be_given_as_its_hash_and_is_never_shown() {
        let hex = "5e7fefc0f9c3e1b8b7e6a4e0a1a6e2f0a8f2e8cf9b1f5e0f3d5a8c7b6a5d4c3b";
        assert!(Credential::from_sha256("t".into(), CredentialScheme::Bearer, &hex[1..]).is_none());
        assert!(
            Credential::from_sha256("t".into(), CredentialScheme::Bearer, &hex.replace('5', "g")).is_none()
        );
        let hex: String = Sha256::digest("deep-secret").iter().map(|b| format!("{b:02x}")).collect();
        let credential = Credential::from_sha256("t".into(), CredentialScheme::Bearer, &hex).unwrap();
        assert!(!format!("{credential:?}").contains(&hex[..8]));
        let settings = TenantSettings { credentials: vec![credential], ..settings() };
        assert_eq!(
            resolve_tenant([("Authorization", "Bearer deep-secret")], &settings),
            Binding::Tenant("t".into())
        );
    }
}
