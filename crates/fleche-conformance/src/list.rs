//! The one list of cases: names, descriptions, needs and tests. [`cases`] and [`suite!`](crate::suite) both come from it.

use crate::{
    case::{Case, Needs},
    cases::{basic, calls, concurrent, config, damage, find, iterate, layers, reopen, values},
    fuzz,
    shelf::{Calls, Values},
};

/// Every case.
pub fn cases() -> &'static [Case] {
    CASES
}

macro_rules! list {
    // `$d` is a dollar sign, for the macro that this one defines.
    ($d:tt $($group:ident { $($(#[doc = $description:literal])+ $name:ident: $test:expr, $needs:ident;)+ })+) => {
        static CASES: &[Case] = &[$($(Case {
            name: concat!(stringify!($group), "::", stringify!($name)),
            description: concat!($($description),+).trim_ascii(),
            needs: Needs::$needs,
            test: $test,
        }),+),+];

        /// Runs every case for a backend, as one `#[test]` each: `suite!(crate_of_the_backend, "its name");`, the whole
        /// of a backend crate's `tests/conformance.rs`. It links the crate, too.
        #[macro_export]
        macro_rules! suite {
            ($d backend_crate:ident, $d backend:literal) => {
                use $d backend_crate as _;
                $(mod $group {
                    $(#[test]
                    fn $name() {
                        let case = concat!(stringify!($group), "::", stringify!($name));
                        $crate::check($d backend, case, concat!(module_path!(), "::", stringify!($name)));
                    })+
                })+
            };
        }
    };
}

list! { $
    values {
        /// What is not there is `None`, false or an empty iterator, never an error.
        absence: values::absence, Store;
        /// What was put is got, byte for byte, and listed once.
        put_then_get: basic::put_then_get::<Values>, Store;
        /// A second `put` changes nothing.
        put_is_idempotent: basic::put_is_idempotent::<Values>, Store;
        /// `put` of what is there starts its age anew.
        put_refreshes_the_age: values::put_refreshes_the_age, Store;
        /// The age of an entry grows, and is that of the entry asked for.
        age_grows: values::age_grows, Store;
        /// `remove` keeps entries that are not older than asked for, and removes those that are.
        remove_respects_the_age: values::remove_respects_the_age, Store;
        /// What was removed is absent and can be put again.
        remove_then_put_again: basic::remove_then_put_again::<Values>, Store;
        /// Bytes that were got stay as they are when the entry goes.
        bytes_outlive_the_entry: values::bytes_outlive_the_entry, Store;
        /// Who reads with a check of his own is given what that makes of the bytes; what it refuses is damaged.
        other_form: values::other_form, Store;
        /// Entries that are removed together are gone; those that are younger than asked for, and those that are not
        /// named, stay.
        remove_all: values::remove_all, Store;
        /// The empty value and values of one byte are values.
        tiny_values: values::tiny_values, Store;
        /// A value of 64 MB is a value.
        large_value: values::large_value, Store;
        /// `sync` of what was put succeeds and changes nothing.
        sync_changes_nothing: values::sync_changes_nothing, Store;
        /// Prefixes of every length select what begins so.
        prefixes: iterate::prefixes::<Values>, Store;
        /// 50 000 entries are listed once each.
        many_entries_once_each: iterate::many_entries_once_each::<Values>, Store;
        /// Entries may be put and removed by whoever iterates them.
        changes_while_iterating: iterate::changes_while_iterating::<Values>, Store;
        /// Writers of one value do not disturb each other, nor readers.
        writers_of_one_entry: concurrent::writers_of_one_entry::<Values>, Store;
        /// Writers of different values do not disturb each other.
        writers_of_many_entries: concurrent::writers_of_many_entries::<Values>, Store;
        /// Of several that remove one entry, exactly one has removed it.
        one_remover_wins: concurrent::one_remover_wins::<Values>, Store;
        /// An entry that `put` refreshes is not removed for its earlier age.
        refreshed_entries_stay: concurrent::refreshed_entries_stay, Store;
        /// The configuration of an open store leads to the same entries.
        one_place_is_one_store: reopen::one_place_is_one_store::<Values>, Store;
        /// A store that is opened anew has everything that was put.
        reopened_store_has_everything: reopen::reopened_store_has_everything::<Values>, Durable;
        /// Another process sees what the reach of the store says: everything, nothing, or an error while the store is open.
        reach: reopen::reach::<Values>, Store;
        /// What is put after the files of an open store were removed is refused, or is there when the store is opened anew.
        files_removed_while_open: reopen::files_removed_while_open::<Values>, Disk;
        /// A configuration is the same after a round trip through JSON, TOML and fleche's own encoding.
        config_round_trips: config::round_trips::<Values>, Store;
        /// A configuration of an unknown backend is an error that names it and the backends that there are.
        unknown_backend: config::unknown_backend::<Values>, Store;
        /// A flipped bit is noticed: the entry is absent, the others stay, `put` heals.
        flipped_bit: damage::flipped_bit::<Values>, Disk;
        /// A truncated file is noticed: the entry is absent, the others stay, `put` heals.
        truncated: damage::truncated::<Values>, Disk;
        /// A page of zeros is noticed: the entry is absent, the others stay, `put` heals.
        zeroed_page: damage::zeroed_page::<Values>, Disk;
        /// Two entries that have changed places are noticed.
        swapped_entries: damage::swapped_entries::<Values>, Disk;
        /// `put` mends a truncated entry that nobody has read.
        put_mends_a_truncated_entry: damage::put_mends_a_truncated_entry::<Values>, Disk;
    }
    calls {
        /// What is not there is `None`, false or an empty iterator, never an error.
        absence: calls::absence, Store;
        /// The record that was put is got, and listed once.
        put_then_get: basic::put_then_get::<Calls>, Store;
        /// A second `put` changes nothing.
        put_is_idempotent: basic::put_is_idempotent::<Calls>, Store;
        /// A record comes back equal: unknown fields, metadata and five thousand arguments included.
        records_round_trip: calls::records_round_trip, Store;
        /// A later record takes the place of an earlier one.
        last_writer_wins: calls::last_writer_wins, Store;
        /// What was removed is absent and can be put again.
        remove_then_put_again: basic::remove_then_put_again::<Calls>, Store;
        /// `remove` with `only` removes that record and no other.
        compare_and_remove: calls::compare_and_remove, Store;
        /// `sync` of what was put succeeds and changes nothing.
        sync_changes_nothing: calls::sync_changes_nothing, Store;
        /// Prefixes of every length select what begins so.
        prefixes: iterate::prefixes::<Calls>, Store;
        /// 50 000 records are listed once each.
        many_entries_once_each: iterate::many_entries_once_each::<Calls>, Store;
        /// Records may be put and removed by whoever iterates them.
        changes_while_iterating: iterate::changes_while_iterating::<Calls>, Store;
        /// Writers of one record do not disturb each other, nor readers.
        writers_of_one_entry: concurrent::writers_of_one_entry::<Calls>, Store;
        /// Writers of different records do not disturb each other.
        writers_of_many_entries: concurrent::writers_of_many_entries::<Calls>, Store;
        /// Of several that remove one record, exactly one has removed it.
        one_remover_wins: concurrent::one_remover_wins::<Calls>, Store;
        /// Readers of a record that is overwritten see one of the records, whole.
        overwriting_is_atomic: concurrent::overwriting_is_atomic, Store;
        /// `remove` with `only` never removes a record that was put meanwhile.
        compare_and_remove_is_atomic: concurrent::compare_and_remove_is_atomic, Store;
        /// `find` without conditions gives every record.
        find_all: find::all, Store;
        /// `find` by function gives the calls of the function of exactly this name.
        find_by_function: find::by_function, Store;
        /// `find` by version gives the calls of this version.
        find_by_version: find::by_version, Store;
        /// `find` by argument gives the calls in which the parameter had this value.
        find_by_argument: find::by_argument, Store;
        /// `find` by metadata gives the records whose reports have these fields.
        find_by_metadata: find::by_metadata, Store;
        /// `find` by time gives what was written at that moment or later.
        find_since: find::since, Store;
        /// `find` with several conditions gives what fulfils all.
        find_combined: find::combined, Store;
        /// Records that `find` gives can be removed while it runs.
        find_while_removing: find::while_removing, Store;
        /// The configuration of an open store leads to the same records.
        one_place_is_one_store: reopen::one_place_is_one_store::<Calls>, Store;
        /// A store that is opened anew has everything that was put.
        reopened_store_has_everything: reopen::reopened_store_has_everything::<Calls>, Durable;
        /// Another process sees what the reach of the store says: everything, nothing, or an error while the store is open.
        reach: reopen::reach::<Calls>, Store;
        /// What is put after the files of an open store were removed is refused, or is there when the store is opened anew.
        files_removed_while_open: reopen::files_removed_while_open::<Calls>, Disk;
        /// A configuration is the same after a round trip through JSON, TOML and fleche's own encoding.
        config_round_trips: config::round_trips::<Calls>, Store;
        /// A configuration of an unknown backend is an error that names it and the backends that there are.
        unknown_backend: config::unknown_backend::<Calls>, Store;
        /// A flipped bit is noticed: the record is absent, the others stay, `put` heals.
        flipped_bit: damage::flipped_bit::<Calls>, Disk;
        /// A flipped bit is noticed as well where of the record is read only what a hit takes.
        brief_notices_a_flipped_bit: damage::brief_notices_a_flipped_bit, Disk;
        /// A truncated file is noticed: the record is absent, the others stay, `put` heals.
        truncated: damage::truncated::<Calls>, Disk;
        /// A page of zeros is noticed: the record is absent, the others stay, `put` heals.
        zeroed_page: damage::zeroed_page::<Calls>, Disk;
        /// Two records that have changed places are noticed.
        swapped_entries: damage::swapped_entries::<Calls>, Disk;
        /// `put` mends a truncated record that nobody has read.
        put_mends_a_truncated_entry: damage::put_mends_a_truncated_entry::<Calls>, Disk;
        /// `find` gives damage as an error among the items, once, and every other record.
        find_passes_by_damage: damage::find_passes_by_damage, Disk;
        /// A record of a later format is a miss and stays where it is.
        later_format_stays: damage::later_format_stays, Disk;
    }
    fuzz {
        /// Sequences of random operations on values leave the store as they leave a map; it is opened anew in between.
        values: fuzz::values, Store;
        /// Sequences of random operations on records leave the store as they leave a map; it is opened anew in between.
        calls: fuzz::calls, Store;
    }
    layers {
        /// A read-only layer serves what its store has, refuses to change it, and takes no claims of others.
        read_only: layers::read_only, Store;
        /// A pool serves what each of its stores has, each entry once, and refuses to change it.
        pool: layers::pool, Store;
        /// A stack writes to its first store, reads through to the others, and copies to the front what it finds there.
        stack: layers::stack, Store;
        /// Of two records under one key a stack, and a pool, serves that of the first store, and so do queries.
        the_first_counts: layers::the_first_counts, Store;
        /// However many ask a stack for an entry at once, it is copied to the front once.
        copied_once: layers::copied_once, Store;
        /// Calls return their results over a store that refuses them, and nothing is a fault.
        calls_go_on: layers::calls_go_on, Store;
        /// Layers in layers are the same after a round trip through text, and lead to the same entries.
        nested: layers::nested, Store;
    }
}
