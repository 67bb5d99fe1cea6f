//! What completes the command line in shells: bash, zsh, fish.

use super::{ACTIONS, Action, Is, OPTIONS, Opt};
use crate::Program;

/// For bash. `signs` are those of the components.
pub(crate) fn bash(program: &Program, signs: &[&str]) -> String {
    let name = program.name;
    let complete = |is: Is| match is {
        Is::File => {
            "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")".to_owned()
        }
        Is::Dir => {
            "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")".to_owned()
        }
        words => among(&choices(words, signs).join(" ")),
    };
    let mut values = String::new();
    for (option, value) in OPTIONS.iter().filter_map(|option| Some((option, option.value()?))) {
        values +=
            &format!("        {}) {}; return ;;\n", spelled(option).join("|"), complete(value.is));
    }
    let (mut options, mut operands) = (String::new(), String::new());
    for action in ACTIONS {
        let names = action.names.join("|");
        options += &format!("            {names}) {} ;;\n", among(&long(action.options())));
        if let Some(value) = action.operands.value() {
            operands += &format!("            {names}) {} ;;\n", complete(value.is));
        }
    }
    format!(
        "# Completes {name} in bash; made by `{name} completion bash`.
_{name}() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} action= word
    COMPREPLY=()
    for word in \"${{COMP_WORDS[@]:1:COMP_CWORD-1}}\"; do
        case $word in
        {}) action=$word; break ;;
        esac
    done
    case $prev in
{values}    esac
    if [[ $cur == -* ]]; then
        case $action in
{options}            *) {} ;;
        esac
    elif [[ -z $action ]]; then
        {}
    else
        case $action in
{operands}        esac
    fi
}}
complete -F _{name} {name}
",
        names().join("|"),
        among(&long(OPTIONS.iter())),
        among(&names().join(" ")),
    )
}

/// For zsh.
pub(crate) fn zsh(program: &Program, signs: &[&str]) -> String {
    let name = program.name;
    let complete = |is: Is| match is {
        Is::File => "_files".to_owned(),
        Is::Dir => "_files -/".to_owned(),
        words => format!("compadd -- {}", choices(words, signs).join(" ")),
    };
    let listed = |options: &mut dyn Iterator<Item = &Opt>| {
        let options = options.map(|option| {
            quoted(&format!("--{}:{}", option.name(), option.text(name).replace(':', "\\:")))
        });
        options.collect::<Vec<_>>().join(" ")
    };
    let mut values = String::new();
    for (option, value) in OPTIONS.iter().filter_map(|option| Some((option, option.value()?))) {
        values +=
            &format!("        ({}) {}; return ;;\n", spelled(option).join("|"), complete(value.is));
    }
    let (mut options, mut operands) = (String::new(), String::new());
    for action in ACTIONS {
        let names = action.names.join("|");
        options +=
            &format!("            ({names}) options=({}) ;;\n", listed(&mut action.options()));
        if let Some(value) = action.operands.value() {
            operands += &format!("            ({names}) {} ;;\n", complete(value.is));
        }
    }
    let actions =
        ACTIONS.iter().map(|action| quoted(&format!("{}:{}", action.name(), action.about)));
    format!(
        "#compdef {name}
# Completes {name} in zsh; made by `{name} completion zsh`.
_{name}() {{
    local -a actions options
    local action word
    for word in ${{words[2,CURRENT-1]}}; do
        case $word in
        ({}) action=$word; break ;;
        esac
    done
    case ${{words[CURRENT-1]}} in
{values}    esac
    if [[ ${{words[CURRENT]}} == -* ]]; then
        case $action in
{options}            (*) options=({}) ;;
        esac
        _describe -o option options
    elif [[ -z $action ]]; then
        actions=({})
        _describe action actions
    else
        case $action in
{operands}        esac
    fi
}}
if [[ $funcstack[1] == _{name} ]]; then _{name} \"$@\"; else compdef _{name} {name}; fi
",
        names().join("|"),
        listed(&mut OPTIONS.iter()),
        actions.collect::<Vec<_>>().join(" "),
    )
}

/// For fish.
pub(crate) fn fish(program: &Program, signs: &[&str]) -> String {
    let name = program.name;
    let takes = |is: Is| match is {
        Is::File => "-F".to_owned(),
        Is::Dir => "-a '(__fish_complete_directories)'".to_owned(),
        words => format!("-a {}", quoted(&choices(words, signs).join(" "))),
    };
    let seen = |names: &[&str]| format!("__fish_seen_subcommand_from {}", names.join(" "));
    let unsaid = format!("not {}", seen(&names()));
    let mut text = format!(
        "# Completes {name} in fish; made by `{name} completion fish`.\ncomplete -c {name} -f\n"
    );
    for action in ACTIONS {
        let about = quoted(action.about);
        text += &format!("complete -c {name} -n '{unsaid}' -a {} -d {about}\n", action.name());
        if let Some(value) = action.operands.value() {
            text +=
                &format!("complete -c {name} -n '{}' {}\n", seen(action.names), takes(value.is));
        }
    }
    for option in OPTIONS {
        let condition = match option.of {
            [] => String::new(),
            of if of.contains(&"serve") => format!("-n '{unsaid}; or {}' ", seen(of)),
            of => format!("-n '{}' ", seen(of)),
        };
        let value =
            option.value().map(|value| format!("-r {} ", takes(value.is))).unwrap_or_default();
        let about = quoted(&option.text(name));
        text += &format!("complete -c {name} {condition}-l {} {value}-d {about}\n", option.name());
    }
    text
}

fn names() -> Vec<&'static str> {
    ACTIONS.iter().map(Action::name).collect()
}

/// All that a value can be, which is no file.
fn choices<'a>(is: Is, signs: &[&'a str]) -> Vec<&'a str> {
    match is {
        Is::OneOf(choices) => choices.to_vec(),
        Is::Action => names(),
        Is::Sign => signs.to_vec(),
        Is::File | Is::Dir | Is::Text => Vec::new(),
    }
}

/// For bash: those of the words that begin like what is there.
fn among(words: &str) -> String {
    format!("mapfile -t COMPREPLY < <(compgen -W '{words}' -- \"$cur\")")
}

fn long<'a>(options: impl Iterator<Item = &'a Opt>) -> String {
    options.map(|option| format!("--{}", option.name())).collect::<Vec<_>>().join(" ")
}

/// In every way that an option can be written.
fn spelled(option: &Opt) -> Vec<String> {
    option.names.iter().flat_map(|name| [format!("--{name}"), format!("-{name}")]).collect()
}

/// For any of the shells: a word, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
