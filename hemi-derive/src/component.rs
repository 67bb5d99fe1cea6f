//! `#[derive(Component)]`: a component that is its own config and leads no life of its own.
use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, LitStr, Result};

use crate::case::Case;

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let mut sign = Case::Camel.of_variant(&name.to_string());
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("component")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("sign") {
                return Err(meta.error("only the sign can be set"));
            }
            sign = meta.value()?.parse::<LitStr>()?.value();
            Ok(())
        })?;
    }
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::hemi_core::Component for #name #arguments #bounds {
            const SIGN: &'static str = #sign;
            type Config = Self;

            fn create(config: Self, _: &mut ::hemi_core::CreateCx<'_>) -> ::hemi_core::Result<Self> {
                ::core::result::Result::Ok(config)
            }
        }

        #[automatically_derived]
        impl #generics ::hemi_core::Lifecycle for #name #arguments #bounds {}
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String> {
        Ok(expand(&syn::parse_str(text)?)?.to_string())
    }

    #[test]
    fn the_sign_is_the_name_unless_another_is_set() {
        for (text, sign) in [
            ("struct Hello {}", "\"hello\""),
            ("struct CleanUp { a: u8 }", "\"cleanUp\""),
            ("#[component(sign = \"sweep\")] struct CleanUp {}", "\"sweep\""),
        ] {
            let expanded = expanded(text).expect("it expands");
            assert!(expanded.contains(&format!("SIGN : & 'static str = {sign}")), "{expanded}");
        }
        let error =
            expanded("#[component(kind = \"x\")] struct A {}").expect_err("no such setting");
        assert_eq!(error.to_string(), "only the sign can be set");
    }
}
