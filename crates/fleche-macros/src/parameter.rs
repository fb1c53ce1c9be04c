//! Parses the parameters of a memoized function.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{
    FnArg, Ident, Pat, PatType, PathArguments, PathSegment, Result, Type, TypeReference,
    ext::IdentExt,
    spanned::Spanned,
    visit::{self, Visit},
    visit_mut::{self, VisitMut},
};

use crate::options::Options;

/// One parameter, as it appears in the generated functions.
pub(crate) struct Parameter {
    /// The parameter's name, or `arg` and its position if the user wrote a pattern.
    pub(crate) ident: Ident,
    /// The name in keys.
    pub(crate) key: String,
    /// The type as written, with each `impl Trait` replaced by a type parameter.
    pub(crate) ty: Type,
    /// `T` if the parameter's type is written as `&T`. A reference behind a type alias does not count.
    pub(crate) lent: Option<Type>,
    /// Whether the parameter is left out of the key.
    pub(crate) ignored: bool,
    /// Whether the type contains a reference inside, so that no bound call can carry it.
    pub(crate) borrows_inside: bool,
    /// Whether the parameter is a path that is part of the key and not marked `#[by_name]`.
    pub(crate) is_path: bool,
}

pub(crate) const NO_METHODS: &str = "methods and associated functions cannot be memoized, since the companion type cannot be \
                                     defined inside an `impl` or a `trait`; write a free function that takes `&T` in place \
                                     of `&self`, and call it from here";
const NO_MUTABLE_REFERENCES: &str = "a write through `&mut` is not part of the result, so it is lost on a hit; take the value \
                                     and return it, or, if a hit need not write, leave the parameter out of the key with \
                                     `#[ignore]`";
const NO_NESTED_BORROWS: &str = "a borrow inside a parameter's type cannot be decoded; take owned values (`&[String]`), or add \
                                 `#[fleche(local)]`, which disables the stability check and `bind`";

const IGNORE: &str = "ignore";
const BY_NAME: &str = "by_name";

/// Removes the attributes that only `#[fleche]` understands.
pub(crate) fn strip(argument: &mut FnArg) {
    if let FnArg::Typed(typed) = argument {
        typed.attrs.retain(|attribute| !attribute.path().is_ident(IGNORE) && !attribute.path().is_ident(BY_NAME));
    }
}

impl Parameter {
    pub(crate) fn new(position: usize, argument: &FnArg, implied: &mut ImplTraits, options: &Options) -> Result<Self> {
        let FnArg::Typed(PatType { attrs, pat, ty, .. }) = argument else {
            return Err(syn::Error::new(argument.span(), NO_METHODS));
        };
        let has = |name| attrs.iter().any(|attribute| attribute.path().is_ident(name));
        if let Some(cfg) = attrs.iter().find(|attribute| attribute.path().is_ident("cfg")) {
            return Err(syn::Error::new(
                cfg.span(),
                "a parameter cannot have `#[cfg]`, since the key would depend on the configuration; write two functions with \
                 `#[cfg]`",
            ));
        }
        let ident = match &**pat {
            Pat::Ident(pattern) if pattern.subpat.is_none() => pattern.ident.clone(),
            pattern => Ident::new(&format!("arg{position}"), pattern.span()),
        };
        let ignored = has(IGNORE) || options.ignore.contains(&ident);
        let mut ty = (**ty).clone();
        let is_path = names_a_path(&ty) && !has(BY_NAME) && !ignored;
        implied.visit_type_mut(&mut ty);
        let lent = match ungrouped(&ty) {
            Type::Reference(reference) if reference.mutability.is_none() => Some((*reference.elem).clone()),
            _ => None,
        };
        let references = References::inside(lent.as_ref().unwrap_or(&ty));
        if !ignored && let Some(span) = references.mutable {
            return Err(syn::Error::new(span, NO_MUTABLE_REFERENCES));
        }
        let may_stay = options.local || (ignored && !options.isolates_in_process());
        if !may_stay && let Some(span) = references.any {
            return Err(syn::Error::new(span, NO_NESTED_BORROWS));
        }
        let borrows_inside = references.any.is_some();
        Ok(Self { key: ident.unraw().to_string(), ident, ty, lent, ignored, borrows_inside, is_path })
    }

