//! How much the cases do: all of it, or a part for a quick run.

use std::{
    env,
    sync::{OnceLock, PoisonError, RwLock},
};

static CHOSEN: RwLock<Option<f64>> = RwLock::new(None);

/// Sets the part of their entries that cases with many or large entries put: 0.1 for a tenth. By default it is the value of the
/// environment variable `FLECHE_CONFORMANCE_SCALE`, or 1.
///
/// # Panics
/// Panics if the scale is not a number above 0 and up to 1.
pub fn set_scale(scale: f64) {
    assert!(is_scale(scale), "a scale is a number above 0 and up to 1, and {scale} is not");
    *CHOSEN.write().unwrap_or_else(PoisonError::into_inner) = Some(scale);
}

/// Returns this count times the scale, and at least one.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // Far below 2^52.
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
                panic!("FLECHE_CONFORMANCE_SCALE is `{text}`, and should be a number above 0 and up to 1")
            })
        })
    })
}

fn is_scale(scale: f64) -> bool {
    scale > 0.0 && scale <= 1.0
}
