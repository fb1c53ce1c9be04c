//! Runs the conformance suite, which every backend must pass.

fleche_conformance::suite!(fleche_store_redb, "redb");
fleche_conformance::admit_loss_of_neighbours!(
    "redb",
    truncated_only,
    "redb reads nothing of a file that was cut short"
);
