//! `ValueStoreWrapper` and `CallStoreWrapper`: stores that pass most operations on to another store.

use std::{fmt::Debug, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    call::{CallKey, Record, RecordSummary},
    claim::{Claim, ClaimHolder},
    digest::{Digest, DigestPrefix},
    error::Result,
    store::{CallStore, CallStoreConfig, Check, Entries, ValueStore, ValueStoreConfig, query::Query, whole},
};

macro_rules! wrapper {
    (
        $(#[$doc:meta])*
        $wrapper:ident, $store:ident {
            $(fn $method:ident $(<$lifetime:lifetime>)? (&$($self_lifetime:lifetime)? self $(, $argument:ident: $type:ty)*) -> $result:ty
                $(, as |$this:ident| $body:expr)?;)*
        }
    ) => {
        $(#[$doc])*
        ///
        /// Each method passes the operation on to the inner store, unless the wrapper defines it. A type that implements this
        /// trait is a store. Implement the trait without importing it (`impl kit::ValueStoreWrapper for …`), since its methods
        /// are named like those of the store.
        pub trait $wrapper: Debug + Send + Sync {
            /// The inner store.
            type Inner: $store + ?Sized;

            /// Returns the inner store.
            fn inner(&self) -> &Self::Inner;

            $(
                #[doc = concat!("Implements [`", stringify!($store), "::", stringify!($method), "`].")]
                ///
                /// # Errors
                /// The default fails with the errors of the inner store.
                fn $method $(<$lifetime>)? (&$($self_lifetime)? self $(, $argument: $type)*) -> $result {
                    wrapper!(@body { self.inner().$method($($argument),*) } $({ let $this = self; $body })?)
                }
            )*
        }

        #[deny(clippy::missing_trait_methods)]
        impl<W: $wrapper + ?Sized> $store for W {
            $(
                fn $method $(<$lifetime>)? (&$($self_lifetime)? self $(, $argument: $type)*) -> $result {
                    $wrapper::$method(self $(, $argument)*)
                }
            )*
        }

        #[deny(clippy::missing_trait_methods)]
        impl<S: $store + ?Sized> $store for Arc<S> {
            $(
                fn $method $(<$lifetime>)? (&$($self_lifetime)? self $(, $argument: $type)*) -> $result {
                    (**self).$method($($argument),*)
                }
            )*
        }

        impl<S: $store + ?Sized> $wrapper for Box<S> {
            type Inner = S;

            fn inner(&self) -> &S {
                self
            }
        }
    };
    (@body { $($delegate:tt)* }) => {{ $($delegate)* }};
    (@body { $($delegate:tt)* } { $($body:tt)* }) => {{ $($body)* }};
}

wrapper! {
    /// A [`ValueStore`] around another one. `get` is [`read`](Self::read) with a check of the digest; a wrapper that defines
    /// `remove` also defines `remove_all`.
    ValueStoreWrapper, ValueStore {
        fn read(&self, id: &Digest, check: Check<'_>) -> Result<Option<Bytes>>;
        fn get(&self, id: &Digest) -> Result<Option<Bytes>>, as |store| store.read(id, &|bytes| whole(id, bytes));
        fn put(&self, id: &Digest, encoded: &[u8]) -> Result<()>;
        fn contains(&self, id: &Digest) -> Result<bool>;
        fn age(&self, id: &Digest) -> Result<Option<Duration>>;
        fn remove(&self, id: &Digest, older_than: Option<Duration>) -> Result<bool>;
        fn remove_all(&self, ids: &[Digest], older_than: Option<Duration>) -> Result<u64>;
        fn ids(&self, prefix: &DigestPrefix) -> Result<Entries<'_, Digest>>;
        fn sync(&self, id: &Digest) -> Result<()>;
        fn may_block(&self) -> bool;
        fn keeps_nothing(&self) -> bool;
        fn config(&self) -> Box<dyn ValueStoreConfig>;
    }
}

wrapper! {
    /// A [`CallStore`] around another one. A wrapper that defines `get` also defines `summary` and `find`.
    CallStoreWrapper, CallStore {
        fn get(&self, key: &CallKey) -> Result<Option<Record>>;
        fn summary(&self, key: &CallKey) -> Result<Option<RecordSummary>>;
        fn put(&self, key: &CallKey, record: &Record) -> Result<()>;
        fn contains(&self, key: &CallKey) -> Result<bool>;
        fn keys(&self, prefix: &DigestPrefix) -> Result<Entries<'_, CallKey>>;
        fn remove(&self, key: &CallKey, only: Option<&Record>) -> Result<bool>;
        fn find<'a>(&'a self, query: &'a Query) -> Result<Entries<'a, (CallKey, Record)>>;
        fn claim(&self, key: &CallKey) -> Result<Claim>;
        fn is_exclusive(&self) -> bool;
        fn claim_holder(&self, key: &CallKey) -> Result<Option<ClaimHolder>>;
        fn identity(&self) -> usize;
        fn sync(&self, key: &CallKey) -> Result<()>;
        fn may_block(&self) -> bool;
        fn keeps_nothing(&self) -> bool;
        fn config(&self) -> Box<dyn CallStoreConfig>;
    }
}
