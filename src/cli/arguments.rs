//! From the words of the command line to the verb they ask for.
//!
//! argh declares and parses; this module bends what it does not offer: `--name=value`, options anywhere behind the
//! verb, negative numbers as arguments, `help` as an ordinary argument, suggestions, and exit status 2. It sorts
//! the words by the declared table and hands argh the one form that it reads without surprises.

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, FromArgs};

use super::{Top, commands, help};

/// Why no verb is run.
#[derive(Debug)]
pub enum Stop {
    /// What to print on stdout.
    Help(String),
    Version,
    /// What is wrong, for stderr.
    Usage(String),
    /// A group alone: its help, for stderr.
    NoVerb(String),
}

pub(super) fn parse(words: &[String]) -> Result<Top, Stop> {
    let root = commands();
    let sorted = sort(&root, words)?;
    let mut all: Vec<&str> = Vec::new();
    all.extend(sorted.global.iter().map(String::as_str));
    all.extend(&sorted.path);
    all.extend(sorted.options.iter().map(String::as_str));
    if !sorted.positionals.is_empty() {
        all.push("--");
        all.extend(&sorted.positionals);
    }
    Top::from_args(&[root.name], &all)
        .map_err(|early| Stop::Usage(format!("{}\n{}", early.output.trim_end(), see(&sorted.path))))
}

#[derive(Debug, Default)]
struct Sorted<'a> {
    path: Vec<&'a str>,
    global: Vec<String>,
    options: Vec<String>,
    positionals: Vec<&'a str>,
}

fn sort<'a>(root: &'a CommandInfoWithArgs, words: &'a [String]) -> Result<Sorted<'a>, Stop> {
    let mut sorted = Sorted::default();
    let mut verb = root;
    let (mut help, mut wrong) = (false, None);
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if word == "--" {
            sorted.positionals.extend(words.by_ref());
        } else if word == "--help" || word == "-h" || (word == "help" && !verb.commands.is_empty()) {
            help = true;
        } else if word == "--version" && verb.name == root.name {
            return Err(Stop::Version);
        } else if word.len() > 1 && word.starts_with('-') {
            let (name, given) = match word.split_once('=') {
                Some((name, given)) => (name, Some(given)),
                None => (word, None),
            };
            let (flag, target) = match (find(root, name), find(verb, name)) {
                (Some(flag), _) => (flag, &mut sorted.global),
                (None, Some(flag)) => (flag, &mut sorted.options),
                (None, None) if word.parse::<f64>().is_ok() && verb.commands.is_empty() => {
                    sorted.positionals.push(word);
                    continue;
                }
                (None, None) => {
                    wrong.get_or_insert_with(|| unknown_option(verb, name, &sorted.path));
                    continue;
                }
            };
            target.push(flag.long.to_owned());
            match (&flag.kind, given) {
                (FlagInfoKind::Switch, None) => {}
                (FlagInfoKind::Switch, Some(_)) => {
                    wrong.get_or_insert(format!("{} takes no value", flag.long));
                }
                (FlagInfoKind::Option { .. }, Some(given)) => target.push(given.to_owned()),
                (FlagInfoKind::Option { .. }, None) => match words.next() {
                    Some("--help" | "-h") => help = true,
                    Some(value) => target.push(value.to_owned()),
                    None => {
                        wrong.get_or_insert(format!("{} needs a value", flag.long));
                    }
                },
            }
        } else if verb.commands.is_empty() {
            sorted.positionals.push(word);
        } else if let Some(inner) = verb.commands.iter().find(|c| c.name == word) {
            sorted.path.push(inner.name);
            verb = &inner.command;
        } else {
            wrong.get_or_insert_with(|| unknown_verb(root, verb, word, &sorted.path));
            break;
        }
    }
    if help {
        Err(Stop::Help(help::text(&sorted.path, verb)))
    } else if let Some(wrong) = wrong {
        Err(Stop::Usage(format!("{wrong}\n{}", see(&sorted.path))))
    } else if !verb.commands.is_empty() {
        Err(Stop::NoVerb(help::text(&sorted.path, verb)))
    } else {
        Ok(sorted)
    }
}

fn find<'a>(verb: &'a CommandInfoWithArgs, name: &str) -> Option<&'a FlagInfo<'static>> {
    let short = name.strip_prefix('-').filter(|s| s.chars().count() == 1).and_then(|s| s.chars().next());
    verb.flags.iter().find(|flag| flag.long == name || (short.is_some() && flag.short == short))
}

fn see(path: &[&str]) -> String {
    let words: Vec<&str> = ["mpreg"].iter().chain(path).copied().collect();
    format!("See `{} --help`.", words.join(" "))
}

fn unknown_option(verb: &CommandInfoWithArgs, name: &str, path: &[&str]) -> String {
    let near = suggestions(name, verb.flags.iter().map(|flag| flag.long));
    let mut text = format!("unknown option {name}");
    if !near.is_empty() {
        text += &format!("; did you mean {}?", near.join(" or "));
    } else if path.is_empty() {
        text += "; options stand behind the verb";
    } else if !verb.positionals.is_empty() {
        text += "; put arguments that begin with a dash behind `--`";
    }
    text
}

