//! The parameters of a route, as they lie in the path.

use std::borrow::Cow;
use std::ops::Range;

/// Parameters of a route, at most.
pub(super) const MAX_PARAMS: usize = 8;

/// Names of parameters, and where in the path their values lie.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params<'a> {
    names: &'a [String],
    ranges: [Range<u32>; MAX_PARAMS],
}

impl<'a> Params<'a> {
    /// Those that were found in this path.
    pub(super) fn found(path: &str, names: &'a [String], found: &matchit::Params<'_, '_>) -> Self {
        let mut ranges = <[Range<u32>; MAX_PARAMS]>::default();
        for ((_, value), range) in found.iter().zip(&mut ranges) {
            // The value is a part of the path, which is as short as a head.
            let start = value.as_ptr() as usize - path.as_ptr() as usize;
            *range = start as u32..(start + value.len()) as u32;
        }
        Self { names, ranges }
    }

    /// Names and values, in the path in which they were found.
    pub(crate) fn of<'p>(
        &'p self,
        path: &'p str,
    ) -> impl Iterator<Item = (Cow<'p, str>, Cow<'p, str>)> {
        self.names.iter().zip(&self.ranges).map(|(name, range)| {
            let value = path.get(range.start as usize..range.end as usize).unwrap_or_default();
            (Cow::Borrowed(&**name), separators(value))
        })
    }
}

/// The names of the parameters of a route, in their order.
pub(super) fn names(route: &str) -> Vec<String> {
    // Doubled braces stand for themselves.
    let route = route.replace("{{", "").replace("}}", "");
    let parts = route.split('{').skip(1);
    let names = parts.map(|part| part.split_once('}').map_or(part, |(name, _)| name));
    names.map(|name| name.trim_start_matches('*').to_owned()).collect()
}

/// Decodes the separators, which [`crate::Request::path`] leaves encoded.
fn separators(value: &str) -> Cow<'_, str> {
    if value.contains('%') {
        value.replace("%2F", "/").replace("%5C", "\\").into()
    } else {
        value.into()
    }
}
