//! Secrets and the files that hold them: `x`, `x_file` or `x_env` for each secret `x` (cli-config 4.1).
//!
//! A file with a secret must be readable for the node and for nobody outside its owner and group. What is wrong
//! is told with the name of the file, never with anything of its content.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::fault::{Faults, Origin};
use super::schema::{self, Reload};
use super::settings::Settings;
use super::value::{Layer, Secret};

/// Fills in every secret that is given by file or environment variable.
pub fn resolve(
    settings: &mut Settings,
    values: &Layer,
    environment: &[(String, String)],
    faults: &mut Faults,
) {
    let origin = |key: &str| values.get(key).map(|setting| setting.origin.clone());
    let s = settings;
    for (key, secret, file, variable) in [
        ("monitoring.token", &mut s.monitoring.token, &s.monitoring.token_file, &s.monitoring.token_env),
        (
            "monitoring.admin_token",
            &mut s.monitoring.admin_token,
            &s.monitoring.admin_token_file,
            &s.monitoring.admin_token_env,
        ),
        (
            "route.security.signing_key",
            &mut s.route.security.signing_key,
            &s.route.security.signing_key_file,
            &s.route.security.signing_key_env,
        ),
    ] {
        let place =
            [format!("{key}_file"), format!("{key}_env"), key.to_owned()].iter().find_map(|key| origin(key));
        let place = place.unwrap_or(Origin::Default);
        fill(key, secret, file, variable, environment, &place, faults);
    }
    let places = schema::elements(values, "tenants.credential");
    for (credential, element) in s.tenants.credential.iter_mut().zip(places) {
        let place = ["token_file", "token_env", "token"].iter().find_map(|name| element.members.get(*name));
        let place = place.map_or(element.origin.clone(), |setting| setting.origin.clone());
        let (file, variable) = (&credential.token_file, &credential.token_env);
        fill("tenants.credential.token", &mut credential.token, file, variable, environment, &place, faults);
        // Old credentials were trimmed; white space around a token is always a slip.
        let trimmed = credential.token.reveal().trim();
        if trimmed.len() != credential.token.reveal().len() {
            credential.token = Secret::new(trimmed.to_owned());
        }
    }
}

/// Every secret with the key that stands for it in a reload.
pub fn resolved(settings: &Settings) -> Vec<(&'static str, Secret)> {
    let mut all = vec![
        ("monitoring.token_file", settings.monitoring.token.clone()),
        ("monitoring.admin_token_file", settings.monitoring.admin_token.clone()),
        ("route.security.signing_key_file", settings.route.security.signing_key.clone()),
    ];
    all.extend(settings.tenants.credential.iter().map(|c| ("tenants.credential", c.token.clone())));
    all
}

/// The secrets of a configuration that has some of its keys from `old` and some from `new`.
pub fn take_over(settings: &mut Settings, old: &Settings, new: &Settings) {
    let from = |key: &str| match schema::key(key).is_some_and(|key| key.row.reload == Reload::Restart) {
        true => old,
        false => new,
    };
    settings.monitoring.token = from("monitoring.token").monitoring.token.clone();
    settings.monitoring.admin_token = from("monitoring.admin_token").monitoring.admin_token.clone();
    settings.route.security.signing_key =
        from("route.security.signing_key").route.security.signing_key.clone();
    let credentials = &from("tenants.credential").tenants.credential;
    for (credential, source) in settings.tenants.credential.iter_mut().zip(credentials) {
        credential.token = source.token.clone();
    }
}

/// The text of a file with a secret, without white space at its ends; what is wrong is the error.
pub fn read_file(path: &str) -> Result<Secret, String> {
    let meta = fs::metadata(path).map_err(|error| format!("\"{path}\" cannot be read: {error}"))?;
    if !meta.is_file() {
        return Err(format!("\"{path}\" is not a file"));
    }
    if meta.mode() & OTHERS_MASK != 0 {
        return Err(format!(
            "\"{path}\" holds a secret and is open to everybody (mode {:o}); chmod o= {path}",
            meta.mode() & 0o777
        ));
    }
    if meta.len() > SECRET_BYTES_MAX {
        return Err(format!("\"{path}\" has {} bytes; at most {SECRET_BYTES_MAX} are read", meta.len()));
    }
    let text = fs::read_to_string(path).map_err(|error| format!("\"{path}\" cannot be read: {error}"))?;
    let text = zeroize::Zeroizing::new(text);
    if text.trim().is_empty() {
        return Err(format!("\"{path}\" is empty"));
    }
    Ok(Secret::new(text.trim().to_owned()))
}

fn fill(
    key: &str,
    secret: &mut Secret,
    file: &str,
    variable: &str,
    environment: &[(String, String)],
    place: &Origin,
    faults: &mut Faults,
) {
    let given = [!secret.is_empty(), !file.is_empty(), !variable.is_empty()];
    if given.iter().filter(|given| **given).count() > 1 {
        faults.add(place, format!("only one of `{key}`, `{key}_file` and `{key}_env` may be given"));
        return;
    }
    if !file.is_empty() {
        match read_file(file) {
            Ok(text) => *secret = text,
            Err(error) => faults.add(place, format!("`{key}_file`: {error}")),
        }
    } else if !variable.is_empty() {
        match environment.iter().find(|(name, value)| name == variable && !value.is_empty()) {
            Some((_, value)) => *secret = Secret::new(value.clone()),
            None => {
                faults.add(place, format!("`{key}_env`: the environment variable `{variable}` is not set"))
            }
        }
    }
}

/// Read, write or execute by anybody.
const OTHERS_MASK: u32 = 0o007;

/// A token or key in PEM is far smaller.
const SECRET_BYTES_MAX: u64 = 64 << 10;
