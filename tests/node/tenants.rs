//! Who a client is: tokens of tenants, shown when a connection is opened.

use mpreg::client::{Client, ClientError, Options};
use mpreg::drive::dial::{DialError, DialSettings, dial};
use serde_json::json;

use super::kit::*;

fn with(name: &str, value: &str) -> DialSettings {
    DialSettings { headers: vec![(name.to_owned(), value.to_owned())], ..DialSettings::default() }
}

const CREDENTIALS: &str = "[[tenants.credential]]\ntenant = \"a\"\ntoken = \"secret-a\"\n\
                           [[tenants.credential]]\ntenant = \"b\"\nscheme = \"api-key\"\ntoken = \"secret-b\"\n";

#[test]
fn a_token_that_nobody_has_is_refused_with_401() {
    let node = Node::start(&format!("[tenants]\nenabled = true\n{CREDENTIALS}"));
    run(async |ex| {
        for (name, value) in [
            ("Authorization", "Bearer wrong"),
            ("X-API-Key", "wrong"),
            ("X-API-Key", "secret-a"),
            ("Authorization", "Bearer secret-b"),
        ] {
            match dial(&node.url(), &with(name, value)).await {
                Err(DialError::Refused { status: 401, text }) => {
                    assert!(!text.contains(value.trim_start_matches("Bearer ")), "{text}");
                }
                Err(other) => panic!("{name}: {value}: {other}"),
                Ok(_) => panic!("{name}: {value} is let in"),
            }
        }
        node.logged_text("reason=credential_refused");
        for (name, value) in [("Authorization", "Bearer secret-a"), ("X-API-Key", "secret-b")] {
            let mut wire = Wire::open(&node.url(), &with(name, value)).await;
            assert_eq!(wire.call("echo", json!([1])).await["r"]["c"], 1);
        }
        let options = |token: &str| Options { token: Some(token.to_owned()), ..Options::default() };
        let refused = Client::connect(&ex, &node.url(), options("wrong")).await.map(|_| ()).unwrap_err();
        assert!(matches!(refused, ClientError::Refused { status: 401, .. }), "{refused}");
        assert_eq!(refused.exit_status(), 77);
        Client::connect(&ex, &node.url(), options("secret-a")).await.unwrap().close().await;
    });
    for line in node.log() {
        assert!(!line.contains("wrong") && !line.contains("secret-"), "{line}");
    }
    node.stop();
}

#[test]
fn unknown_tokens_are_anonymous_where_they_are_not_refused() {
    let node = Node::start(&format!("[tenants]\nenabled = true\nreject_unknown = false\n{CREDENTIALS}"));
    run(async |_| {
        let mut wire = Wire::open(&node.url(), &with("Authorization", "Bearer wrong")).await;
        assert_eq!(wire.call("echo", json!([1])).await["r"]["c"], 1);
    });
}

#[test]
fn policy_shows_a_namespace_to_its_tenant_only() {
    let text = format!(
        "[discovery.policy]\nenabled = true\n[[discovery.policy.rule]]\nnamespace = \"t\"\nvisibility_tenants = [\"a\"]\n\
         [tenants]\nenabled = true\n{CREDENTIALS}{}",
        function("t.add", "")
    );
    let node = Node::start(&text);
    run(async |_| {
        for (name, value, sees) in
            [("Authorization", "Bearer secret-a", true), ("X-API-Key", "secret-b", false)]
        {
            let mut wire = Wire::open(&node.url(), &with(name, value)).await;
            let answer = wire.call("rpc_list", json!([])).await;
            assert_eq!(answer["r"]["c"].to_string().contains("t.add"), sees, "{value}: {answer}");
        }
    });
}
