//! The man page, in the macros of man(7).

use super::help::{capitalized, exits};
use super::{ACTIONS, Action, EXITS, OPTIONS, Opt};
use crate::Program;

/// The whole page.
pub(crate) fn page(program: &Program) -> String {
    let (name, upper) = (program.name, program.name.to_uppercase());
    let about = program.title.split_once(", ").map_or(program.title, |(_, about)| about);
    let mut page = format!(
        ".TH {} 1 \"\" \"{} {}\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.B {}\n.RI [ ACTION ]\n.RI [ OPTIONS ]\n",
        text(&upper),
        text(name),
        text(program.version),
        text(name),
        text(about),
        text(name),
    );
    page += ".SH ACTIONS\n";
    for action in ACTIONS {
        describe(&mut page, name, action);
    }
    page += ".SH OPTIONS\nOne dash does as well as two.\n";
    for option in OPTIONS {
        describe_option(&mut page, name, option);
    }
    page += ".SH EXIT STATUS\n";
    for (status, meaning) in EXITS {
        page += &format!(".TP\n.B {status}\n{}\n", text(&capitalized(meaning)));
    }
    page
}

fn describe(page: &mut String, name: &str, action: &Action) {
    let names: Vec<String> =
        action.names.iter().map(|name| format!("\\fB{}\\fR", text(name))).collect();
    let operands = text(&action.operands.synopsis());
    *page += &format!(
        ".TP\n{} \\fI{operands}\\fR\n{}\n",
        names.join(", "),
        text(&capitalized(action.about))
    );
    if !action.more.is_empty() {
        *page += &format!("{}\n", text(&action.more.replace("NAME", name)));
    }
    let own: Vec<String> = action
        .options()
        .filter(|option| !option.of.is_empty())
        .map(|option| format!("\\fB{}\\fR", text(&format!("--{}", option.name()))))
        .collect();
    if !own.is_empty() {
        *page += &format!("Options: {}.\n", own.join(", "));
    }
    if !action.exits.is_empty() {
        let exits = exits(action).map(|(status, meaning)| format!("{status} {meaning}"));
        *page += &format!("Exit status: {}.\n", text(&exits.collect::<Vec<_>>().join("; ")));
    }
}

fn describe_option(page: &mut String, name: &str, option: &Opt) {
    let value = option.value().map(|value| format!(" \\fI{}\\fR", text(value.name)));
    let names: Vec<String> =
        option.names.iter().map(|name| format!("\\fB{}\\fR", text(&format!("--{name}")))).collect();
    let about = text(&capitalized(&option.text(name)));
    *page += &format!(".TP\n{}{}\n{about}\n", names.join(", "), value.unwrap_or_default());
}

/// Escaped: a line must not begin with a control character, and dashes are to be copied as they are.
fn text(plain: &str) -> String {
    let escaped = plain.replace('\\', "\\e").replace('-', "\\-");
    match escaped.chars().next() {
        Some('.' | '\'') => format!("\\&{escaped}"),
        _ => escaped,
    }
}
