//! What backends are known to do wrong and nobody here can mend: counted and shown, and no failure.

/// Backends that lose what was synced, with the reason.
const LOSES_SYNCED: &[(&str, &str)] = &[(
    "sled",
    "sled 0.34 is a beta of its own words: upstream knows of data lost when a process dies, and no release mends it",
)];

/// Why this backend may lose what was synced; `None` if it must not.
pub(crate) fn loses_synced(backend: &str) -> Option<&'static str> {
    LOSES_SYNCED.iter().find(|(name, _)| *name == backend).map(|(_, reason)| *reason)
}