    /// Returns the type that is encoded: `T` for a parameter `&T`.
    pub(crate) fn encoded_type(&self) -> &Type {
        self.lent.as_ref().unwrap_or(&self.ty)
    }

    /// Returns an expression for a reference to the value.
    pub(crate) fn borrowed(&self) -> TokenStream {
        let ident = &self.ident;
        if self.lent.is_some() { ident.to_token_stream() } else { quote!(&#ident) }
    }
}

/// Returns whether a result of this type is or contains a path, judging by the type as written.
///
/// The error type of a `Result` does not count, since errors are not recorded by default.
pub(crate) fn contains_a_path(ty: &Type) -> bool {
    struct Paths(bool);
    impl<'ast> Visit<'ast> for Paths {
        fn visit_type(&mut self, ty: &'ast Type) {
            self.0 |= names_a_path(ty);
            visit::visit_type(self, ty);
        }

        fn visit_path_segment(&mut self, segment: &'ast PathSegment) {
            match &segment.arguments {
                PathArguments::AngleBracketed(arguments) if segment.ident == "Result" => {
                    arguments.args.first().into_iter().for_each(|value| self.visit_generic_argument(value));
                }
                _ => visit::visit_path_segment(self, segment),
            }
        }

        fn visit_type_fn_ptr(&mut self, _: &'ast syn::TypeFnPtr) {}
        fn visit_type_trait_object(&mut self, _: &'ast syn::TypeTraitObject) {}
    }
    let mut paths = Paths(false);
    paths.visit_type(ty);
    paths.0
}

fn names_a_path(ty: &Type) -> bool {
    match ungrouped(ty) {
        Type::Reference(reference) => names_a_path(&reference.elem),
        Type::Path(path) => {
            path.path.segments.last().is_some_and(|last| last.ident == "Path" || last.ident == "PathBuf")
        }
        _ => false,
    }
}

/// Returns the type without the invisible group around a macro's `$t:ty`, and without parentheses.
fn ungrouped(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => ungrouped(&group.elem),
        Type::Paren(paren) => ungrouped(&paren.elem),
        ty => ty,
    }
}

/// The first references in a type, outside the signatures of function pointers and trait objects.
#[derive(Default)]
struct References {
    any: Option<Span>,
    mutable: Option<Span>,
}

impl References {
    fn inside(ty: &Type) -> Self {
        let mut references = Self::default();
        references.visit_type(ty);
        references
    }
}

impl<'ast> Visit<'ast> for References {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        self.any.get_or_insert_with(|| reference.span());
        if let Some(mutability) = &reference.mutability {
            self.mutable.get_or_insert_with(|| mutability.span());
        }
        visit::visit_type_reference(self, reference);
    }
    fn visit_type_fn_ptr(&mut self, _: &'ast syn::TypeFnPtr) {}
    fn visit_type_trait_object(&mut self, _: &'ast syn::TypeTraitObject) {}
}

/// Replaces each `impl Trait` with a named type parameter, which the generated functions need.
#[derive(Default)]
pub(crate) struct ImplTraits {
    /// The type parameters `Name: Trait`, in the order of the `impl Trait` types.
    pub(crate) parameters: Vec<syn::TypeParam>,
}

impl VisitMut for ImplTraits {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        visit_mut::visit_type_mut(self, ty);
        if let Type::ImplTrait(implied) = ty {
            let name = format_ident!("__Fleche{}", self.parameters.len(), span = implied.impl_token.span);
            let bounds = &implied.bounds;
            self.parameters.push(syn::parse_quote!(#name: #bounds));
            *ty = syn::parse_quote!(#name);
        }
    }
}
