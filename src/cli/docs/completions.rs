//! Completions for bash, zsh and fish: verbs, options, words of enumerations, keys and file names.
//!
//! Each is one file that needs nothing but its shell. Nothing is asked of a node while a person types.

use argh::{CommandInfoWithArgs, FlagInfo, Optionality};

use super::Document;
use super::values::{self, Values};
use crate::cli::help;

/// The three files.
pub fn all(commands: &CommandInfoWithArgs) -> Vec<Document> {
    let mut verbs = Vec::new();
    collect(Vec::new(), commands, &mut verbs);
    vec![
        Document { name: "mpreg.bash", text: bash(&verbs) },
        Document { name: "_mpreg", text: zsh(&verbs) },
        Document { name: "mpreg.fish", text: fish(&verbs) },
    ]
}

/// A group or verb with the words that lead to it.
struct Verb<'a> {
    path: Vec<&'a str>,
    info: &'a CommandInfoWithArgs,
    /// Its options, and those that go with every verb.
    flags: Vec<&'a FlagInfo<'static>>,
}

fn collect<'a>(path: Vec<&'a str>, info: &'a CommandInfoWithArgs, verbs: &mut Vec<Verb<'a>>) {
    let everywhere = verbs.first().map_or(&[][..], |root| root.info.flags);
    let everywhere = everywhere.iter().filter(|flag| flag.long != "--version");
    let flags = info.flags.iter().chain(everywhere);
    let flags = flags.filter(|flag| !flag.hidden && flag.long != "--help").collect();
    verbs.push(Verb { path: path.clone(), info, flags });
    for inner in help::shown(info) {
        collect(path.iter().copied().chain([inner.name]).collect(), &inner.command, verbs);
    }
}

impl Verb<'_> {
    fn names(&self) -> Vec<&str> {
        help::shown(self.info).map(|inner| inner.name).collect()
    }

    fn options(&self) -> Vec<String> {
        let mut options: Vec<String> = self.flags.iter().map(|flag| flag.long.to_owned()).collect();
        options.push("--help".into());
        options
    }
}

fn bash(verbs: &[Verb]) -> String {
    let mut groups = String::new();
    let (mut options, mut valued, mut arguments) = (String::new(), String::new(), String::new());
    for verb in verbs {
        let path = verb.path.join(" ");
        let names = verb.names();
        if !names.is_empty() {
            groups += &format!("        '{path}') echo '{}' ;;\n", names.join(" "));
        }
        options += &format!("        '{path}') echo '{}' ;;\n", verb.options().join(" "));
        for flag in &verb.flags {
            if let Some(values) = values::of_option(flag) {
                valued += &format!("        '{path} {}') echo {} ;;\n", flag.long, bash_values(&values));
            }
        }
        if verb.info.positionals.iter().any(|p| values::of_argument(p.name) == Values::Files) {
            arguments += &format!("        '{path}') echo @files ;;\n");
        }
    }
    let keys: Vec<&str> = values::assignments().iter().map(|(key, _)| *key).collect();
    let mut of_keys = String::new();
    for (key, words) in values::assignments().iter().filter(|(_, words)| !words.is_empty()) {
        of_keys += &format!("        {key}) echo '{}' ;;\n", words.join(" "));
    }
    BASH.replace("@groups@\n", &groups)
        .replace("@options@\n", &options)
        .replace("@valued@\n", &valued)
        .replace("@arguments@\n", &arguments)
        .replace("@keys@", &keys.join(" "))
        .replace("@of_keys@\n", &of_keys)
}

fn bash_values(values: &Values) -> String {
    match values {
        Values::Any => "@any".into(),
        Values::Files => "@files".into(),
        Values::Assignment => "@key".into(),
        Values::Words(words) => format!("'{}'", words.join(" ")),
    }
}

fn zsh(verbs: &[Verb]) -> String {
    let mut functions = String::new();
    for verb in verbs {
        functions += &format!("\n{}() {{\n", zsh_name(&verb.path));
        let names = help::shown(verb.info).collect::<Vec<_>>();
        if names.is_empty() {
            functions += "    _arguments -s \\\n";
            functions += &zsh_options(verb);
            for (n, positional) in verb.info.positionals.iter().enumerate() {
                let place = match positional.optionality {
                    Optionality::Required => format!("{}:", n + 1),
                    Optionality::Optional => format!("{}::", n + 1),
                    Optionality::Repeating | Optionality::Greedy => "*:".into(),
                };
                let action = zsh_action(&values::of_argument(positional.name));
                functions +=
                    &format!("        {} \\\n", zsh_quoted(&format!("{place}{}:{action}", positional.name)));
            }
            functions += "        && return 0\n}\n";
            continue;
        }
        functions += "    local context state state_descr line\n    typeset -A opt_args\n";
        functions += "    _arguments -C \\\n";
        functions += &zsh_options(verb);
        functions += "        '1: :->verb' '*:: :->rest' && return 0\n    case $state in\n";
        functions += "        verb)\n            local -a verbs=(\n";
        for inner in &names {
            let meaning = help::unescaped(inner.command.description);
            let text = format!("{}:{}", inner.name, meaning.replace(':', "\\:"));
            functions += &format!("                {}\n", zsh_quoted(&text));
        }
        functions += "            )\n            _describe -t verbs verb verbs\n            ;;\n";
        functions += "        rest)\n            case $line[1] in\n";
        for inner in &names {
            let path: Vec<&str> = verb.path.iter().copied().chain([inner.name]).collect();
            functions += &format!("                {}) {} ;;\n", inner.name, zsh_name(&path));
        }
        functions += "            esac\n            ;;\n    esac\n}\n";
    }
    let mut keys = String::new();
    for (key, words) in values::assignments() {
        keys += &match words.as_slice() {
            [] => format!("        '{key}:'\n"),
            words => format!("        '{key}:{}'\n", words.join(" ")),
        };
    }
    ZSH.replace("@keys@\n", &keys).replace("@functions@\n", &functions)
}

