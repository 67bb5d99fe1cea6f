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
//! [`load`] turns text into a [`Tree`]. The components in it are seen through [`Scope`]s, which
//! [`read`](Scope::read) plain structs with `#[derive(Deserialize)]`; what a component does not set
//! it inherits from those around it. All mistakes are reported in one go, each with its place in
//! the text and what to do about it.

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
mod source;
mod syntax;
mod template;
#[cfg(test)]
mod tests;
mod tree;
mod types;
mod value;

pub use condition::{Condition, PathCheck};
pub use diagnostic::{Diagnostic, Diagnostics, Error, suggest};
pub use explain::{ConfigType, DefaultValue, Explain, Property};
pub use format::fmt;
pub use hemi_derive::Explain;
pub use load::load;
pub use source::{Constants, Location, Source, Sources, Span};
pub use template::{Lookup, Template, Variable};
pub use tree::{Node, Reference, Scope, Tree};
pub use types::{KindName, Ref, Size, Spanned};
