//! `#[derive(Explain)]`: the documentation of a component's properties, from the same struct that
//! serde reads them into; and `#[derive(Component)]` for simple components.
//!
//! On a struct `Explain` implements `hemi_core::Explain`: names, doc comments, types and defaults of the
//! fields, with serde's attributes `rename`, `rename_all`, `default` and `skip` taken into account.
//! Each field needs a doc comment. On an enum of plain words it implements
//! `hemi_core::config::ConfigType`.
//!
//! `#[service]` and `#[message]` are for RPC: hemi-rpc tells how they are used.

mod attributes;
mod case;
mod component;
mod message;
mod service;

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{
    Data, DataEnum, DataStruct, DeriveInput, Error, Field, Fields, Ident, Result,
    parse_macro_input, spanned::Spanned,
};

use attributes::{Default, Serde, doc};
use case::Case;

/// Implements `hemi_core::Explain` for a struct, `hemi_core::config::ConfigType` for an enum.
#[proc_macro_derive(Explain)]
pub fn explain(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// Implements `hemi_core::Component` and `hemi_core::Lifecycle` for a struct that is its own config:
/// it is created as it was read, and does nothing by itself.
///
/// Its sign is its name in camel case, or that of `#[component(sign = "…")]`.
#[proc_macro_derive(Component, attributes(component))]
pub fn component(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    component::expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// Makes the methods of an `impl` block those of a service of hemi-rpc, or of a trait the contract of one.
///
/// On `impl Arith { … }` all methods that are not private can be called by others, by their names in Pascal case; on `impl
/// Contract for Arith { … }` all are. `#[rpc(name = "…")]` on a method sets another name, `#[rpc(skip)]` leaves it out;
/// `#[service(name = "…")]` names the service other than its type or trait. A method takes `&self`, at will
/// `call: &mut Call`, and one argument; it comes back with a `Result`. One that is not `async` is answered at once.
///
/// A trait becomes one of futures that can be sent, and `TraitClient` calls what implements it elsewhere.
#[proc_macro_attribute]
pub fn service(
    arguments: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    service::expand(arguments.into(), item.into()).unwrap_or_else(Error::into_compile_error).into()
}

/// Makes a struct or an enum what hemi-rpc sends: as JSON and MessagePack by serde, and with `#[message(protobuf)]`,
/// if it is a message of prost, as Protobuf too.
///
/// Fields are named as in Go, in Pascal case, unless `#[serde(rename_all = "…")]` or `#[serde(rename = "…")]` say
/// otherwise; those that do not come, or come as nil, are what they are by default.
#[proc_macro_attribute]
pub fn message(
    arguments: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    message::expand(arguments.into(), item.into()).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(input: &DeriveInput) -> Result<TokenStream> {
    match &input.data {
        Data::Struct(data) => explain_struct(input, data),
        Data::Enum(data) => explain_enum(input, data),
        Data::Union(data) => Err(Error::new_spanned(data.union_token, "a union has no properties")),
    }
}

fn explain_struct(input: &DeriveInput, data: &DataStruct) -> Result<TokenStream> {
    if let Fields::Unnamed(fields) = &data.fields {
        return Err(Error::new_spanned(fields, "the fields are properties: give them names"));
    }
    let container = Serde::parse(&input.attrs)?;
    let properties = all(data.fields.iter().map(|field| property(field, &container)))?;
    let defaults = match &container.default {
        None => None,
        Some(Default::Trait) => Some(quote!(<Self as ::core::default::Default>::default())),
        Some(Default::Path(path)) => Some(quote!(#path())),
    };
    let defaults = defaults.map(|defaults| quote!(let defaults: Self = #defaults;));
    let name = &input.ident;
    let about = doc(&input.attrs);
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::hemi_core::config::Explain for #name #arguments #bounds {
            fn about() -> &'static str {
                #about
            }

            fn properties() -> ::std::vec::Vec<::hemi_core::config::Property> {
                #defaults
                ::std::vec![#(#properties),*]
            }
        }
    })
}

/// A `Property` for a field; nothing if serde skips it.
fn property(field: &Field, container: &Serde) -> Result<Option<TokenStream>> {
    let serde = Serde::parse(&field.attrs)?;
    if serde.skip {
        return Ok(None);
    }
    if let Some(flatten) = serde.flatten {
        let message = "flattened fields cannot inherit: make the config a tuple of two structs";
        return Err(Error::new(flatten, message));
    }
    let Some(ident) = &field.ident else { return Ok(None) };
    let doc = doc(&field.attrs);
    if doc.is_empty() {
        return Err(Error::new_spanned(field, "document this property: add a doc comment"));
    }
    let name = serde.name(ident, container.rename_all.unwrap_or(Case::Unchanged), Case::of_field);
    let ty = &field.ty;
    // The type's span makes rustc point there if the type cannot be explained.
    let config_type = quote_spanned!(ty.span()=> <#ty as ::hemi_core::config::ConfigType>);
    let default = match (&serde.default, &container.default) {
        (Some(Default::Trait), _) => {
            quote!(#config_type::default_value(&<#ty as ::core::default::Default>::default()))
        }
        (Some(Default::Path(path)), _) => quote!(#config_type::default_value(&#path())),
        (None, Some(_)) => quote!(#config_type::default_value(&defaults.#ident)),
        (None, None) => quote!(#config_type::missing()),
    };
    Ok(Some(quote! {
        ::hemi_core::config::Property {
            name: #name,
            doc: #doc,
            kind: #config_type::kind(),
            default: #default,
        }
    }))
}

fn explain_enum(input: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    let container = Serde::parse(&input.attrs)?;
    let words = all(data.variants.iter().map(|variant| {
        let serde = Serde::parse(&variant.attrs)?;
        if serde.skip {
            return Ok(None);
        }
        if !matches!(variant.fields, Fields::Unit) {
            return Err(Error::new_spanned(&variant.fields, "a word in a config has no content"));
        }
        let case = container.rename_all.unwrap_or(Case::Unchanged);
        Ok(Some((&variant.ident, serde.name(&variant.ident, case, Case::of_variant))))
    }))?;
    let (variants, words): (Vec<&Ident>, Vec<String>) = words.into_iter().unzip();
    let quoted: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
    let kind = format!("one of {}", quoted.join(", "));
    let name = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::hemi_core::config::ConfigType for #name #arguments #bounds {
            fn kind() -> ::std::borrow::Cow<'static, str> {
                ::std::borrow::Cow::Borrowed(#kind)
            }

            #[allow(unreachable_patterns)]
            fn show(&self) -> ::std::string::String {
                match self {
                    #(Self::#variants => #quoted,)*
                    // Variants that serde skips.
                    _ => "",
                }
                .to_owned()
            }
        }
    })
}

/// All results that there are, or all errors together.
fn all<T>(results: impl Iterator<Item = Result<Option<T>>>) -> Result<Vec<T>> {
    let mut good = Vec::new();
    let mut errors: Option<Error> = None;
    for result in results {
        match (result, &mut errors) {
            (Ok(value), _) => good.extend(value),
            (Err(error), Some(errors)) => errors.combine(error),
            (Err(error), None) => errors = Some(error),
        }
    }
    errors.map_or(Ok(good), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a type, as rustc would show it.
    fn errors(text: &str) -> Vec<String> {
        let input = syn::parse_str(text).expect("it is a type");
        let errors = expand(&input).err().into_iter().flatten();
        errors.map(|error| error.to_string()).collect()
    }

    #[test]
    fn refuses_what_cannot_be_explained() {
        let cases: [(&str, &[&str]); 9] = [
            ("struct A { /** b */ b: u8, #[serde(skip)] c: u8 }", &[]),
            ("struct A;", &[]),
            ("struct A { b: u8, /** */ c: u8 }", &["document this property: add a doc comment"; 2]),
            ("struct A(u8);", &["the fields are properties: give them names"]),
            (
                "struct A { /** b */ #[serde(flatten)] b: B }",
                &["flattened fields cannot inherit: make the config a tuple of two structs"],
            ),
            (
                "#[serde(rename_all = \"camel\")] struct A { /** b */ b: u8 }",
                &["serde knows no such case"],
            ),
            ("union A { b: u8 }", &["a union has no properties"]),
            ("enum A { B, #[serde(skip)] C(u8) }", &[]),
            ("enum A { B(u8) }", &["a word in a config has no content"]),
        ];
        for (text, expected) in cases {
            assert_eq!(errors(text), expected, "{text}");
        }
    }

    #[test]
    fn passes_over_other_attributes() {
        let text = "#[serde(deny_unknown_fields, bound(deserialize = \"T: X\"), crate = \"s\")]
            struct A { /** b */ #[serde(alias = \"x\", rename(deserialize = \"y\"), with = \"z\")] b: u8 }";
        let input = syn::parse_str(text).expect("it is a type");
        let expanded = expand(&input).expect("it can be explained").to_string();
        assert!(expanded.contains("name : \"y\""), "{expanded}");
    }
}
