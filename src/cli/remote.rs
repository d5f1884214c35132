//! What all verbs that talk to a node share: its address, credentials, the connection, one call and its result.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::{Map, Value, value::RawValue};
use smol::Executor;

use super::output::{self, Failure, Outcome};
use crate::{
    client::{self, CallOptions, Client, Options},
    drive::reactor,
    drive::tls::{ClientAuth, TlsSettings, TlsTrust, TlsVersion},
};

/// Declares a verb that talks to a node: its own options, then those that all such verbs share. (argh cannot
/// include one set of options in another.)
macro_rules! remote_verb {
    ($(#[$meta:meta])* struct $name:ident { $($body:tt)* }) => {
        #[derive(argh::FromArgs, argh::ArgsInfo, Debug)]
        $(#[$meta])*
        pub struct $name {
            $($body)*
            /// the node to talk to: ws://, wss://, tcp:// or tcps://, as in ws://127.0.0.1:7000; default: environment MPREG_URL
            #[argh(option)]
            url: Option<String>,
            /// bearer token; default: environment MPREG_TOKEN
            #[argh(option, arg_name = "text")]
            token: Option<String>,
            /// file that holds the bearer token and that not everybody may read
            #[argh(option, arg_name = "path")]
            token_file: Option<String>,
            /// API key; default: environment MPREG_API_KEY
            #[argh(option, arg_name = "text")]
            api_key: Option<String>,
            /// authorities to trust for wss and tcps besides those of the system, in PEM; default: environment MPREG_CA_FILE
            #[argh(option, arg_name = "path")]
            ca_file: Option<String>,
            /// certificate to show to the node, in PEM
            #[argh(option, arg_name = "path")]
            cert_file: Option<String>,
            /// private key of that certificate, in PEM
            #[argh(option, arg_name = "path")]
            key_file: Option<String>,
            /// accept any certificate of the node: for tests only
            #[argh(switch)]
            insecure: bool,
            /// print JSON and nothing else
            #[argh(switch)]
            json: bool,
        }

        impl $name {
            fn remote(&self) -> $crate::cli::remote::Remote {
                $crate::cli::remote::Remote {
                    url: self.url.clone(),
                    token: self.token.clone(),
                    token_file: self.token_file.clone(),
                    api_key: self.api_key.clone(),
                    ca_file: self.ca_file.clone(),
                    cert_file: self.cert_file.clone(),
                    key_file: self.key_file.clone(),
                    insecure: self.insecure,
                    json: self.json,
                }
            }
        }
    };
}

/// The options that all verbs share.
pub struct Remote {
    pub url: Option<String>,
    pub token: Option<String>,
    pub token_file: Option<String>,
    pub api_key: Option<String>,
    pub ca_file: Option<String>,
    pub cert_file: Option<String>,
    pub key_file: Option<String>,
    pub insecure: bool,
    pub json: bool,
}

impl Remote {
    /// The address of the node, from the option or the environment.
    pub fn url(&self) -> Result<String, Failure> {
        self.url.clone().or_else(|| environment("MPREG_URL")).ok_or_else(|| {
            Failure::usage("which node? Give --url ws://HOST:PORT, or set MPREG_URL in the environment.")
        })
    }

    /// Everything that a connection to `url` needs.
    pub fn options(&self, url: &str) -> Result<Options, Failure> {
        let token = match (&self.token, &self.token_file) {
            (Some(_), Some(_)) => return Err(Failure::usage("give --token or --token-file, not both")),
            (Some(token), None) => Some(token.clone()),
            (None, Some(path)) => Some(secret(Path::new(path))?),
            (None, None) => environment("MPREG_TOKEN"),
        };
        let api_key = self.api_key.clone().or_else(|| environment("MPREG_API_KEY"));
        let tls = self.tls(url)?;
        Ok(Options { token, api_key, tls, timeout: Some(ANSWER_TIMEOUT), ..Options::default() })
    }

    /// Whom to trust, where the URL asks for TLS.
    fn tls(&self, url: &str) -> Result<Option<Arc<TlsTrust>>, Failure> {
        let given = [
            ("--ca-file", self.ca_file.is_some()),
            ("--cert-file", self.cert_file.is_some()),
            ("--key-file", self.key_file.is_some()),
            ("--insecure", self.insecure),
        ];
        // What is no URL at all is told by whoever dials it.
        if !client::protocol(url).is_some_and(|protocol| protocol.is_tls()) {
            return match given.iter().find(|(_, given)| *given) {
                Some((option, _)) => {
                    Err(Failure::usage(format!("{option} needs a URL with wss:// or tcps://")))
                }
                None => Ok(None),
            };
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            return Err(Failure::usage("--cert-file and --key-file belong together; give both"));
        }
        if self.insecure && self.ca_file.is_some() {
            return Err(Failure::usage("give --ca-file or --insecure, not both"));
        }
        let environment = environment("MPREG_CA_FILE").filter(|_| !self.insecure);
        let ca_option = if self.ca_file.is_some() { "--ca-file" } else { "MPREG_CA_FILE" };
        let settings = TlsSettings {
            cert_file: self.cert_file.clone().map(PathBuf::from),
            key_file: self.key_file.clone().map(PathBuf::from),
            ca_file: self.ca_file.clone().or(environment).map(PathBuf::from),
            client_auth: ClientAuth::None,
            min_version: TlsVersion::V1_2,
            verify_peers: !self.insecure,
            server_name: None,
        };
        let trust = TlsTrust::load(settings).map_err(|error| {
            let option = match error.key {
                "tls.cert_file" => "--cert-file",
                "tls.key_file" => "--key-file",
                _ => ca_option,
            };
            let file = error.file.map(|file| format!(" {}", file.display())).unwrap_or_default();
            Failure::usage(format!("{option}{file}: {}", error.fault))
        })?;
        if self.insecure {
            output::note("the certificate of the node is not checked (--insecure)");
        }
        Ok(Some(Arc::new(trust)))
    }

    /// Runs `talk` with an open connection and closes it in order.
    pub fn with_client<T>(
        &self,
        limit: Limit,
        talk: impl AsyncFnOnce(&Client) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let url = self.url()?;
        let mut options = self.options(&url)?;
        match limit {
            Limit::Usual => {}
            Limit::None => options.timeout = None,
            Limit::Within(limit) => {
                options.connect_timeout = options.connect_timeout.min(limit.max(CONNECT_TIMEOUT_MIN));
                options.timeout = Some(limit);
            }
        }
        let executor = Arc::new(Executor::new());
        reactor::run(executor.run(async {
            let opening = Client::connect(&executor, &url, options);
            let client = output::waiting(&format!("connecting to {url}"), opening).await?;
            let result = talk(&client).await;
            client.close().await;
            result
        }))
    }

    /// Calls one function of the node with one object as its argument.
    pub fn ask(&self, fun: &str, payload: Map<String, Value>) -> Result<Value, Failure> {
        self.with_client(Limit::Usual, async |client| {
            ask(client, fun, payload, &CallOptions::default()).await
        })
    }

    /// Prints a result: the JSON as it is, or what `text` makes of it.
    pub fn show(&self, value: &Value, text: impl FnOnce(&Value) -> String) -> Outcome {
        if self.json { output::print_json(value) } else { output::print(&text(value)) }
    }
}

/// How long answers may take.
pub enum Limit {
    /// Longer than a node needs to give up by itself.
    Usual,
    /// As long as the connection lives: the node ends a call, and a dead node is noticed.
    None,
    Within(Duration),
}

/// Calls a function with one object as its argument; without members, with none.
pub async fn ask(
    client: &Client,
    fun: &str,
    payload: Map<String, Value>,
    options: &CallOptions,
) -> Result<Value, Failure> {
    let args: &[Value] = if payload.is_empty() { &[] } else { &[Value::Object(payload)] };
    let value = output::waiting(fun, client.call(fun, args, &Map::new(), options)).await?;
    parsed(fun, &value)
}

/// The answer as a value; for verbs that show parts of it.
pub fn parsed(what: &str, raw: &RawValue) -> Result<Value, Failure> {
    serde_json::from_str(raw.get())
        .map_err(|e| Failure::failed(format!("{what}: the answer cannot be read: {e}")))
}

/// Builds the one object that most functions of a node take: what was not given is left out.
#[derive(Default)]
pub struct Payload(Map<String, Value>);

impl Payload {
    pub fn new() -> Payload {
        Payload::default()
    }

    pub fn put(mut self, name: &str, value: Option<impl Into<Value>>) -> Payload {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
        self
    }

    pub fn list(self, name: &str, values: &[String]) -> Payload {
        let given = (!values.is_empty()).then(|| values.to_vec());
        self.put(name, given)
    }

    pub fn done(self) -> Map<String, Value> {
        self.0
    }
}

/// A word of the command line as JSON, or as text when it is not JSON.
pub fn json_or_text(word: &str) -> Result<Box<RawValue>, Failure> {
    serde_json::from_str::<Box<RawValue>>(word)
        .or_else(|_| serde_json::value::to_raw_value(word))
        .map_err(|e| Failure::usage(format!("`{word}` cannot be written as JSON: {e}")))
}

/// `name=value` pairs of a repeated option.
pub fn pairs(option: &str, words: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut map = Map::new();
    for word in words {
        let (name, value) = word.split_once('=').ok_or_else(|| {
            Failure::usage(format!("{option} wants NAME=VALUE, as in {option} shard=3; got `{word}`"))
        })?;
        map.insert(name.to_owned(), Value::String(value.to_owned()));
    }
    Ok(map)
}

/// A duration in seconds from the command line.
pub fn seconds(option: &str, value: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(value)
        .ok()
        .filter(|duration| !duration.is_zero() && *duration <= SECONDS_MAX)
        .ok_or_else(|| Failure::usage(format!("{option} wants a number of seconds above 0, got {value}")))
}

/// A variable of the environment; an empty one counts as absent.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The content of a file that not everybody may read.
fn secret(path: &Path) -> Result<String, Failure> {
    let unreadable =
        |why: &dyn std::fmt::Display| Failure::usage(format!("--token-file {}: {why}", path.display()));
    let mode = fs::metadata(path).map_err(|e| unreadable(&e))?.permissions().mode();
    if mode & READABLE_BY_ALL != 0 {
        return Err(unreadable(&format!(
            "everybody may read it (mode {:o}); run chmod 600 {}",
            mode & 0o777,
            path.display()
        )));
    }
    let text = fs::read_to_string(path).map_err(|e| unreadable(&e))?;
    match text.trim() {
        "" => Err(unreadable(&"it is empty")),
        token => Ok(token.to_owned()),
    }
}

/// A short limit is meant for the answer; a handshake may take this long even then.
const CONNECT_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// A node gives up after 30 s by default and says so; only then do we.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);
/// Thirty years: enough for every wait, and far from what a clock cannot add.
const SECONDS_MAX: Duration = Duration::from_secs(1_000_000_000);
const READABLE_BY_ALL: u32 = 0o004;
