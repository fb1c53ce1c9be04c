//! Runs the conformance suite, which every backend must pass, and those of its cases that meet claims also with lease files.

use fleche_core::{register_backend, store::Reach};
use fleche_store_file::{ClaimMethod, FileCallsConfig, FileValuesConfig};

fleche_conformance::suite!(fleche_store_file, "file");

register_backend! {
    name: "file-leases",
    summary: "a directory in which calls are claimed by lease files",
    reach: Reach::Shared,
    durable: true,
    scratch: |directory| {
        let calls = FileCallsConfig::new(directory.join("calls")).claims(ClaimMethod::Leases);
        (Box::new(FileValuesConfig::new(directory.join("values"))), Box::new(calls))
    },
}

mod with_leases {
    macro_rules! cases {
        ($($group:ident::$name:ident),+ $(,)?) => {$(
            #[test]
            fn $name() {
                let case = concat!(stringify!($group), "::", stringify!($name));
                fleche_conformance::check("file-leases", case, concat!(module_path!(), "::", stringify!($name)));
            }
        )+};
    }

    cases! {
        calls::config_round_trips,
        calls::files_removed_while_open,
        calls::reach,
        layers::calls_succeed_if_writes_are_refused,
        layers::read_only,
        places::file_size_limit,
        places::read_only_user,
        places::unusual_directory_names,
        processes::forked_child,
    }
}
