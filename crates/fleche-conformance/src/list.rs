//! The list of cases for backends, from which [`cases`] and [`suite!`](crate::suite) are generated.

use crate::{
    case::{Case, Listed, Needs},
    cases::{basic, calls, concurrent, damage, environment, layers, listing, values},
    fuzz,
    store_kind::{Calls, Values},
};

/// Returns all cases for backends.
pub fn cases() -> &'static [Case] {
    CASES
}

impl Listed for Case {
    fn list() -> &'static [Self] {
        CASES
    }

    fn name(&self) -> &'static str {
        self.name
    }
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

        /// Generates one `#[test]` for each case of backends: `suite!(crate_of_the_backend, "its name");`.
        ///
        /// This line is all that a backend crate's `tests/conformance.rs` needs. It also links the crate.
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
        /// An absent value is `None`, false or an empty iterator, never an error.
        absence: values::absence, Store;
        /// A value that was put is returned byte for byte, and listed once.
        put_then_get: basic::put_then_get::<Values>, Store;
        /// A second `put` of the same value changes nothing.
        put_is_idempotent: basic::put_is_idempotent::<Values>, Store;
        /// `put` of a present value resets its age.
        put_refreshes_the_age: values::put_refreshes_the_age, Store;
        /// The age of a value grows, and `age` returns that of the requested value.
        age_grows: values::age_grows, Store;
        /// `remove` with a minimum age removes only values that are older.
        remove_respects_the_age: values::remove_respects_the_age, Store;
        /// A removed value is absent and can be put again.
        remove_then_put_again: basic::remove_then_put_again::<Values>, Store;
        /// Bytes that `get` returned stay valid when the value is removed.
        bytes_outlive_the_entry: values::bytes_outlive_the_entry, Store;
        /// `read` with a custom check returns the check's result, and reports bytes that it refuses as damaged.
        custom_check: values::custom_check, Store;
        /// `remove_all` removes the listed values that are older than the minimum age, and no others.
        remove_all: values::remove_all, Store;
        /// The empty value and values of one byte can be stored.
        tiny_values: values::tiny_values, Store;
        /// A value of 64 MB can be stored.
        large_value: values::large_value, Store;
        /// `sync` of a value that was put succeeds and changes nothing.
        sync_changes_nothing: values::sync_changes_nothing, Store;
        /// A prefix of any length lists the values whose digests begin with it.
        prefixes: listing::prefixes::<Values>, Store;
        /// 50 000 values are listed once each.
        many_entries_are_listed_once: listing::many_entries_are_listed_once::<Values>, Store;
        /// Values can be put and removed during an iteration on the same thread.
        changes_while_iterating: listing::changes_while_iterating::<Values>, Store;
        /// Concurrent writers and readers of one value do not interfere.
        writers_of_one_entry: concurrent::writers_of_one_entry::<Values>, Store;
        /// Concurrent writers of different values do not interfere.
        writers_of_many_entries: concurrent::writers_of_many_entries::<Values>, Store;
        /// Exactly one of several concurrent removals of a value reports that it removed the entry.
        one_remover_wins: concurrent::one_remover_wins::<Values>, Store;
        /// A value that `put` refreshes is not removed for its earlier age.
        refreshed_entries_stay: concurrent::refreshed_entries_stay, Store;
        /// Opening the configuration of an open store leads to the same values.
        same_location_is_same_store: basic::same_location_is_same_store::<Values>, Store;
        /// A reopened store has all values that were put.
        reopened_store_keeps_everything: basic::reopened_store_keeps_everything::<Values>, Durable;
        /// Another process sees what the store's `reach` states: the same values, none, or an error while the store is
        /// open.
        reach: basic::reach::<Values>, Store;
        /// After the files of an open store were removed, a `put` is refused, or the value is present after reopening.
        files_removed_while_open: basic::files_removed_while_open::<Values>, Disk;
        /// A configuration is the same after a round trip through JSON, TOML and fleche's own encoding.
        config_round_trips: basic::config_round_trips::<Values>, Store;
        /// A configuration of an unknown backend is an error that names it and the linked backends.
        unknown_backend: basic::unknown_backend::<Values>, Store;
        /// A flipped bit is noticed: the value is absent, the others stay, and `put` repairs it.
        flipped_bit: damage::flipped_bit::<Values>, Disk;
        /// A truncated file is noticed: the value is absent, the others stay, and `put` repairs it.
        truncated: damage::truncated::<Values>, Disk;
        /// A page of zeros is noticed: the value is absent, the others stay, and `put` repairs it.
        zeroed_page: damage::zeroed_page::<Values>, Disk;
        /// Two values whose bytes were swapped are noticed.
        swapped_entries: damage::swapped_entries::<Values>, Disk;
        /// `put` repairs a truncated value that has not been read before.
        put_repairs_a_truncated_entry: damage::put_repairs_a_truncated_entry::<Values>, Disk;
    }
    calls {
        /// An absent record is `None`, false or an empty iterator, never an error.
        absence: calls::absence, Store;
        /// A record that was put is returned, and listed once.
        put_then_get: basic::put_then_get::<Calls>, Store;
        /// A second `put` of the same record changes nothing.
        put_is_idempotent: basic::put_is_idempotent::<Calls>, Store;
        /// A record equals the one that was put, including unknown fields, metadata and five thousand arguments.
        records_round_trip: calls::records_round_trip, Store;
        /// A later record replaces an earlier one.
        last_writer_wins: calls::last_writer_wins, Store;
        /// A removed record is absent and can be put again.
        remove_then_put_again: basic::remove_then_put_again::<Calls>, Store;
        /// `remove` with `only` removes that record and no other.
        compare_and_remove: calls::compare_and_remove, Store;
        /// `sync` of a record that was put succeeds and changes nothing.
        sync_changes_nothing: calls::sync_changes_nothing, Store;
        /// A prefix of any length lists the records whose keys begin with it.
        prefixes: listing::prefixes::<Calls>, Store;
        /// 50 000 records are listed once each.
        many_entries_are_listed_once: listing::many_entries_are_listed_once::<Calls>, Store;
        /// Records can be put and removed during an iteration on the same thread.
        changes_while_iterating: listing::changes_while_iterating::<Calls>, Store;
        /// Concurrent writers and readers of one record do not interfere.
        writers_of_one_entry: concurrent::writers_of_one_entry::<Calls>, Store;
        /// Concurrent writers of different records do not interfere.
        writers_of_many_entries: concurrent::writers_of_many_entries::<Calls>, Store;
        /// Exactly one of several concurrent removals of a record reports that it removed the entry.
        one_remover_wins: concurrent::one_remover_wins::<Calls>, Store;
        /// Readers of a record that is being overwritten see one of the complete records.
        overwriting_is_atomic: concurrent::overwriting_is_atomic, Store;
        /// `remove` with `only` never removes a record that was put concurrently.
        compare_and_remove_is_atomic: concurrent::compare_and_remove_is_atomic, Store;
        /// `find` without conditions returns all records.
        find_all: listing::find_all, Store;
        /// `find` by function returns the calls of the function with exactly this name.
        find_by_function: listing::find_by_function, Store;
        /// `find` by version returns the calls of this version.
        find_by_version: listing::find_by_version, Store;
        /// `find` by argument returns the calls in which the parameter had this value.
        find_by_argument: listing::find_by_argument, Store;
        /// `find` by metadata returns the records whose metadata has these fields.
        find_by_metadata: listing::find_by_metadata, Store;
        /// `find` by time returns the records that were written at that time or later.
        find_since: listing::find_since, Store;
        /// `find` with several conditions returns the records that fulfil all of them.
        find_combined: listing::find_combined, Store;
        /// Records that `find` returns can be removed while it runs.
        find_while_removing: listing::find_while_removing, Store;
        /// Opening the configuration of an open store leads to the same records.
        same_location_is_same_store: basic::same_location_is_same_store::<Calls>, Store;
        /// A reopened store has all records that were put.
        reopened_store_keeps_everything: basic::reopened_store_keeps_everything::<Calls>, Durable;
        /// Another process sees what the store's `reach` states: the same records, none, or an error while the store is
        /// open.
        reach: basic::reach::<Calls>, Store;
        /// After the files of an open store were removed, a `put` is refused, or the record is present after reopening.
        files_removed_while_open: basic::files_removed_while_open::<Calls>, Disk;
        /// A configuration is the same after a round trip through JSON, TOML and fleche's own encoding.
        config_round_trips: basic::config_round_trips::<Calls>, Store;
        /// A configuration of an unknown backend is an error that names it and the linked backends.
        unknown_backend: basic::unknown_backend::<Calls>, Store;
        /// A flipped bit is noticed: the record is absent, the others stay, and `put` repairs it.
        flipped_bit: damage::flipped_bit::<Calls>, Disk;
        /// A flipped bit is also noticed when only the record summary is read.
        summary_detects_a_flipped_bit: damage::summary_detects_a_flipped_bit, Disk;
        /// A truncated file is noticed: the record is absent, the others stay, and `put` repairs it.
        truncated: damage::truncated::<Calls>, Disk;
        /// A page of zeros is noticed: the record is absent, the others stay, and `put` repairs it.
        zeroed_page: damage::zeroed_page::<Calls>, Disk;
        /// Two records whose bytes were swapped are noticed.
        swapped_entries: damage::swapped_entries::<Calls>, Disk;
        /// `put` repairs a truncated record that has not been read before.
        put_repairs_a_truncated_entry: damage::put_repairs_a_truncated_entry::<Calls>, Disk;
        /// `find` reports a damaged record once, as an error among its items, and returns all others.
        find_skips_damaged_records: damage::find_skips_damaged_records, Disk;
        /// A record of a later format is a miss and stays in place.
        later_format_is_kept: damage::later_format_is_kept, Disk;
    }
    places {
        /// Directories with names that are not UTF-8, or contain a newline, work, or are refused with an error that shows the name.
        unusual_directory_names: environment::unusual_directory_names, Store;
        /// A user with read permission only can read the entries, or gets an error that names the missing permission. Calls
        /// return their results.
        read_only_user: environment::read_only_user, Disk;
        /// When the limit for the size of files is reached, calls return their results, synced entries stay, and the process
        /// survives.
        file_size_limit: environment::file_size_limit, Disk;
    }
    processes {
        /// A forked child computes without the stores and changes nothing in them. A durable store cannot be opened there, and
        /// refuses operations.
        forked_child: environment::forked_child, Store;
    }
    fuzz {
        /// After random operations on values, including reopening, the store agrees with a map.
        values: fuzz::values, Store;
        /// After random operations on records, including reopening, the store agrees with a map.
        calls: fuzz::calls, Store;
    }
    layers {
        /// A read-only layer serves the entries of its store, refuses changes, and does not use the store's claims.
        read_only: layers::read_only, Store;
        /// A union serves the entries of all its stores, each once, and refuses changes.
        union: layers::union, Store;
        /// A stack writes to its first store, reads through to the others, and copies entries it reads to the first.
        stack: layers::stack, Store;
        /// A stack, a union and their queries return the first store's record if two stores have records under one key.
        first_store_takes_precedence: layers::first_store_takes_precedence, Store;
        /// Concurrent reads of an entry through a stack copy it to the first store once.
        copied_once: layers::copied_once, Store;
        /// Calls return their results over stores that refuse writes, and nothing counts as a fault.
        calls_succeed_if_writes_are_refused: layers::calls_succeed_if_writes_are_refused, Store;
        /// Nested layers are the same after a round trip through text, and lead to the same entries.
        nested: layers::nested, Store;
    }
}
