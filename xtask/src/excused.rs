//! Known failures of backends that only their upstreams can fix. They are counted and shown, but not reported as failures.

/// Backends that lose synced entries, with the reason.
const LOSES_SYNCED: &[(&str, &str)] =
    &[("sled", "upstream calls sled beta, advises SQLite if reliability matters, and does not fix version 0.34")];

/// Backends whose engine panics on some damage, with the reason. The store turns these panics into errors.
const PANICS_INSIDE: &[(&str, &str)] =
    &[("redb", "redb asserts that its pages are intact; the store catches the panic")];

fleche_conformance::admit_loss_of_neighbours!("redb", of_a_cut_file, "redb reads nothing from a truncated file");
fleche_conformance::admit_loss_of_neighbours!("sled", "sled treats the first damage as the end of its log");

/// Returns why this backend may lose synced entries, or `None` if it must not.
pub(crate) fn loses_synced(backend: &str) -> Option<&'static str> {
    reason(LOSES_SYNCED, backend)
}

/// Returns why the engine of this backend may panic internally, or `None` if it must not.
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
    fn only_listed_backends_are_excused() {
        assert!(loses_synced("sled").is_some());
        assert_eq!([loses_synced("file"), panics_inside("file")], [None; 2]);
    }
}
