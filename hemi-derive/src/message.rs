//! `#[message]`: structs that are sent to other services, named as programs in Go name them.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::Parser;
use syn::{Attribute, Error, Fields, Item, Result, parse_quote};

use crate::attributes::Serde;

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut protobuf = false;
    let parser = syn::meta::parser(|meta| {
        if !meta.path.is_ident("protobuf") {
            return Err(meta.error("only `protobuf` can be added"));
        }
        protobuf = true;
        Ok(())
    });
    parser.parse2(arguments)?;
    let (item, name) = match syn::parse2(item)? {
        Item::Struct(mut item) => {
            only_plain(&item.generics)?;
            lenient(&mut item.fields)?;
            let mut added: Vec<Attribute> = vec![parse_quote!(#[serde(default)])];
            if !derives(&item.attrs, "Default")? && !derives(&item.attrs, "Message")? {
                added.push(parse_quote!(#[derive(::core::default::Default)]));
            }
            if Serde::parse(&item.attrs)?.rename_all.is_none() {
                added.push(parse_quote!(#[serde(rename_all = "PascalCase")]));
            }
            item.attrs.extend(added);
            (quote!(#item), item.ident)
        }
        Item::Enum(item) => {
            only_plain(&item.generics)?;
            (quote!(#item), item.ident)
        }
        other => return Err(Error::new_spanned(other, "a message is a struct or an enum")),
    };
    let (encode, decode) = if protobuf {
        let codec = quote!(::hemi_rpc::CodecId::PROTOBUF);
        (
            quote! { if codec == #codec { return ::hemi_rpc::codec::encode_protobuf(self, out); } },
            quote! { if codec == #codec { return ::hemi_rpc::codec::decode_protobuf(bytes); } },
        )
    } else {
        (quote!(), quote!())
    };
    Ok(quote! {
        #[derive(::hemi_rpc::serde::Serialize, ::hemi_rpc::serde::Deserialize)]
        #[serde(crate = "::hemi_rpc::serde")]
        #item

        #[automatically_derived]
        impl ::hemi_rpc::Payload for #name {
            fn encode(
                &self,
                codec: ::hemi_rpc::CodecId,
                out: &mut ::hemi_rpc::codec::BytesMut,
            ) -> ::core::result::Result<(), ::hemi_rpc::CodecError> {
                #encode
                ::hemi_rpc::codec::encode_serde(self, codec, out)
            }

            fn decode(
                codec: ::hemi_rpc::CodecId,
                bytes: &[u8],
            ) -> ::core::result::Result<Self, ::hemi_rpc::CodecError> {
                #decode
                ::hemi_rpc::codec::decode_serde(codec, bytes)
            }
        }
    })
}

fn only_plain(generics: &syn::Generics) -> Result<()> {
    if generics.params.is_empty() {
        return Ok(());
    }
    Err(Error::new_spanned(generics, "a message has no parameters: implement `Payload` yourself"))
}

/// In Go, what has nothing in it is sent as nil: it is read as what it is by default.
fn lenient(fields: &mut Fields) -> Result<()> {
    for field in fields {
        let mut own = false;
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("serde")) {
            let text = quote!(#attribute).to_string();
            own |= ["with", "deserialize_with", "skip", "flatten", "skip_deserializing"]
                .iter()
                .any(|word| {
                    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == *word)
                });
        }
        if !own {
            field.attrs.push(parse_quote! {
                #[serde(deserialize_with = "::hemi_rpc::codec::or_default")]
            });
        }
    }
    Ok(())
}

/// Whether a trait of this name is derived already.
fn derives(attributes: &[Attribute], name: &str) -> Result<bool> {
    let mut found = false;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("derive")) {
        attribute.parse_nested_meta(|meta| {
            found |= meta.path.segments.last().is_some_and(|last| last.ident == name);
            Ok(())
        })?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(arguments: &str, text: &str) -> Result<String> {
        let parse = |text: &str| text.parse::<TokenStream>().expect("it is Rust");
        Ok(expand(parse(arguments), parse(text))?.to_string())
    }

    #[test]
    fn names_are_those_of_go_unless_others_are_given() {
        let plain = expanded("", "struct A { b: u8 }").expect("it expands");
        assert!(plain.contains("rename_all = \"PascalCase\""), "{plain}");
        assert!(plain.contains("core :: default :: Default") && !plain.contains("PROTOBUF"));
        let text = "#[derive(Default)] #[serde(rename_all = \"camelCase\")] struct A { b: u8 }";
        let own = expanded("protobuf", text).expect("it expands");
        assert!(!own.contains("PascalCase") && own.contains("PROTOBUF"), "{own}");
        assert_eq!(own.matches("Default").count(), 1, "{own}");
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (arguments, text, error) in [
            ("", "fn a() {}", "a message is a struct or an enum"),
            ("", "struct A<T>(T);", "a message has no parameters: implement `Payload` yourself"),
            ("xml", "struct A;", "only `protobuf` can be added"),
        ] {
            assert_eq!(expanded(arguments, text).expect_err(text).to_string(), error);
        }
    }
}
