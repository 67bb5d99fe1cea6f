//! The config language: text to typed structs.
//!
//! ```text
//! stage {
//!     .readTimeout = 45s                       # inherited by what is inside
//!     webapp "shop" {
//!         .hostnames = ("shop.test", "*.shop.test")
//!         .webRoot   = %topDir + "/apps/shop"
//!         rule $path ^= "/v1/" && $method != "POST" { .returnCode = 404 }
//!     }
//! }
//! ```
//!
//! - A value is a boolean, an integer, a size (`16K 2M 3G 4T`), a duration (`10ms 1s 2m 3h 4d`), a
//!   string (`"…"` with the escapes `\n \t \r \" \\ \xHH \u{…}`, or raw in backquotes), a list
//!   `("a", "b")` or a dict `["k": 1]`. Strings are joined with `+`.
//! - A value may also be a constant (`%topDir %logDir %tmpDir %varDir %env.NAME`) or refer to a
//!   property that is set further up, here or in an enclosing component (`.webRoot`).
//! - A condition compares variables with strings or lists of them, of which any may match:
//!   `== ^= $= *= ~=` (equal, prefix, suffix, contains, regular expression), negated `!= !^ !$ !* !~`.
//!   `$path -f -d -e -D -E !f !d !e` tests files. `&&`, `||`, `!` and `( )` join conditions.
//! - `<path>` includes a file. The path is relative to the directory of the root config; `*` and `?`
//!   in its last part include all files that match, by name. A config from a URL includes nothing.
//! - Comments: `// …`, `# …`, `/* … */`.
//!
//! [`load`] turns text into a [`Tree`]. The components in it are seen through [`Scope`]s, which
//! [`read`](Scope::read) plain structs with `#[derive(Deserialize)]`; what a component does not set
//! it inherits from those around it. Such structs document themselves with `#[derive(Explain)]`. All
//! mistakes are reported in one go, each with its place in the text and what to do about it.

mod condition;
mod de;
mod diagnostic;
mod eval;
mod explain;
mod fetch;
mod format;
mod lexer;
mod literal;
mod load;
mod parser;
mod secret;
mod source;
mod syntax;
mod template;
#[cfg(test)]
mod tests;
mod tree;
mod types;
pub(crate) mod url;
mod value;

pub use condition::{Condition, PathCheck};
pub use diagnostic::{Diagnostic, Diagnostics, Error, suggest};
pub use explain::{ConfigType, DefaultValue, Explain, Property};
pub use format::fmt;
pub use hemi_derive::Explain;
pub use load::load;
pub(crate) use load::load_tolerantly;
pub use secret::{Secret, hide_secrets};
pub use source::{Constants, Location, Source, Sources, Span};
pub use template::{AnyVar, Lookup, Template, Variable};
pub use tree::{Scope, Tree};
pub use types::{KindName, Ref, Several, Size, Spanned, number_of_at_least, size_of_at_least};
pub use url::{BadUrl, HttpUrl};
