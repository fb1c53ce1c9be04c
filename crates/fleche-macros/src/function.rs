//! Parses the annotated function and refuses functions that cannot be memoized.

use std::collections::HashSet;

use proc_macro2::Span;
use syn::{
    Attribute, GenericParam, Generics, Ident, ItemFn, Result, ReturnType, Type,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::{
    options::Options,
    parameter::{ImplTraits, Parameter, strip},
    token_digest::TokenDigest,
};

/// A function that can be memoized, with the options of the attribute.
pub(crate) struct Function {
    pub(crate) options: Options,
    /// The function as written, without the parameter attributes that only `#[fleche]` understands.
    pub(crate) item: ItemFn,
    pub(crate) companion: Ident,
    pub(crate) parameters: Vec<Parameter>,
    /// The function's generics, followed by a type parameter for each `impl Trait`.
    pub(crate) generics: Generics,
    /// The number of `impl Trait` types in the parameters.
    pub(crate) implied: usize,
    pub(crate) result: Type,
    pub(crate) code: TokenDigest,
}

impl Function {
    pub(crate) fn new(mut options: Options, original: &ItemFn) -> Result<Self> {
        refuse_what_cannot_be(original)?;
        if let (Some(isolation), true) = (&options.isolation, original.sig.asyncness.is_some()) {
            let message =
                "an `async fn` cannot be isolated, since it has no thread of its own; isolate a blocking function";
            return Err(syn::Error::new(isolation.span, message));
        }
        if let (Some(isolation), true) = (&options.isolation, options.local && options.isolates_in_process()) {
            let message =
                "a call of a `local` function cannot leave the process; remove `local`, or use plain `isolate`";
            return Err(syn::Error::new(isolation.span, message));
        }
        let mut implied = ImplTraits::default();
        let arguments = original.sig.inputs.iter().enumerate();
        let parameters = arguments
            .map(|(position, argument)| Parameter::new(position, argument, &mut implied, &options))
            .collect::<Result<Vec<_>>>()?;
        let mut names = HashSet::new();
        if let Some(twice) = parameters.iter().find(|parameter| !names.insert(parameter.key.clone())) {
            let message = format!(
                "this pattern is named `{}` in keys, and so is another parameter; rename that parameter",
                twice.key
            );
            return Err(syn::Error::new(twice.ident.span(), message));
        }
        if let Some(unknown) = options.ignore.iter().find(|name| parameters.iter().all(|of| of.ident != **name)) {
            return Err(syn::Error::new(unknown.span(), format!("there is no parameter `{unknown}`")));
        }
        let mut generics = original.sig.generics.clone();
        let implied_count = implied.parameters.len();
        generics.params.extend(implied.parameters.into_iter().map(GenericParam::Type));
        let mut item = original.clone();
        item.sig.inputs.iter_mut().for_each(strip);
        let companion = options.companion.take().unwrap_or_else(|| original.sig.ident.clone());
        let result = match &original.sig.output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        };
        let code = TokenDigest::new(&item);
        Ok(Self { options, item, companion, parameters, generics, implied: implied_count, result, code })
    }

    pub(crate) fn is_async(&self) -> bool {
        self.item.sig.asyncness.is_some()
    }

    /// Returns the parameters that are part of the key.
    pub(crate) fn keyed(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(|parameter| !parameter.ignored)
    }

    /// Returns whether the parameter's type may lack an encoding: it is ignored, and only bound calls need to carry it.
    pub(crate) fn may_stay(&self, parameter: &Parameter) -> bool {
        parameter.ignored && !self.options.isolates_in_process()
    }

    /// Returns whether calls can be bound and run in another process, provided the types of ignored arguments allow it.
    pub(crate) fn can_be_bound(&self) -> bool {
        !self.options.local && !self.is_async()
    }

    /// Returns the function's attributes that have one of these names.
    pub(crate) fn attributes(&self, names: &[&str]) -> impl Iterator<Item = &Attribute> {
        self.item.attrs.iter().filter(move |attribute| names.iter().any(|name| attribute.path().is_ident(name)))
    }
}

/// Fails if the signature rules out memoization, with an error at the offending part.
fn refuse_what_cannot_be(function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    let refuse = |span: Option<Span>, why: &str| span.map_or(Ok(()), |span| Err(syn::Error::new(span, why)));
    refuse(
        signature.constness.map(|c| c.span()),
        "a `const fn` cannot be memoized, since it cannot access a store; remove `const`",
    )?;
    refuse(
        matches!(signature.safety, syn::Safety::Unsafe(_)).then(|| signature.safety.span()),
        "an `unsafe fn` cannot be memoized, since a lookup does not check its safety conditions; memoize a safe function \
         that calls it",
    )?;
    refuse(
        signature.abi.as_ref().map(Spanned::span),
        "an `extern` function cannot be memoized; call a memoized function from it",
    )?;
    refuse(signature.variadic.as_ref().map(Spanned::span), "variadic arguments cannot be part of a key")?;
    if let ReturnType::Type(_, ty) = &signature.output {
        let mut opaque = Opaque(None);
        opaque.visit_type(ty);
        let mut borrow = Borrow(None);
        borrow.visit_type(ty);
        refuse(
            borrow.0,
            "a borrowed result cannot be recorded; return an owned value: `String` for `&str`, `Vec<T>` for `&[T]`, \
             `T` for `&T`",
        )?;
        refuse(opaque.0, "an `impl Trait` result cannot be decoded, since its type has no name; return a named type")?;
    }
    Ok(())
}

/// Finds an `impl Trait` type.
struct Opaque(Option<Span>);

impl<'ast> Visit<'ast> for Opaque {
    fn visit_type_impl_trait(&mut self, implied: &'ast syn::TypeImplTrait) {
        self.0 = Some(implied.span());
        visit::visit_type_impl_trait(self, implied);
    }
}

/// Finds a reference, or a lifetime other than `'static`, outside the signatures of function pointers and trait objects.
struct Borrow(Option<Span>);

impl<'ast> Visit<'ast> for Borrow {
    fn visit_type_reference(&mut self, reference: &'ast syn::TypeReference) {
        self.0.get_or_insert_with(|| reference.span());
    }
    fn visit_lifetime(&mut self, lifetime: &'ast syn::Lifetime) {
        if lifetime.ident != "static" {
            self.0.get_or_insert_with(|| lifetime.span());
        }
    }
    fn visit_type_fn_ptr(&mut self, _: &'ast syn::TypeFnPtr) {}
    fn visit_type_trait_object(&mut self, _: &'ast syn::TypeTraitObject) {}
}
