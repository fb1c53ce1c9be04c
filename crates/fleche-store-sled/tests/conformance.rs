//! The behaviour that every backend must show.

fleche_conformance::suite!(fleche_store_sled, "sled");
fleche_conformance::admit_loss_of_neighbours!("sled", "sled takes the first damage for the end of its log");
