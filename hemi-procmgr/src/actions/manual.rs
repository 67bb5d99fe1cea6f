//! `help`, `version`, `man` and `completion`: what the program says about its command line.

use crate::options::{completion, help, man};
use crate::{Call, Failure, term};

pub(crate) fn help(Call { program, options, .. }: &Call<'_>) -> Result<(), Failure> {
    term::say(&match options.operands.first() {
        Some(action) => help::of_action(program, action)?,
        None => help::overall(program),
    });
    Ok(())
}

pub(crate) fn version(Call { program, .. }: &Call<'_>) -> Result<(), Failure> {
    term::say(&format!("{} {}\n", program.name, program.version));
    Ok(())
}

pub(crate) fn man(Call { program, .. }: &Call<'_>) -> Result<(), Failure> {
    term::say(&man::page(program));
    Ok(())
}

pub(crate) fn completion(Call { program, options, .. }: &Call<'_>) -> Result<(), Failure> {
    let shell = options.operands.first().map_or("", String::as_str);
    let registry = program.registry();
    let signs: Vec<&str> = registry.entries().map(hemi_core::Entry::sign).collect();
    term::say(&match shell {
        "fish" => completion::fish(program, &signs),
        "zsh" => completion::zsh(program, &signs),
        _ => completion::bash(program, &signs),
    });
    Ok(())
}
