//! `check`: does everything with a config but start it.

use serde_json::json;

use crate::control::Refused;
use crate::{Call, FAILED, Failure, dirs, term};

pub(crate) fn check(call: &Call<'_>) -> Result<(), Failure> {
    let (source, constants) = dirs::locate(call)?;
    let checked = hemi_core::check(&call.program.registry(), &source, &constants);
    let refused = checked.err().as_ref().map(Refused::from);
    let name = source.to_string();
    if call.options.json {
        let (error, mistakes) = match &refused {
            Some(refused) => (Some(&refused.message), refused.mistakes.as_slice()),
            None => (None, [].as_slice()),
        };
        term::say(&format!(
            "{:#}\n",
            json!({ "config": name, "error": error, "mistakes": mistakes })
        ));
        return refused.map_or(Ok(()), |_| Err(Failure { status: FAILED, message: String::new() }));
    }
    match refused {
        Some(refused) => Err(refused.message.into()),
        None => {
            term::say(&format!("{name}: no mistakes found\n"));
            Ok(())
        }
    }
}
