//! The behaviour that every backend must show.

fleche_conformance::suite!(fleche_store_sled, "sled");
