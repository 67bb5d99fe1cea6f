//! The text of `help`.

use super::{ACTIONS, Action, EXITS, Opt};
use crate::Program;

/// The columns of a terminal that text may take.
const WIDTH: usize = 80;

/// The column at which it is said what something is.
const INDENT: usize = 21;

/// All actions and options, in short.
pub(crate) fn overall(program: &Program) -> String {
    let name = program.name;
    let mut text = format!("{}\n\nUsage: {name} [ACTION] [OPTIONS]\n\nActions:\n", program.title);
    for action in ACTIONS {
        item(&mut text, &synopsis(action), action.about);
    }
    text += "\nOptions:\n";
    for option in super::OPTIONS {
        describe(&mut text, program, option);
    }
    text +=
        &format!("\nMore about an action and its options: {name} help ACTION\n\nExit status:\n");
    for (status, meaning) in EXITS {
        item(&mut text, &status.to_string(), meaning);
    }
    text
}

/// All about one action.
pub(crate) fn of_action(program: &Program, action: &str) -> Result<String, String> {
    let name = program.name;
    let action = Action::named(action)?;
    let mut text = format!("Usage: {name} {} [OPTIONS]\n\n", synopsis(action));
    text += &wrapped(&capitalized(action.about), 0);
    if !action.more.is_empty() {
        text += &format!("\n{}", wrapped(&action.more.replace("NAME", name), 0));
    }
    if let Some(others @ [_, ..]) = action.names.get(1..) {
        text += &format!("\nOther names: {}\n", others.join(", "));
    }
    text += "\nOptions:\n";
    for option in action.options() {
        describe(&mut text, program, option);
    }
    text += "\nExit status:\n";
    for (status, meaning) in exits(action) {
        item(&mut text, &status.to_string(), meaning);
    }
    Ok(text)
}

/// What the exit statuses of an action mean.
pub(super) fn exits(action: &Action) -> impl Iterator<Item = (u8, &'static str)> {
    EXITS.iter().filter_map(|(status, general)| {
        match action.exits.iter().find(|(own, _)| own == status) {
            Some((_, own)) => Some((*status, *own)),
            // Not all of them look for another program.
            None if *status == 3 => None,
            None => Some((*status, *general)),
        }
    })
}

/// As of a sentence.
pub(super) fn capitalized(about: &str) -> String {
    let mut chars = about.chars();
    match chars.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), chars.as_str()),
        None => String::new(),
    }
}

fn synopsis(action: &Action) -> String {
    format!("{} {}", action.name(), action.operands.synopsis()).trim_end().to_owned()
}

fn describe(text: &mut String, program: &Program, option: &Opt) {
    let value = option.value().map(|value| format!(" {}", value.name)).unwrap_or_default();
    item(text, &format!("--{}{value}", option.name()), &option.text(program.name));
}

/// A line, or more if it does not fit.
fn item(text: &mut String, head: &str, about: &str) {
    let about = wrapped(about, INDENT);
    let gap = INDENT - 3;
    if head.len() > gap {
        *text += &format!("  {head}\n{about}");
    } else {
        *text += &format!("  {head:<gap$} {}", about.trim_start());
    }
}

fn wrapped(text: &str, indent: usize) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines += &format!("{:indent$}{line}\n", "");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines + &format!("{:indent$}{line}\n", "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::OPTIONS;

    #[test]
    fn help_names_everything() {
        let program =
            Program { name: "p", title: "P", version: "1", default_config: "", register: |_| {} };
        let text = overall(&program);
        for action in ACTIONS {
            assert!(text.contains(&format!("\n  {}", action.name())), "{text}");
            let own = of_action(&program, action.name()).unwrap();
            for option in action.options() {
                assert!(own.contains(&format!("\n  --{}", option.name())), "{own}");
            }
            for (status, _) in action.exits {
                assert!(own.contains(&format!("\n  {status} ")), "{own}");
            }
            assert!(own.lines().all(|line| line.chars().count() <= WIDTH), "{own}");
        }
        for option in OPTIONS {
            assert!(text.contains(&format!("\n  --{}", option.name())), "{text}");
        }
    }
}
