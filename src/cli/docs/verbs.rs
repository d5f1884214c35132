//! The reference of verbs in mpreg(1) and mpreg-ctl(1), from the one table that parses the command line.
//!
//! Options that most verbs of a page share are told once; each verb says whether it takes them.

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality, PositionalInfo};

use super::mdoc;
use crate::cli::help;

/// A verb with the words that lead to it.
struct Verb<'a> {
    path: Vec<&'a str>,
    info: &'a CommandInfoWithArgs,
}

/// The group of that name.
pub fn group<'a>(commands: &'a CommandInfoWithArgs, name: &str) -> Option<&'a CommandInfoWithArgs> {
    commands.commands.iter().find(|inner| inner.name == name).map(|inner| &inner.command)
}

/// All groups but these, each as a subsection; before them the options that go with every verb.
pub fn reference(commands: &CommandInfoWithArgs, but: &[&str]) -> String {
    let groups: Vec<_> = help::shown(commands).filter(|group| !but.contains(&group.name)).collect();
    let all: Vec<Verb> = groups.iter().flat_map(|g| verbs(vec![g.name], &g.command)).collect();
    let shared = shared(&all);
    let mut out = String::from(".Ss Options of every verb\n");
    out += ".Bl -tag -width Ds -compact\n.It Fl h , \\-help\nTell how the verb is used, with examples, and end.\n.El\n";
    list(&mut out, "", &commands.flags.iter().filter(|flag| is_told(flag)).collect::<Vec<_>>(), &[]);
    out += ".Ss Options of verbs that talk to a node\n";
    list(&mut out, "", &shared, &[]);
    for group in groups {
        out += &format!(".Ss mpreg {}\n", mdoc::argument(group.name));
        out += &mdoc::sentence(&help::unescaped(group.command.description));
        describe(&mut out, &verbs(vec![group.name], &group.command), &shared, SHARED_NODE);
        notes(&mut out, &group.command);
    }
    out
}

/// One group with a page of its own.
pub fn of_group(commands: &CommandInfoWithArgs, name: &'static str) -> String {
    let Some(info) = group(commands, name) else { return String::new() };
    let all = verbs(vec![name], info);
    let shared = shared(&all);
    let mut out = String::from(".Ss Options of every verb\n");
    list(&mut out, "", &shared, &[]);
    out += ".Ss Verbs\n";
    describe(&mut out, &all, &shared, SHARED_CTL);
    notes(&mut out, info);
    out
}

fn verbs<'a>(path: Vec<&'a str>, info: &'a CommandInfoWithArgs) -> Vec<Verb<'a>> {
    if info.commands.is_empty() {
        return vec![Verb { path, info }];
    }
    info.commands
        .iter()
        .flat_map(|inner| verbs(path.iter().copied().chain([inner.name]).collect(), &inner.command))
        .collect()
}

/// Options that more than half of the verbs have, in the order of the first that has them all.
fn shared<'a>(all: &[Verb<'a>]) -> Vec<&'a FlagInfo<'static>> {
    let Some(most) = all.iter().max_by_key(|verb| usage_count(all, verb.info)) else { return Vec::new() };
    most.info.flags.iter().filter(|flag| is_common(all, flag)).collect()
}

fn usage_count(all: &[Verb], info: &CommandInfoWithArgs) -> usize {
    info.flags.iter().filter(|flag| is_common(all, flag)).count()
}

fn is_common(all: &[Verb], flag: &FlagInfo) -> bool {
    is_told(flag) && 2 * all.iter().filter(|verb| verb.info.flags.contains(flag)).count() > all.len()
}

/// `--help` is told once, for all verbs.
fn is_told(flag: &FlagInfo) -> bool {
    !flag.hidden && flag.long != "--help"
}

fn describe(out: &mut String, all: &[Verb], shared: &[&FlagInfo], shared_text: &str) {
    *out += ".Bl -tag -width Ds\n";
    for verb in all {
        let takes_shared = !shared.is_empty() && shared.iter().all(|flag| verb.info.flags.contains(flag));
        let own: Vec<&FlagInfo> = verb
            .info
            .flags
            .iter()
            .filter(|flag| is_told(flag) && !(takes_shared && shared.contains(flag)))
            .collect();
        let words: Vec<String> = verb.path.iter().map(|word| mdoc::argument(word)).collect();
        *out += &format!(".It Xo\n.Cm {}\n", words.join(" "));
        for positional in verb.info.positionals.iter().filter(|p| !p.hidden) {
            let name = mdoc::argument(positional.name);
            *out += &match positional.optionality {
                Optionality::Required => format!(".Ar {name}\n"),
                Optionality::Optional => format!(".Op Ar {name}\n"),
                Optionality::Repeating | Optionality::Greedy => format!(".Op Ar {name} ...\n"),
            };
        }
        for flag in own.iter().filter(|flag| matches!(flag.optionality, Optionality::Required)) {
            *out += &format!(".Fl {}\n", option(flag));
        }
        if takes_shared || own.iter().any(|flag| !matches!(flag.optionality, Optionality::Required)) {
            *out += ".Op Ar options\n";
        }
        *out += ".Xc\n";
        *out += &mdoc::sentence(&help::unescaped(verb.info.description));
        if takes_shared {
            *out += shared_text;
        }
        list(out, ".Pp\n", &own, verb.info.positionals);
        notes(out, verb.info);
        if !verb.info.examples.is_empty() {
            *out += ".Pp\n";
        }
        for line in verb.info.examples.iter().flat_map(|example| example.lines()) {
            *out += &mdoc::command(&help::unescaped(line));
        }
    }
    *out += ".El\n";
}

fn notes(out: &mut String, info: &CommandInfoWithArgs) {
    for note in info.notes {
        *out += ".Pp\n";
        *out += &mdoc::sentence(&help::unescaped(note));
    }
}

fn list(out: &mut String, before: &str, flags: &[&FlagInfo], positionals: &[PositionalInfo]) {
    if flags.is_empty() && positionals.is_empty() {
        return;
    }
    *out += before;
    *out += ".Bl -tag -width Ds -compact\n";
    for positional in positionals.iter().filter(|p| !p.hidden) {
        *out += &format!(".It Ar {}\n", mdoc::argument(positional.name));
        *out += &mdoc::sentence(&help::unescaped(positional.description));
    }
    for flag in flags {
        let short = flag.short.map(|short| format!("{short} , ")).unwrap_or_default();
        *out += &format!(".It Fl {short}{}\n", option(flag));
        *out += &mdoc::sentence(&help::unescaped(flag.description));
        if matches!(flag.optionality, Optionality::Repeating) {
            *out += "May be repeated.\n";
        }
    }
    *out += ".El\n";
}

/// Behind `.Fl`, which writes the first hyphen.
fn option(flag: &FlagInfo) -> String {
    let name = flag.long.strip_prefix('-').unwrap_or(flag.long).replace('-', "\\-");
    match flag.kind {
        FlagInfoKind::Option { arg_name } => {
            format!("{name} Ar {}", mdoc::argument(&arg_name.to_uppercase()))
        }
        FlagInfoKind::Switch => name,
    }
}

const SHARED_NODE: &str = "Takes the options of verbs that talk to a node.\n";
const SHARED_CTL: &str = "";
