//! Registers known limits of backends, for which the suite relaxes its checks, and the scale of large cases.

use std::{
    env,
    sync::{OnceLock, RwLock},
};

use fleche_core::spi::LockResultExt;

/// A known limit, registered by [`admit_loss_of_neighbours!`](crate::admit_loss_of_neighbours).
#[derive(Debug)]
pub struct LosesNeighbours {
    /// The backend's name.
    pub backend: &'static str,
    /// Whether the limit applies only to truncated files.
    pub truncated_only: bool,
    /// The reason, for readers of the source.
    pub why: &'static str,
}

inventory::collect!(LosesNeighbours);

/// Declares, in the program that runs the suite, that damage to one entry can make a backend lose intact entries in the same
/// file.
///
/// Use it as `admit_loss_of_neighbours!("its name", "the reason");`, or as
/// `admit_loss_of_neighbours!("its name", truncated_only, "the reason");` if only truncated files are affected. Lost entries
/// must be absent, and the store must still serve no wrong entries.
#[macro_export]
macro_rules! admit_loss_of_neighbours {
    ($backend:literal, $why:literal) => {
        $crate::__private::inventory::submit! {
            $crate::LosesNeighbours { backend: $backend, truncated_only: false, why: $why }
        }
    };
    ($backend:literal, truncated_only, $why:literal) => {
        $crate::__private::inventory::submit! {
            $crate::LosesNeighbours { backend: $backend, truncated_only: true, why: $why }
        }
    };
}

/// Returns whether the backend may lose intact entries of a damaged file. `is_truncated` says whether the file was truncated.
pub(crate) fn loses_neighbours(backend: &str, is_truncated: bool) -> bool {
    let applies = |limit: &LosesNeighbours| limit.backend == backend && (is_truncated || !limit.truncated_only);
    inventory::iter::<LosesNeighbours>().any(applies)
}

/// A known limit, registered by [`admit_encoded_bytes!`](crate::admit_encoded_bytes).
#[derive(Debug)]
pub struct EncodesBytes {
    /// The backend's name.
    pub backend: &'static str,
    /// How the backend encodes entries, for readers of the source.
    pub how: &'static str,
}

inventory::collect!(EncodesBytes);

/// Declares, in the program that runs the suite, that a backend's files contain entries in encoded form: compressed, encrypted
/// or as text. Use it as `admit_encoded_bytes!("its name", "how");`.
///
/// Cases that damage the bytes of an entry then damage every larger file. The store must not serve wrong bytes, and every
/// entry must be present after it has been put again. Records of a later format are not tested, since a case would have to
/// write them itself.
#[macro_export]
macro_rules! admit_encoded_bytes {
    ($backend:literal, $how:literal) => {
        $crate::__private::inventory::submit! {
            $crate::EncodesBytes { backend: $backend, how: $how }
        }
    };
}

/// Returns whether the backend's files contain entries in encoded form.
pub(crate) fn encodes_bytes(backend: &str) -> bool {
    inventory::iter::<EncodesBytes>().any(|limit| limit.backend == backend)
}

static SCALE: RwLock<Option<f64>> = RwLock::new(None);

/// Sets the fraction of their entries that cases with many or large entries put, such as 0.1.
///
/// The default is the value of the environment variable `FLECHE_CONFORMANCE_SCALE`, or 1.
///
/// # Panics
/// Panics if the scale is not greater than 0 and at most 1.
pub fn set_scale(scale: f64) {
    assert!(is_scale(scale), "the scale must be greater than 0 and at most 1, but is {scale}");
    *SCALE.write().ignore_poison() = Some(scale);
}

/// Returns the count times the scale, but at least one.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // Counts are below 2^52.
pub(crate) fn scaled(count: usize) -> usize {
    ((count as f64 * scale()) as usize).max(1)
}

fn scale() -> f64 {
    static ENVIRONMENT: OnceLock<f64> = OnceLock::new();
    let chosen = *SCALE.read().ignore_poison();
    chosen.unwrap_or_else(|| {
        *ENVIRONMENT.get_or_init(|| {
            let Ok(text) = env::var("FLECHE_CONFORMANCE_SCALE") else { return 1.0 };
            text.parse().ok().filter(|scale| is_scale(*scale)).unwrap_or_else(|| {
                panic!("FLECHE_CONFORMANCE_SCALE must be greater than 0 and at most 1, but is `{text}`")
            })
        })
    })
}

fn is_scale(scale: f64) -> bool {
    scale > 0.0 && scale <= 1.0
}
