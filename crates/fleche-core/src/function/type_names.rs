//! The names of types in the identity of generic functions, which are part of keys.

use std::any::type_name;

/// The present paths of modules (which end in `::`) and types, each with the original path that keys contain. Keys must
/// not change when a type moves. The first entry that matches counts, so types come before the modules that they are
/// in.
const MOVED: &[(&str, &str)] = &[
    ("fleche_encoding::digest::", "fleche_core::digest::"),
    ("fleche_encoding::encoded::", "fleche_core::encoding::encoded::"),
    ("fleche_encoding::deserializer::", "fleche_core::encoding::de::"),
    ("fleche_encoding::stability::", "fleche_core::encoding::stability::"),
    ("fleche_encoding::error::", "fleche_core::encoding::error::"),
    ("fleche_store_file::write::Durability", "fleche_store_file::config::Durability"),
    ("fleche_core::cache::maintenance::GcReport", "fleche_core::cache::collect::Collected"),
    ("fleche_core::cache::transfer::TransferReport", "fleche_core::cache::transfer::Transferred"),
    ("fleche_core::cache::maintenance::VerifyReport", "fleche_core::cache::verify::Verified"),
    ("fleche_core::cache::StalePolicy", "fleche_core::cache::stale::StalePolicy"),
    ("fleche_core::cache::stats::SkipReason", "fleche_core::cache::stats::Skip"),
    ("fleche_core::call::key::FunctionId", "fleche_core::call::function_id::FunctionId"),
    ("fleche_core::layer::stack::StackConfig", "fleche_core::layer::config::StackConfig"),
    ("fleche_core::layer::union::UnionConfig", "fleche_core::layer::config::PoolConfig"),
    ("fleche_core::layer::union::Union", "fleche_core::layer::pool::Pool"),
    ("fleche_core::layer::read_only::ReadOnlyConfig", "fleche_core::layer::config::ReadOnlyConfig"),
    ("fleche_core::metadata::Timestamp", "fleche_core::metadata::timestamp::Timestamp"),
    ("fleche_core::store::config::BackendInfo", "fleche_core::store::backend::BackendInfo"),
    ("fleche_core::store::open_stores::OpenPlaceGuard", "fleche_core::store::held::OpenPlaceGuard"),
    ("fleche_core::store::query::MetadataField", "fleche_core::query::Field"),
    ("fleche_core::runtime::log::Throttle", "fleche_core::log::throttle::Throttle"),
    ("fleche_core::runtime::process_id::Process", "fleche_core::owner::process::Process"),
    ("fleche_core::call::record_fields::", "fleche_core::call::record::"),
    ("fleche_core::call::record::RecordSummary", "fleche_core::call::record::brief::Brief"),
    ("fleche_core::context::stack::MetadataScope", "fleche_core::context::Collect"),
    ("fleche_core::claim::ClaimHolder", "fleche_core::claim::Owner"),
    ("fleche_core::claim::ClaimGuard", "fleche_core::claim::Held"),
    ("fleche_core::claim::ContendedClaim", "fleche_core::claim::Taken"),
    ("fleche_core::claim::in_flight::InFlightCall", "fleche_core::claim::flight::Flight"),
    ("fleche_core::claim::in_flight::CallId", "fleche_core::claim::flight::Route"),
    ("fleche_core::job::blocking_hooks::AwaitedJob", "fleche_core::waiting::Sought"),
    ("fleche_core::job::blocking_hooks::QueueSlot", "fleche_core::waiting::Spot"),
    ("fleche_core::function::Erased", "fleche_core::function::portable::Erased"),
    ("fleche_core::function::Portable", "fleche_core::function::portable::Portable"),
    ("fleche_core::executor::ExecutorInfo", "fleche_core::executor::registry::ExecutorInfo"),
    ("fleche_core::executor::remote::Isolator", "fleche_core::executor::isolated::Isolator"),
    ("fleche_core::engine::arguments::Reader", "fleche_core::memo::codec::Reader"),
    ("fleche_core::function::WaitPolicy", "fleche_core::function::Patience"),
    ("fleche_core::executor::ext::Map", "fleche_core::executor::map::Map"),
    ("fleche_core::executor::ext::With", "fleche_core::executor::with::With"),
    ("fleche_core::executor::task::SubmitError", "fleche_core::executor::SubmitError"),
    ("fleche_core::argument::hashed::", "fleche_core::hashed::"),
    ("fleche_core::argument::file_content::", "fleche_core::file_content::"),
    ("fleche_core::argument::known_files::", "fleche_core::file_content::travelling::"),
    ("fleche_core::store::query::", "fleche_core::query::"),
    ("fleche_core::context::future::", "fleche_core::future::"),
    ("fleche_core::context::stack::", "fleche_core::context::"),
    ("fleche_core::bound::function::", "fleche_core::bound::"),
    ("fleche_core::bound::function_ref::", "fleche_core::bound::portable::"),
    ("fleche_core::bound::descriptor::", "fleche_core::bound::portable::descriptor::"),
    ("fleche_core::job::blocking_hooks::", "fleche_core::waiting::"),
    ("fleche_core::job::combinators::", "fleche_core::job::many::"),
    ("fleche_core::store::open_stores::", "fleche_core::store::open::"),
    ("fleche_core::store::backing_file::", "fleche_core::store::replaced::"),
    ("fleche_core::runtime::fork::", "fleche_core::fork::"),
    ("fleche_core::runtime::process_id::", "fleche_core::owner::"),
    ("fleche_core::claim::leader::", "fleche_core::claim::flight::"),
    ("fleche_core::claim::in_flight::", "fleche_core::claim::flight::"),
    ("fleche_core::claim::remote_cycles::", "fleche_core::claim::chain::"),
    ("fleche_core::claim::poll_tracking::", "fleche_core::claim::polled::"),
    ("fleche_core::cache::hot_tier::", "fleche_core::cache::hot::"),
    ("fleche_core::cache::maintenance::", "fleche_core::cache::collect::"),
    ("fleche_core::metadata::runtime_report::", "fleche_core::metadata::runtime::"),
    ("fleche_core::executor::remote::", "fleche_core::executor::portable::"),
    ("fleche_core::engine::", "fleche_core::memo::"),
    ("fleche_core::runtime::log::", "fleche_core::log::"),
    ("fleche_core::runtime::internal_threads::", "fleche_core::claim::quiet::ours::"),
    ("fleche_exec::process_pool::ProcessPoolConfig", "fleche_exec::processes::config::ProcessPoolConfig"),
    ("fleche_exec::process_pool::dispatch::ProcessPoolStats", "fleche_exec::processes::ProcessPoolStats"),
    ("fleche_exec::process_pool::", "fleche_exec::processes::"),
    ("fleche_exec::thread_pool::ThreadPoolConfig", "fleche_exec::threads::config::ThreadPoolConfig"),
    ("fleche_exec::thread_pool::", "fleche_exec::threads::"),
    ("fleche_store_redb::pending::CommitStats", "fleche_store_redb::commit::CommitStats"),
    ("fleche_store_redb::tables::Durability", "fleche_store_redb::config::Durability"),
];

