//! The scale of cases with many or large entries, which can be reduced for a quick run.

use std::{
    env,
    sync::{OnceLock, PoisonError, RwLock},
};

static CHOSEN: RwLock<Option<f64>> = RwLock::new(None);

/// Sets the fraction of their entries that cases with many or large entries put, such as 0.1.
///
/// The default is the value of the environment variable `FLECHE_CONFORMANCE_SCALE`, or 1.
///
/// # Panics
/// Panics if the scale is not greater than 0 and at most 1.
pub fn set_scale(scale: f64) {
    assert!(is_scale(scale), "the scale must be greater than 0 and at most 1, but is {scale}");
    *CHOSEN.write().unwrap_or_else(PoisonError::into_inner) = Some(scale);
}

/// Returns the count times the scale, but at least one.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // Counts are below 2^52.
pub(crate) fn scaled(count: usize) -> usize {
    ((count as f64 * scale()) as usize).max(1)
}

fn scale() -> f64 {
    static ENVIRONMENT: OnceLock<f64> = OnceLock::new();
    let chosen = *CHOSEN.read().unwrap_or_else(PoisonError::into_inner);
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
