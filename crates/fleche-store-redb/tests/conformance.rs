//! Runs the conformance suite, which every backend must pass.

fleche_conformance::suite!(fleche_store_redb, "redb");
fleche_conformance::admit_loss_of_neighbours!("redb", of_a_cut_file, "redb reads nothing of a file that was cut short");
