//! Runs the conformance suite, which every backend must pass.

fleche_conformance::suite!(fleche_store_memory, "memory");
