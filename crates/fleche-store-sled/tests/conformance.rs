//! Runs the conformance suite, which every backend must pass.

fleche_conformance::suite!(fleche_store_sled, "sled");
fleche_conformance::admit_loss_of_neighbours!("sled", "sled takes the first damage for the end of its log");
