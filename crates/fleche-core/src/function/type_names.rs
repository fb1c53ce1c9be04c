//! The names of types in the identity of generic functions, which are part of keys.

use std::any::type_name;

/// Where modules lie now, and where they lay when keys with their types were first made. Keys must not change when a type moves.
const MOVED: [(&str, &str); 3] = [
    ("fleche_encoding::digest::", "fleche_core::digest::"),
    ("fleche_encoding::encoded::", "fleche_core::encoding::encoded::"),
    ("fleche_encoding::error::", "fleche_core::encoding::error::"),
];

/// Returns the name of the type as it stands in keys: that of [`type_name`], with the original paths of fleche's own types.
pub fn stable_type_name<T: ?Sized>() -> String {
    let name = type_name::<T>();
    if !name.contains("fleche_") {
        return name.to_owned();
    }
    let (mut stable, mut rest) = (String::with_capacity(name.len()), name);
    while let Some(char) = rest.chars().next() {
        // A path may follow a longer name, such as `my_fleche_encoding`.
        let begins = !stable.ends_with(|char: char| char.is_alphanumeric() || char == '_' || char == ':');
        let moved = MOVED.iter().find(|(now, _)| begins && rest.starts_with(now));
        let (taken, written) =
            moved.map_or((char.len_utf8(), &rest[..char.len_utf8()]), |(now, then)| (now.len(), *then));
        stable.push_str(written);
        rest = &rest[taken..];
    }
    stable
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        digest::{Digest, DigestPrefix},
        encoding::{DecodeError, DecodeErrorKind, EncodeError, Encoded},
    };

    #[expect(non_camel_case_types, reason = "a name that ends like that of the crate")]
    struct my_fleche_encoding<T: ?Sized>(std::marker::PhantomData<T>);

    #[test]
    fn types_that_moved_keep_their_names_in_keys() {
        assert_eq!(stable_type_name::<Digest>(), "fleche_core::digest::Digest");
        assert_eq!(stable_type_name::<DigestPrefix>(), "fleche_core::digest::DigestPrefix");
        assert_eq!(stable_type_name::<Encoded>(), "fleche_core::encoding::encoded::Encoded");
        assert_eq!(stable_type_name::<EncodeError>(), "fleche_core::encoding::error::EncodeError");
        assert_eq!(stable_type_name::<DecodeError>(), "fleche_core::encoding::error::DecodeError");
        assert_eq!(stable_type_name::<DecodeErrorKind>(), "fleche_core::encoding::error::DecodeErrorKind");
        let nested = "alloc::collections::btree::map::BTreeMap<fleche_core::digest::Digest, \
                      (&[fleche_core::encoding::encoded::Encoded], u8)>";
        assert_eq!(stable_type_name::<BTreeMap<Digest, (&[Encoded], u8)>>(), nested);
    }

    #[test]
    fn other_types_are_named_as_they_are() {
        assert_eq!(stable_type_name::<Vec<Option<str_of_unicode::Ä>>>(), type_name::<Vec<Option<str_of_unicode::Ä>>>());
        assert_eq!(stable_type_name::<str>(), "str");
        assert_eq!(stable_type_name::<crate::query::Query>(), "fleche_core::query::Query");
        let named = stable_type_name::<my_fleche_encoding<Digest>>();
        assert!(named.ends_with("my_fleche_encoding<fleche_core::digest::Digest>"), "{named}");
    }

    mod str_of_unicode {
        pub(super) struct Ä;
    }
}
