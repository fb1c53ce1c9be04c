//! What backends are known to do wrong and nobody here can mend: counted and shown, and no failure.

/// Backends that lose what was synced, with the reason.
const LOSES_SYNCED: &[(&str, &str)] =
    &[("sled", "upstream calls sled beta, advises SQLite where reliability counts, and does not mend version 0.34")];

/// Backends whose engine panics at some damages, with the reason. The store turns that into errors.
const PANICS_INSIDE: &[(&str, &str)] = &[("redb", "redb asserts that its pages are sound; the store catches that")];

fleche_conformance::admit_loss_of_neighbours!("redb", of_a_cut_file, "redb reads nothing of a file that was cut short");
fleche_conformance::admit_loss_of_neighbours!("sled", "sled takes the first damage for the end of its log");

/// Why this backend may lose what was synced; `None` if it must not.
pub(crate) fn loses_synced(backend: &str) -> Option<&'static str> {
    reason(LOSES_SYNCED, backend)
}

/// Why the engine of this backend may panic inside; `None` if it must not.
pub(crate) fn panics_inside(backend: &str) -> Option<&'static str> {
    reason(PANICS_INSIDE, backend)
}

fn reason(excused: &[(&str, &'static str)], backend: &str) -> Option<&'static str> {
    excused.iter().find(|(name, _)| *name == backend).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_is_excused() {
        assert!(loses_synced("sled").is_some());
        assert_eq!([loses_synced("file"), panics_inside("file")], [None; 2]);
    }
}
