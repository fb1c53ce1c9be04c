//! The names of fleche's own types in keys of generic functions: as they were when such keys were first made.

use fleche_core::{
    __private::stable_type_name,
    Bound, BoundCall, Cache, CacheConfig, CallKey, Digest, DigestPrefix, Error, FileContent, FunctionId, Hashed, Job,
    JobError, Query, Record, Resources, Stats, Task, ValueRef,
    cache::{Gc, GcReport, HotTier, SkipReason, StalePolicy, TransferReport, VerifyReport},
    call::{Argument, InlineBytes, RecordFields, RecordSummary, Timestamp, Writer},
    claim::{Claim, ClaimHolder, Leases},
    config::ConfigFile,
    context::{Binding, BindingConfig, Guard, InCache, MetadataScope, Tag},
    encoding::{DecodeError, DecodeErrorKind, Deserializer, EncodeError, Encoded},
    executor::{Map, With, Wrapped},
    job::{AsCompleted, Completer, RemoteError},
    layer::{ReadOnly, ReadOnlyConfig, Stack, StackConfig, UnionConfig, Void},
    metadata::{Metadata, Runtime, RuntimeReport},
    spi::{FunctionRef, PortableCall, Reply},
    store::{BackendInfo, BackingFile, OpenStores, Place, Reach},
};

/// Checks the name of each type without its parameters.
macro_rules! names {
    ($($type:ty => $name:literal,)*) => {
        [$((stable_type_name::<$type>(), concat!("fleche_core::", $name)),)*]
    };
}

#[test]
fn types_keep_their_first_names_in_keys() {
    let names = names! {
        Bound<fn()> => "bound::Bound",
        BoundCall<u8> => "bound::call::BoundCall",
        FunctionRef => "bound::portable::FunctionRef",
        Cache => "cache::Cache",
        Gc => "cache::collect::Gc",
        GcReport => "cache::collect::Collected",
        HotTier => "cache::hot::HotTier",
        StalePolicy => "cache::stale::StalePolicy",
        Stats => "cache::stats::Stats",
        SkipReason => "cache::stats::Skip",
        TransferReport => "cache::transfer::Transferred",
        VerifyReport => "cache::verify::Verified",
        FunctionId => "call::function_id::FunctionId",
        Argument => "call::key::Argument",
        CallKey => "call::key::CallKey",
        Record => "call::record::Record",
        RecordFields => "call::record::RecordFields",
        Writer => "call::record::Writer",
        RecordSummary => "call::record::brief::Brief",
        ValueRef => "call::value_ref::ValueRef",
        InlineBytes => "call::value_ref::InlineBytes",
        Claim => "claim::Claim",
        ClaimHolder => "claim::Owner",
        Leases<u8> => "claim::lease::Leases",
        CacheConfig => "config::CacheConfig",
        ConfigFile => "config::file::ConfigFile",
        Guard => "context::Guard",
        Tag => "context::Tag",
        MetadataScope => "context::Collect",
        Binding => "context::binding::Binding",
        BindingConfig => "context::binding::BindingConfig",
        InCache<u8> => "future::InCache",
        Digest => "digest::Digest",
        DigestPrefix => "digest::DigestPrefix",
        Encoded => "encoding::encoded::Encoded",
        Deserializer<'static> => "encoding::de::Deserializer",
        EncodeError => "encoding::error::EncodeError",
        DecodeError => "encoding::error::DecodeError",
        DecodeErrorKind => "encoding::error::DecodeErrorKind",
        Error => "error::Error",
        Map<'static, u8, u8, u8, u8> => "executor::map::Map",
        PortableCall => "executor::portable::PortableCall",
        Reply => "executor::portable::Reply",
        Resources => "executor::resources::Resources",
        Task => "executor::task::Task",
        With<'static, u8> => "executor::with::With",
        Wrapped<u8> => "executor::wrapped::Wrapped",
        FileContent => "file_content::FileContent",
        Hashed<u8> => "hashed::Hashed",
        Job<u8> => "job::Job",
        Completer<u8> => "job::Completer",
        JobError => "job::error::JobError",
        RemoteError => "job::error::RemoteError",
        AsCompleted<u8> => "job::many::AsCompleted",
        StackConfig<u8> => "layer::config::StackConfig",
        UnionConfig<u8> => "layer::config::PoolConfig",
        ReadOnlyConfig<u8> => "layer::config::ReadOnlyConfig",
        fleche_core::layer::Union<u8> => "layer::pool::Pool",
        ReadOnly<u8> => "layer::read_only::ReadOnly",
        Stack<u8> => "layer::stack::Stack",
        Void => "layer::void::Void",
        Metadata => "metadata::Metadata",
        Runtime => "metadata::runtime::Runtime",
        RuntimeReport => "metadata::runtime::RuntimeReport",
        Timestamp => "metadata::timestamp::Timestamp",
        Query => "query::Query",
        BackendInfo => "store::backend::BackendInfo",
        Reach => "store::config::Reach",
        OpenStores<u8, u8> => "store::open::OpenStores",
        Place => "store::open::Place",
        BackingFile<u8> => "store::replaced::BackingFile",
    };
    for (name, first) in names {
        let own = name.split('<').next().unwrap_or_default();
        assert_eq!(own, first, "{name}");
    }
}

#[test]
fn types_of_executors_keep_their_first_names_in_keys() {
    let mut names = vec![
        (stable_type_name::<fleche_exec::ThreadPool>(), "fleche_exec::threads::ThreadPool"),
        (stable_type_name::<fleche_exec::ThreadPoolConfig>(), "fleche_exec::threads::config::ThreadPoolConfig"),
        (stable_type_name::<fleche_exec::Budget>(), "fleche_exec::budget::Budget"),
        (stable_type_name::<fleche_exec::SerialExecutor>(), "fleche_exec::serial::SerialExecutor"),
    ];
    #[cfg(target_os = "linux")]
    names.extend([
        (stable_type_name::<fleche_exec::ProcessPool>(), "fleche_exec::processes::ProcessPool"),
        (stable_type_name::<fleche_exec::ProcessPoolConfig>(), "fleche_exec::processes::config::ProcessPoolConfig"),
        (stable_type_name::<fleche_exec::ProcessPoolStats>(), "fleche_exec::processes::ProcessPoolStats"),
    ]);
    for (name, first) in names {
        assert_eq!(name, first);
    }
}