/// Returns the name of the type as it stands in keys: that of [`type_name`], with the original paths of fleche's own types.
pub fn stable_type_name<T: ?Sized>() -> String {
    with_first_names(type_name::<T>())
}

/// Returns the name with the paths of types that were moved replaced by their original ones.
fn with_first_names(name: &str) -> String {
    if !name.contains("fleche_") {
        return name.to_owned();
    }
    let is_in_word = |char: char| char.is_alphanumeric() || char == '_';
    let (mut stable, mut rest) = (String::with_capacity(name.len()), name);
    while let Some(char) = rest.chars().next() {
        // A path may follow a longer name, such as `my_fleche_encoding`, and a type's name may begin that of another type.
        let begins = !stable.ends_with(|char: char| is_in_word(char) || char == ':');
        let matches = |now: &str| {
            let after = rest.strip_prefix(now);
            after.is_some_and(|after| now.ends_with("::") || !after.starts_with(is_in_word))
        };
        let moved = MOVED.iter().find(|(now, _)| begins && matches(now));
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
        assert_eq!(stable_type_name::<fleche_store_file::Durability>(), "fleche_store_file::config::Durability");
        let nested = "alloc::collections::btree::map::BTreeMap<fleche_core::digest::Digest, \
                      (&[fleche_core::encoding::encoded::Encoded], u8)>";
        assert_eq!(stable_type_name::<BTreeMap<Digest, (&[Encoded], u8)>>(), nested);
    }

    #[test]
    fn names_of_other_types_are_not_changed() {
        assert_eq!(stable_type_name::<Vec<Option<str_of_unicode::Ä>>>(), type_name::<Vec<Option<str_of_unicode::Ä>>>());
        assert_eq!(stable_type_name::<str>(), "str");
        assert_eq!(stable_type_name::<crate::store::query::Query>(), "fleche_core::query::Query");
        let named = stable_type_name::<my_fleche_encoding<Digest>>();
        assert!(named.ends_with("my_fleche_encoding<fleche_core::digest::Digest>"), "{named}");
    }

    #[test]
    fn type_whose_name_begins_like_that_of_a_moved_type_keeps_its_own_name() {
        let moved = "fleche_store_file::write::Durability";
        let first = "fleche_store_file::config::Durability";
        for after in ["", ">", ", u8)", "<u8>", "::Inner"] {
            assert_eq!(with_first_names(&format!("{moved}{after}")), format!("{first}{after}"));
        }
        for after in ["Level", "_", "2", "Ä"] {
            assert_eq!(with_first_names(&format!("Vec<{moved}{after}>")), format!("Vec<{moved}{after}>"));
        }
    }

    mod str_of_unicode {
        pub(super) struct Ä;
    }
}
