//! The completions, asked in their own shells.

use std::path::Path;
use std::process::Command;

use crate::has;

/// What a person has typed, and what must and must not be among what is proposed.
const CASES: &[(&str, &[&str], &[&str])] = &[
    ("mpreg ", &["server", "client", "config"], &["docs"]),
    ("mpreg client ca", &["call"], &["functions"]),
    ("mpreg -v client namespace-policy ", &["validate", "apply"], &["call"]),
    ("mpreg client call --lo", &["--locs"], &["--url"]),
    ("mpreg client functions --scope ", &["local", "global"], &["call"]),
    ("mpreg client dns-register --protocol ", &["tcp", "udp"], &["global"]),
    ("mpreg config check man/mpreg.", &["man/mpreg.1", "man/mpreg.toml.5"], &["server"]),
];

fn propose(shell: &str, script: &str, typed: &str) -> Vec<String> {
    let output = Command::new(shell)
        .args(["-c", script])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("TYPED", typed)
        .output()
        .unwrap();
    assert!(output.status.success(), "{typed}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split('\t').next().unwrap_or_default().trim_end().to_owned()).collect()
}

fn check(shell: &str, script: &str, cases: &[(&str, &[&str], &[&str])]) {
    for (typed, wanted, unwanted) in cases {
        let proposed = propose(shell, script, typed);
        let has = |word: &&&str| proposed.iter().any(|p| p == **word);
        assert!(wanted.iter().all(|word| has(&word)), "{shell}: {typed}: {proposed:?}");
        assert!(!unwanted.iter().any(|word| has(&word)), "{shell}: {typed}: {proposed:?}");
    }
}

#[test]
fn bash_proposes_verbs_options_words_keys_and_files() {
    if !has("bash", "its completions are") {
        return;
    }
    let script = "source packaging/completions/mpreg.bash; COMP_LINE=$TYPED; COMP_POINT=${#TYPED}; \
                  compopt() { :; }; _mpreg; printf '%s\\n' \"${COMPREPLY[@]}\"";
    check("bash", script, CASES);
    // What bash replaces begins behind the last =.
    let keys: &[(&str, &[&str], &[&str])] = &[
        ("mpreg server start --set persistence.mo", &["persistence.mode="], &[]),
        ("mpreg server start --set persistence.mode=", &["off", "memory", "fjall"], &[]),
        ("mpreg client functions --scope=z", &["zone"], &["local"]),
    ];
    check("bash", script, keys);
}

#[test]
fn fish_proposes_verbs_options_words_keys_and_files() {
    if !has("fish", "its completions are") {
        return;
    }
    let script = "source packaging/completions/mpreg.fish; complete -C $TYPED";
    // fish names files relative to what was typed, as bash does; only some versions give the folder too.
    let cases: Vec<_> = CASES.iter().filter(|case| !case.0.contains("man/")).copied().collect();
    check("fish", script, &cases);
    let keys: &[(&str, &[&str], &[&str])] = &[
        ("mpreg server start --set persistence.mo", &["persistence.mode="], &[]),
        ("mpreg server start --set persistence.mode=", &["persistence.mode=fjall"], &[]),
    ];
    check("fish", script, keys);
}

#[test]
fn zsh_proposes_verbs_options_words_keys_and_files() {
    if !has("zsh", "its completions are") {
        return;
    }
    // A shell on a terminal of its own, whose completion hands out what it would show.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manual/zsh_proposes");
    let script = format!("source {}", script.display());
    let cases: Vec<_> = CASES.iter().filter(|case| !case.0.contains("man/")).copied().collect();
    check("zsh", &script, &cases);
    check("zsh", &script, &[("mpreg config check man/mpreg.", &["mpreg.1", "mpreg.toml.5"], &["server"])]);
    let keys: &[(&str, &[&str], &[&str])] = &[
        ("mpreg server start --set persistence.mo", &["persistence.mode"], &[]),
        ("mpreg server start --set persistence.mode=", &["off", "memory", "fjall"], &[]),
    ];
    check("zsh", &script, keys);
}