fn unknown_verb(root: &CommandInfoWithArgs, verb: &CommandInfoWithArgs, word: &str, path: &[&str]) -> String {
    let mut near = Vec::new();
    for name in suggestions(word, help::shown(verb).map(|c| c.name)) {
        near.push(path.iter().copied().chain([name]).collect::<Vec<_>>().join(" "));
    }
    if near.is_empty() {
        elsewhere(root, word, &mut Vec::new(), &mut near);
    }
    match near.as_slice() {
        [] => {
            let names: Vec<&str> = help::shown(verb).map(|c| c.name).collect();
            format!("there is no `{word}` here; there are {}", names.join(", "))
        }
        near => format!("there is no `{word}` here; did you mean `mpreg {}`?", near.join("` or `mpreg ")),
    }
}

/// Verbs of that very name in other groups.
fn elsewhere<'a>(
    verb: &'a CommandInfoWithArgs,
    word: &str,
    path: &mut Vec<&'a str>,
    found: &mut Vec<String>,
) {
    for inner in &verb.commands {
        path.push(inner.name);
        if inner.name == word {
            found.push(path.join(" "));
        }
        elsewhere(&inner.command, word, path, found);
        path.pop();
    }
}

/// Names that look like `word` (cli-config 4.7, rule 2), best first.
fn suggestions<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_'], "");
    let asked = plain(word);
    let mut near: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let known = plain(name);
            let distance = strsim::damerau_levenshtein(&asked, &known);
            let length = asked.len().max(known.len());
            let shared = asked.len() >= SHARED_MIN
                && (known.starts_with(asked.as_str()) || known.ends_with(asked.as_str()));
            (distance <= 2.max(length / 4) && distance < length || shared).then_some((distance, name))
        })
        .collect();
    near.sort();
    near.into_iter().map(|(_, name)| name).take(SUGGESTIONS_MAX).collect()
}

/// So many equal characters at an end make a name similar.
const SHARED_MIN: usize = 5;
const SUGGESTIONS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match parse(&words) {
            Err(Stop::Usage(text) | Stop::NoVerb(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    fn parsed(line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        format!("{:?}", parse(&words).unwrap_or_else(|stop| panic!("{stop:?}")))
    }

    #[test]
    fn options_stand_anywhere_behind_the_verb_and_may_carry_their_value() {
        let a = parsed("client call echo 1 --url=ws://h --timeout 2 two");
        assert!(a.contains(r#"args: ["1", "two"]"#) && a.contains(r#"url: Some("ws://h")"#), "{a}");
        for line in ["-v client call echo", "client --verbose call echo", "client call echo -v"] {
            assert!(parsed(line).contains("verbose: true"), "{line}");
        }
    }

    #[test]
    fn arguments_may_be_negative_numbers_help_or_anything_behind_two_dashes() {
        let a = parsed("client call echo -5 help --url u -- --json -x");
        assert!(a.contains(r#"args: ["-5", "help", "--json", "-x"]"#) && a.contains("json: false"), "{a}");
    }

    #[test]
    fn a_wrong_word_is_met_with_the_nearest_verb() {
        assert!(usage("client cal").contains("did you mean `mpreg client call`?"));
        assert!(usage("list-peers").contains("did you mean `mpreg client list-peers`?"));
        assert!(usage("client call f --tiemout 1").contains("did you mean --timeout?"));
        assert!(usage("xyzzy").contains("there are server, client"));
    }

    #[test]
    fn a_group_alone_shows_its_verbs() {
        assert!(usage("client").contains("list-peers") && usage("").contains("discovery"));
    }

    #[test]
    fn help_wins_over_everything_that_is_missing() {
        for line in [
            "client dns-register --help",
            "--help client dns-register",
            "help client dns-register",
            "client dns-register --name -h",
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert!(matches!(parse(&words), Err(Stop::Help(text)) if text.contains("--protocol")), "{line}");
        }
    }

    #[test]
    fn a_missing_or_doubled_option_is_a_usage_error() {
        assert!(usage("client dns-register --name x").contains("--namespace"));
        assert!(usage("client call f --timeout 1 --timeout 2").contains("duplicate"));
        assert!(usage("client call f --timeout").contains("needs a value"));
        assert!(usage("client call f --json=1").contains("takes no value"));
        assert!(usage("client call").contains("See `mpreg client call --help`"));
    }

    /// Every verb is documented by example, and no example is out of date.
    #[test]
    fn every_verb_has_examples_that_parse() {
        fn visit(path: &mut Vec<&'static str>, verb: &CommandInfoWithArgs, seen: &mut usize) {
            if verb.commands.is_empty() {
                *seen += 1;
                assert!(!verb.examples.is_empty(), "{path:?} has no example");
            }
            for example in verb.examples.iter().flat_map(|e| e.lines()) {
                let example = help::unescaped(example);
                let line = example.split(" | ").next().unwrap_or_default();
                let words = words_of(line.split_once("mpreg ").map_or("", |(_, line)| line));
                let parsed = parse(&words);
                assert!(parsed.is_ok(), "{example}: {parsed:?}");
            }
            for inner in &verb.commands {
                path.push(inner.name);
                visit(path, &inner.command, seen);
                path.pop();
            }
        }
        let mut seen = 0;
        visit(&mut Vec::new(), &commands(), &mut seen);
        assert!(seen > 20);
    }

    /// Words of a shell line, with single quotes only.
    fn words_of(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (n, part) in line.split('\'').enumerate() {
            match n % 2 {
                0 => words.extend(part.split_whitespace().map(str::to_owned)),
                _ => words.push(part.to_owned()),
            }
        }
        words
    }
}
