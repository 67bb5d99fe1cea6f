//! `#[service]`: the methods of an `impl` block as those of an RPC service, and a trait as the contract of one.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Error, FnArg, Ident, ImplItem, Item, ItemImpl, ItemTrait, LitStr, Result,
    ReturnType, Signature, Token, TraitItem, Type, Visibility,
};

use crate::case::Case;

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut name = None;
    let parser = syn::meta::parser(|meta| {
        if !meta.path.is_ident("name") {
            return Err(meta.error("only the name can be set"));
        }
        name = Some(meta.value()?.parse::<LitStr>()?.value());
        Ok(())
    });
    parser.parse2(arguments)?;
    match syn::parse2(item)? {
        Item::Impl(item) => of_impl(item, name),
        Item::Trait(item) => of_trait(item),
        other => Err(Error::new_spanned(other, "a service is an `impl` block, or a trait")),
    }
}

/// A method that can be called from elsewhere.
struct Method {
    ident: Ident,
    /// On the wire.
    name: String,
    /// Whether it may have to wait.
    waits: bool,
    /// Whether it wants to know of the call.
    with_call: bool,
    /// What it is given, if anything.
    argument: Option<Type>,
}

impl Method {
    /// `None` if it is to be left out.
    fn new(attributes: &mut Vec<Attribute>, signature: &Signature) -> Result<Option<Self>> {
        let ident = signature.ident.clone();
        let mut name = Case::Pascal.of_field(&ident.to_string());
        let mut skipped = false;
        for attribute in attributes.extract_if(.., |attribute| attribute.path().is_ident("rpc")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("skip") {
                    skipped = true;
                } else if meta.path.is_ident("name") {
                    name = meta.value()?.parse::<LitStr>()?.value();
                } else {
                    return Err(meta.error("expected `name = \"…\"` or `skip`"));
                }
                Ok(())
            })?;
        }
        if skipped {
            return Ok(None);
        }
        let mut inputs = signature.inputs.iter();
        let by_reference = match inputs.next() {
            Some(FnArg::Receiver(receiver)) => quote!(#receiver).to_string() == "& self",
            _ => false,
        };
        if !by_reference {
            let message = "a method of a service takes `&self`: say `#[rpc(skip)]` of others";
            return Err(Error::new_spanned(signature, message));
        }
        let mut arguments: Vec<&Type> = inputs
            .filter_map(|input| match input {
                FnArg::Typed(typed) => Some(&*typed.ty),
                _ => None,
            })
            .collect();
        let with_call = arguments.first().is_some_and(|ty| is_call(ty));
        if with_call {
            arguments.remove(0);
        }
        if let Some(extra) = arguments.get(1) {
            let message = "a method of a service has one argument, besides `call: &mut Call`";
            return Err(Error::new_spanned(extra, message));
        }
        let argument = arguments.first().map(|ty| (*ty).clone());
        let waits = signature.asyncness.is_some();
        Ok(Some(Self { ident, name, waits, with_call, argument }))
    }

    /// What is done when it is called, where `target` names what has the method.
    fn arm(&self, target: &TokenStream) -> TokenStream {
        let Self { ident, name, .. } = self;
        let bytes = syn::LitByteStr::new(name.as_bytes(), ident.span());
        let argument = self.argument.as_ref().map(|_| quote!(args));
        let taken = self.argument.as_ref().map_or_else(|| quote!(()), |ty| quote!(#ty));
        let given = if self.argument.is_some() { quote!(args) } else { quote!(_) };
        let done = match (self.waits, self.with_call) {
            (false, false) => quote! {
                exchange.now(#name, |#given: #taken| #target::#ident(&*this, #argument))
            },
            (false, true) => quote! {
                exchange.now_with(#name, |call, #given: #taken| #target::#ident(&*this, call, #argument))
            },
            (true, false) => quote! {
                exchange.wait(#name, move |#given: #taken| async move {
                    #target::#ident(&*this, #argument).await
                })
            },
            (true, true) => quote! {
                exchange.wait_with(#name, move |mut call: ::hemi_rpc::Call, #given: #taken| async move {
                    let result = #target::#ident(&*this, &mut call, #argument).await;
                    (call, result)
                })
            },
        };
        quote!(#bytes => #done)
    }
}

/// Whether it is `&mut Call`.
fn is_call(ty: &Type) -> bool {
    let Type::Reference(reference) = ty else { return false };
    let Type::Path(path) = &*reference.elem else { return false };
    path.path.segments.last().is_some_and(|last| last.ident == "Call")
}

fn of_impl(mut item: ItemImpl, name: Option<String>) -> Result<TokenStream> {
    let ty = &*item.self_ty;
    let of_trait = item.trait_.as_ref().map(|(path, _)| path);
    let own_name = match (of_trait, ty) {
        (Some(path), _) => path.segments.last().map(|last| last.ident.to_string()),
        (None, Type::Path(path)) => path.path.segments.last().map(|last| last.ident.to_string()),
        _ => None,
    };
    let Some(name) = name.or(own_name) else {
        return Err(Error::new_spanned(ty, "name this service: `#[service(name = \"…\")]`"));
    };
    let target = match of_trait {
        Some(path) => quote!(<Self as #path>),
        None => quote!(Self),
    };
    let mut methods = Vec::new();
    for inner in &mut item.items {
        let ImplItem::Fn(method) = inner else { continue };
        // What is private is nobody's business.
        if of_trait.is_none() && matches!(method.vis, Visibility::Inherited) {
            continue;
        }
        methods.extend(Method::new(&mut method.attrs, &method.sig)?);
    }
    let names = methods.iter().map(|method| &method.name);
    let arms = methods.iter().map(|method| method.arm(&target));
    let (generics, _, bounds) = item.generics.split_for_impl();
    Ok(quote! {
        #item

        #[automatically_derived]
        impl #generics ::hemi_rpc::Service for #ty #bounds {
            const NAME: &'static str = #name;
            const METHODS: &'static [&'static str] = &[#(#names),*];

            fn call<__Held: ::hemi_rpc::Holds<Self>>(
                this: __Held,
                exchange: ::hemi_rpc::Exchange<'_>,
            ) -> ::hemi_rpc::Outcome {
                match exchange.method() {
                    #(#arms,)*
                    _ => exchange.unknown_method(),
                }
            }
        }
    })
}

/// The trait with futures that can be sent, and a client of what implements it.
fn of_trait(mut item: ItemTrait) -> Result<TokenStream> {
    let (trait_name, vis) = (item.ident.clone(), item.vis.clone());
    let mut calls = Vec::new();
    for inner in &mut item.items {
        let TraitItem::Fn(method) = inner else { continue };
        let Some(known) = Method::new(&mut method.attrs, &method.sig)? else { continue };
        calls.push(client_method(&known, &method.sig, &method.attrs)?);
        if method.sig.asyncness.take().is_some() {
            let output = match &method.sig.output {
                ReturnType::Default => quote!(()),
                ReturnType::Type(_, ty) => quote!(#ty),
            };
            method.sig.output = syn::parse2(quote! {
                -> impl ::core::future::Future<Output = #output> + ::core::marker::Send
            })?;
            if method.default.is_some() {
                let message = "an async method of a service has no default here";
                return Err(Error::new_spanned(&method.sig, message));
            }
        }
    }
    let mut supers = Punctuated::<syn::TypeParamBound, Token![+]>::new();
    supers.extend(item.supertraits.clone());
    for bound in ["::core::marker::Send", "::core::marker::Sync", "'static"] {
        supers.push(syn::parse_str(bound)?);
    }
    item.supertraits = supers;
    item.colon_token = Some(Token![:](trait_name.span()));
    let client = format_ident!("{trait_name}Client");
    let name = trait_name.to_string();
    let about = format!("Calls the service [`{trait_name}`] elsewhere.");
    Ok(quote! {
        #item

        #[doc = #about]
        #[derive(Clone, Debug)]
        #vis struct #client(::hemi_rpc::Remote);

        impl #client {
            /// By this client or cluster, with the service's own name.
            #vis fn new(client: impl ::core::convert::Into<::hemi_rpc::Via>) -> Self {
                Self(::hemi_rpc::Remote::new(client, #name))
            }

            /// The same with what the service is called there, and with options for each call.
            #vis fn with(remote: ::hemi_rpc::Remote) -> Self {
                Self(remote)
            }

            #(#calls)*
        }
    })
}

fn client_method(
    method: &Method,
    signature: &Signature,
    attributes: &[Attribute],
) -> Result<TokenStream> {
    let reply = match &signature.output {
        ReturnType::Type(_, ty) => reply_of(ty),
        ReturnType::Default => None,
    };
    let Some(reply) = reply else {
        let message = "a method of a service comes back with a `Result`";
        return Err(Error::new_spanned(signature, message));
    };
    let docs = attributes.iter().filter(|attribute| attribute.path().is_ident("doc"));
    let Method { ident, name, argument, .. } = method;
    let (parameter, argument) = match argument {
        Some(ty) => (quote!(, args: &#ty), quote!(args)),
        None => (quote!(), quote!(&())),
    };
    let about = format!("Calls `{name}`.");
    Ok(quote! {
        #[doc = #about]
        #[doc = ""]
        #(#docs)*
        ///
        /// # Errors
        /// When it fails there, or can't be asked.
        pub async fn #ident(&self #parameter) -> ::core::result::Result<#reply, ::hemi_rpc::RpcError> {
            self.0.call(#name, #argument).await
        }
    })
}

/// The type that a `Result` has if all went well.
fn reply_of(ty: &Type) -> Option<Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Result")?;
    let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        syn::GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String> {
        let item = text.parse().expect("it is Rust");
        Ok(expand(TokenStream::new(), item)?.to_string())
    }

    #[test]
    fn public_methods_are_called_by_their_names_in_go() {
        let text = "impl Arith {
            pub async fn mul(&self, args: Args) -> Result<Reply> { todo }
            #[rpc(name = \"ADD\")] pub fn add_up(&self, call: &mut Call, args: Args) -> Result<Reply> { todo }
            #[rpc(skip)] pub fn new() -> Self { todo }
            fn helper(&self) {}
        }";
        let expanded = expanded(text).expect("it expands");
        assert!(expanded.contains("NAME : & 'static str = \"Arith\""), "{expanded}");
        assert!(expanded.contains("& [\"Mul\" , \"ADD\"]"), "{expanded}");
        assert!(expanded.contains("b\"Mul\" => exchange . wait (\"Mul\""), "{expanded}");
        assert!(expanded.contains("b\"ADD\" => exchange . now_with (\"ADD\""), "{expanded}");
        assert!(!expanded.contains("# [rpc"), "{expanded}");
    }

    #[test]
    fn what_cannot_be_called_is_refused() {
        for (text, error) in [
            ("struct A;", "a service is an `impl` block, or a trait"),
            (
                "impl A { pub fn a(self) {} }",
                "a method of a service takes `&self`: say `#[rpc(skip)]` of others",
            ),
            (
                "impl A { pub fn a(&self, a: u8, b: u8) {} }",
                "a method of a service has one argument, besides `call: &mut Call`",
            ),
            ("impl A { #[rpc(nam)] pub fn a(&self) {} }", "expected `name = \"…\"` or `skip`"),
            ("trait A { fn a(&self); }", "a method of a service comes back with a `Result`"),
        ] {
            assert_eq!(expanded(text).expect_err(text).to_string(), error);
        }
    }
}
