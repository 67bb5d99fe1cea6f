//! `rpc`: calls of services elsewhere, by the crate that knows how.

use hemi_core::Registry;

use crate::{Call, Failure};

pub(crate) fn rpc(Call { program, options, .. }: &Call<'_>) -> Result<(), Failure> {
    let mut registry = Registry::new();
    (program.register)(&mut registry);
    let Some(tool) = registry.tool_of("rpc") else {
        return Err(format!("{} knows no RPC", program.name).into());
    };
    let arguments = [&options.operands[..], &options.said].concat();
    tool(&arguments, &mut std::io::stdout().lock()).map_err(Failure::from)
}