fn zsh_name(path: &[&str]) -> String {
    path.iter().fold(String::from("_mpreg"), |name, word| format!("{name}_{}", word.replace('-', "_")))
}

fn zsh_options(verb: &Verb) -> String {
    let mut out = String::new();
    for flag in &verb.flags {
        let meaning = help::unescaped(flag.description).replace('[', "\\[").replace(']', "\\]");
        let meaning = meaning.replace(':', "\\:");
        let star = if flag.optionality == Optionality::Repeating { "*" } else { "" };
        let value = match values::of_option(flag) {
            None => String::new(),
            Some(values) => format!(":value:{}", zsh_action(&values)),
        };
        let sign = if value.is_empty() { "" } else { "=" };
        let text = format!("{star}{}{sign}[{meaning}]{value}", flag.long);
        out += &format!("        {} \\\n", zsh_quoted(&text));
        if let Some(short) = flag.short {
            out += &format!("        {} \\\n", zsh_quoted(&format!("{star}-{short}[{meaning}]{value}")));
        }
    }
    out + "        '(- *)'{-h,--help}'[tell how it is used]' \\\n"
}

fn zsh_action(values: &Values) -> String {
    match values {
        Values::Any => " ".into(),
        Values::Files => "_files".into(),
        Values::Assignment => "__mpreg_assignment".into(),
        Values::Words(words) => format!("({})", words.join(" ")),
    }
}

fn zsh_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn fish(verbs: &[Verb]) -> String {
    let paths: Vec<String> =
        verbs.iter().filter(|v| !v.path.is_empty()).map(|v| format!("'{}'", v.path.join(" "))).collect();
    let mut out = FISH.replace("@paths@", &paths.join(" \\\n        "));
    let keys: Vec<&str> = values::assignments().iter().map(|(key, _)| *key).collect();
    out = out.replace("@keys@", &keys.join(" "));
    let mut of_keys = String::new();
    for (key, words) in values::assignments().iter().filter(|(_, words)| !words.is_empty()) {
        of_keys += &format!("        case {key}\n            printf '%s\\n' {key}={{{}}}\n", words.join(","));
    }
    out = out.replace("@of_keys@\n", &of_keys);
    for verb in verbs {
        let at = format!("complete -c mpreg -n \"__mpreg_at '{}'\"", verb.path.join(" "));
        for inner in help::shown(verb.info) {
            let meaning = fish_quoted(&help::unescaped(inner.command.description));
            out += &format!("{at} -a {} -d {meaning}\n", inner.name);
        }
        for flag in &verb.flags {
            let short = flag.short.map(|short| format!(" -s {short}")).unwrap_or_default();
            let value = match values::of_option(flag) {
                None => String::new(),
                Some(Values::Any) => " -x".into(),
                Some(Values::Files) => " -r -F".into(),
                Some(Values::Assignment) => " -x -a '(__mpreg_assignment)'".into(),
                Some(Values::Words(words)) => format!(" -x -a '{}'", words.join(" ")),
            };
            let meaning = fish_quoted(&help::unescaped(flag.description));
            out += &format!("{at}{short} -l {}{value} -d {meaning}\n", flag.long.trim_start_matches('-'));
        }
        if verb.info.positionals.iter().any(|p| values::of_argument(p.name) == Values::Files) {
            out += &format!("{at} -F\n");
        }
        out += &format!("{at} -s h -l help -d 'tell how it is used'\n");
    }
    out
}

fn fish_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

const BASH: &str = include_str!("shells/bash");
const ZSH: &str = include_str!("shells/zsh");
const FISH: &str = include_str!("shells/fish");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_with_few_values_is_known() {
        let commands = crate::cli::commands();
        let mut verbs = Vec::new();
        collect(Vec::new(), &commands, &mut verbs);
        let mut words = 0;
        for flag in verbs.iter().flat_map(|verb| &verb.flags) {
            let is_list = flag.description.contains("local, zone") || flag.description.contains("tcp or udp");
            let values = values::of_option(flag);
            assert!(!is_list || matches!(values, Some(Values::Words(_))), "{}", flag.long);
            words += usize::from(matches!(values, Some(Values::Words(_))));
        }
        assert!(words > 10, "{words}");
    }

    #[test]
    fn hidden_verbs_are_in_none() {
        for document in all(&crate::cli::commands()) {
            // The head of each file says what made it.
            assert!(!document.text.lines().skip(3).any(|line| line.contains("docs")), "{}", document.name);
            assert!(document.text.contains("--version-constraint") || document.name == "mpreg.fish");
        }
    }
}
