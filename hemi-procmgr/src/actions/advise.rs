//! `advise`: what of this machine could be set better for a server.

use std::fmt::Write;

use serde_json::json;

use crate::advise::{Advice, Machine, look};
use crate::{Call, Failure, term};

pub(crate) fn advise(Call { program, options, .. }: &Call<'_>) -> Result<(), Failure> {
    let found = look(&Machine::this());
    term::say(&match options.json {
        true => format!("{:#}\n", found.iter().map(as_json).collect::<serde_json::Value>()),
        false => text(program.name, &found),
    });
    Ok(())
}

fn as_json(advice: &Advice) -> serde_json::Value {
    json!({
        "name": advice.name,
        "seen": advice.seen,
        "wanted": advice.wanted,
        "fine": advice.fine,
        "why": advice.why,
        "command": advice.command,
    })
}

fn text(program: &str, found: &[Advice]) -> String {
    let (fine, other): (Vec<_>, Vec<_>) = found.iter().partition(|advice| advice.fine);
    let mut text = String::new();
    for advice in &other {
        let Advice { name, seen, wanted, why, command, .. } = advice;
        let _ = writeln!(text, "{name}: {seen}; wanted: {wanted}\n    {why}\n    {command}\n");
    }
    let settings: Vec<_> =
        other.iter().filter_map(|advice| advice.command.split_once("sysctl -w ")).collect();
    if !settings.is_empty() {
        let file = format!("/etc/sysctl.d/90-{program}.conf");
        let _ = writeln!(
            text,
            "What `sysctl -w` sets is lost at the next boot, unless it is written to {file}.\n"
        );
    }
    for Advice { name, seen, .. } in &fine {
        let _ = writeln!(text, "{name}: {seen}: fine");
    }
    text
}
