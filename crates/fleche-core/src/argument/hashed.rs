//! `Hashed`: an argument that is hashed once, no matter how many calls use it.

use std::{
    borrow::Borrow,
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use fleche_encoding::spi::{CACHED_DIGEST_MARKER, CachedDigest, offer};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    call::ValueRef,
    encoding::{self, EncodeError},
};

/// A value that caches its digest: the parameter type for large values that many calls share.
///
/// The first lookup with the value encodes and hashes it; later lookups take as long as those with a small argument. The
/// key is the one that `T` itself gives. A parameter that changes from `&T` to `&Hashed<T>` counts as
/// [edited code](macro@crate::fleche#edited-code).
///
/// ```
/// use fleche_core::{Hashed, fleche};
///
/// #[fleche]
/// fn nearest(points: &Hashed<Vec<[f64; 3]>>, to: [f64; 3]) -> Option<usize> {
///     let distance = |point: &[f64; 3]| -> f64 { point.iter().zip(to).map(|(x, y)| (x - y) * (x - y)).sum() };
///     (0..points.len()).min_by(|left, right| distance(&points[*left]).total_cmp(&distance(&points[*right])))
/// }
///
/// let points = Hashed::new((0..1000).map(|x| [f64::from(x), 0.0, 0.0]).collect::<Vec<_>>());
/// for x in 0..10 {
///     assert_eq!(nearest(&points, [f64::from(x), 1.0, 0.0]), Some(x as usize)); // Hashed for the first only.
/// }
/// ```
///
/// It is a shared handle like an [`Arc`]: clones share value and digest, and are cheap. The value cannot be changed;
/// [`into_inner`](Self::into_inner) returns it. A plain `Arc<T>` argument is encoded and hashed for each call, because it
/// may have changed in between; wrap an existing `Arc` as `Hashed<Arc<T>>`, without a copy.
///
/// - Only a whole argument benefits. Inside another value, such as an `Option`, a tuple or a struct, it is encoded and
///   hashed as part of that value.
/// - It is sent to workers and serialized in other formats as `T` is, and is hashed again where it arrives.
/// - A miss encodes it again if the argument has to be stored or checked (see
///   [`#[fleche(store_arguments = false)]`](macro@crate::fleche#options)).
/// - A `T` with interior mutability (a `Mutex`, a `Cell` or an atomic in it) must not change while it is wrapped: the
///   cached digest would stay that of the old value.
///
/// Equality, order and hash are those of `T`.
pub struct Hashed<T>(Arc<Content<T>>);

struct Content<T> {
    value: T,
    /// The digest of the encoding, once it is known. The inner `None` means that the encoding is inline.
    hash: OnceLock<Option<[u8; 32]>>,
}

impl<T> Hashed<T> {
    /// Wraps the value. Nothing is hashed until the digest is needed.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Content { value, hash: OnceLock::new() }))
    }

    /// Returns the value, or a clone of it if there are other handles. Call it as `Hashed::into_inner(it)`.
    pub fn into_inner(this: Self) -> T
    where
        T: Clone,
    {
        Arc::try_unwrap(this.0).map_or_else(|shared| shared.value.clone(), |content| content.value)
    }
}

impl<T: Serialize> Content<T> {
    fn reference(&self) -> Result<Option<[u8; 32]>, EncodeError> {
        if let Some(known) = self.hash.get() {
            return Ok(*known);
        }
        // Threads that call this at the same time each hash the value.
        let hash = ValueRef::new(&encoding::to_vec(&self.value)?).stored().map(|digest| *digest.as_bytes());
        Ok(*self.hash.get_or_init(|| hash))
    }
}

impl<T: Serialize + Send + Sync> CachedDigest for Content<T> {
    fn hash(&self) -> Result<Option<[u8; 32]>, EncodeError> {
        self.reference()
    }

    fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        encoding::append(buffer, &self.value)
    }
}

impl<T: Serialize + Send + Sync + 'static> Serialize for Hashed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(CACHED_DIGEST_MARKER, &MarkedContent(self))
    }
}

/// The content of the newtype struct that a [`Hashed`] is serialized as.
struct MarkedContent<'a, T>(&'a Hashed<T>);

impl<T: Serialize + Send + Sync + 'static> Serialize for MarkedContent<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let content = &self.0.0;
        if offer(|| Arc::<Content<T>>::clone(content)) {
            return serializer.serialize_unit();
        }
        content.value.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Hashed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Inner<T>(std::marker::PhantomData<fn() -> T>);
        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Inner<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
                T::deserialize(deserializer)
            }
        }
        deserializer.deserialize_newtype_struct(CACHED_DIGEST_MARKER, Inner(std::marker::PhantomData)).map(Self::new)
    }
}

impl<T> Clone for Hashed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Hashed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> AsRef<T> for Hashed<T> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T> Borrow<T> for Hashed<T> {
    fn borrow(&self) -> &T {
        self
    }
}

impl<T> From<T> for Hashed<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Default> Default for Hashed<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: PartialEq> PartialEq for Hashed<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for Hashed<T> {}

impl<T: PartialOrd> PartialOrd for Hashed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (**self).partial_cmp(&**other)
    }
}

impl<T: Ord> Ord for Hashed<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl<T: std::hash::Hash> std::hash::Hash for Hashed<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl<T: fmt::Debug> fmt::Debug for Hashed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for Hashed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
