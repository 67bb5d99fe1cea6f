//! Reads the attributes that matter here: serde's and doc comments.
use proc_macro2::{Span, TokenStream};
use syn::{
    Attribute, Expr, ExprLit, ExprPath, Ident, Lit, LitStr, Meta, Result, Token,
    meta::ParseNestedMeta, parenthesized, spanned::Spanned,
};

use crate::case::Case;

/// What `#[serde(…)]` says on a struct, an enum, a field or a variant.
#[derive(Default)]
pub(crate) struct Serde {
    pub(crate) rename: Option<String>,
    pub(crate) rename_all: Option<Case>,
    pub(crate) default: Option<self::Default>,
    pub(crate) skip: bool,
    pub(crate) flatten: Option<Span>,
}

/// `#[serde(default)]` or `#[serde(default = "path")]`
pub(crate) enum Default {
    Trait,
    Path(ExprPath),
}

impl Serde {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut serde = <Self as std::default::Default>::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
            attribute.parse_nested_meta(|meta| serde.add(&meta))?;
        }
        Ok(serde)
    }

    fn add(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let path = &meta.path;
        if path.is_ident("skip") || path.is_ident("skip_deserializing") {
            self.skip = true;
        } else if path.is_ident("flatten") {
            self.flatten = Some(path.span());
        } else if path.is_ident("default") {
            self.default = Some(match meta.input.peek(Token![=]) {
                true => Default::Path(meta.value()?.parse::<LitStr>()?.parse()?),
                false => Default::Trait,
            });
        } else if path.is_ident("rename") {
            self.rename = for_reading(meta)?.map(|name| name.value());
        } else if path.is_ident("rename_all") {
            self.rename_all = for_reading(meta)?.map(|name| Case::parse(&name)).transpose()?;
        } else if meta.input.peek(Token![=]) {
            meta.value()?.parse::<Expr>()?;
        } else if meta.input.peek(syn::token::Paren) {
            let ignored;
            parenthesized!(ignored in meta.input);
            ignored.parse::<TokenStream>()?;
        }
        Ok(())
    }

    /// The name that serde gives to a field or a variant.
    pub(crate) fn name(
        &self,
        ident: &Ident,
        case: Case,
        apply: fn(Case, &str) -> String,
    ) -> String {
        let ident = ident.to_string();
        let ident = ident.trim_start_matches("r#");
        self.rename.clone().unwrap_or_else(|| apply(case, ident))
    }
}

/// The value of `name = "…"` or `name(deserialize = "…")`.
fn for_reading(meta: &ParseNestedMeta<'_>) -> Result<Option<LitStr>> {
    if meta.input.peek(Token![=]) {
        return meta.value()?.parse().map(Some);
    }
    let mut found = None;
    meta.parse_nested_meta(|inner| {
        let value: LitStr = inner.value()?.parse()?;
        if inner.path.is_ident("deserialize") {
            found = Some(value);
        }
        Ok(())
    })?;
    Ok(found)
}

/// The doc comment, without the space that its lines start with.
pub(crate) fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) => Some(line.value()),
            _ => None,
        },
        _ => None,
    });
    let lines: Vec<_> =
        lines.map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    lines.join("\n").trim().to_owned()
}
