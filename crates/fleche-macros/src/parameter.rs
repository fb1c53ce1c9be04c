//! The parameters of a memoized function.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::{
    FnArg, Ident, Pat, PatType, Result, Type, TypeReference,
    ext::IdentExt,
    spanned::Spanned,
    visit_mut::{self, VisitMut},
};

/// One parameter, as the generated functions have it.
pub(crate) struct Parameter {
    /// A plain name, also where the user wrote a pattern.
    pub(crate) ident: Ident,
    /// The name in keys.
    pub(crate) key: String,
    /// The type as written, each `impl Trait` in it replaced by a type parameter.
    pub(crate) ty: Type,
    /// For a parameter `&T`: `T`.
    pub(crate) lent: Option<Type>,
    pub(crate) ignored: bool,
    /// Whether it is a path that nobody said is meant as a name.
    pub(crate) is_path: bool,
}

const IGNORE: &str = "ignore";
const BY_NAME: &str = "by_name";

/// Removes the attributes that only `#[fleche]` knows.
pub(crate) fn strip(argument: &mut FnArg) {
    if let FnArg::Typed(typed) = argument {
        typed.attrs.retain(|attribute| !attribute.path().is_ident(IGNORE) && !attribute.path().is_ident(BY_NAME));
    }
}

impl Parameter {
    pub(crate) fn new(position: usize, argument: &FnArg, implied: &mut ImplTraits, local: bool) -> Result<Self> {
        let FnArg::Typed(PatType { attrs, pat, ty, .. }) = argument else {
            return Err(syn::Error::new(
                argument.span(),
                "methods cannot be memoized, since the companion cannot stand inside an `impl`; write a free function \
                 that takes `&T`, and call it from the method",
            ));
        };
        let has = |name| attrs.iter().any(|attribute| attribute.path().is_ident(name));
        if let Some(cfg) = attrs.iter().find(|attribute| attribute.path().is_ident("cfg")) {
            return Err(syn::Error::new(
                cfg.span(),
                "the key would change with the configuration; put `#[cfg]` on two functions",
            ));
        }
        let ident = match &**pat {
            Pat::Ident(pattern) if pattern.subpat.is_none() => pattern.ident.clone(),
            pattern => Ident::new(&format!("arg{position}"), pattern.span()),
        };
        let mut ty = (**ty).clone();
        let is_path = names_a_path(&ty) && !has(BY_NAME) && !has(IGNORE);
        implied.visit_type_mut(&mut ty);
        let lent = match &ty {
            Type::Reference(TypeReference { mutability: Some(mutability), .. }) => {
                return Err(syn::Error::new(
                    mutability.span(),
                    "what a function writes through `&mut` is not in its result; take the value and return it",
                ));
            }
            Type::Reference(reference) => Some((*reference.elem).clone()),
            _ => None,
        };
        if !local {
            refuse_nested_borrows(lent.as_ref().unwrap_or(&ty))?;
        }
        Ok(Self { key: ident.unraw().to_string(), ident, ty, lent, ignored: has(IGNORE), is_path })
    }

    /// The type that is encoded.
    pub(crate) fn encoded_type(&self) -> &Type {
        self.lent.as_ref().unwrap_or(&self.ty)
    }

    /// A reference to the value.
    pub(crate) fn borrowed(&self) -> TokenStream {
        let ident = &self.ident;
        if self.lent.is_some() { ident.to_token_stream() } else { quote!(&#ident) }
    }
}

fn names_a_path(ty: &Type) -> bool {
    match ty {
        Type::Reference(reference) => names_a_path(&reference.elem),
        Type::Path(path) => {
            path.path.segments.last().is_some_and(|last| last.ident == "Path" || last.ident == "PathBuf")
        }
        _ => false,
    }
}

fn refuse_nested_borrows(ty: &Type) -> Result<()> {
    struct Borrows(Option<syn::Error>);
    impl VisitMut for Borrows {
        fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
            self.0.get_or_insert_with(|| {
                syn::Error::new(
                    reference.span(),
                    "a borrow inside a parameter's type cannot be decoded; take owned values (`&[String]`), or say \
                     `#[fleche(local)]` to do without the guard and `bind`",
                )
            });
        }
        // Function pointers and trait objects have no encoding; the compiler says so better.
        fn visit_type_fn_ptr_mut(&mut self, _: &mut syn::TypeFnPtr) {}
        fn visit_type_trait_object_mut(&mut self, _: &mut syn::TypeTraitObject) {}
    }
    let mut borrows = Borrows(None);
    borrows.visit_type_mut(&mut ty.clone());
    borrows.0.map_or(Ok(()), Err)
}

/// Gives each `impl Trait` a name, as generated functions need one.
#[derive(Default)]
pub(crate) struct ImplTraits {
    /// `Name: Trait`, in order.
    pub(crate) parameters: Vec<syn::TypeParam>,
}

impl VisitMut for ImplTraits {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        visit_mut::visit_type_mut(self, ty);
        if let Type::ImplTrait(implied) = ty {
            let name = format_ident!("__Fleche{}", self.parameters.len());
            let bounds = &implied.bounds;
            self.parameters.push(syn::parse_quote!(#name: #bounds));
            *ty = syn::parse_quote!(#name);
        }
    }
}
