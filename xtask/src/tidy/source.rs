//! Rules for all source files.

use super::{
    code::{code_only, without_tests},
    tree::{Complaint, Tree},
};

/// The largest number of lines that a file may have.
const LONGEST: usize = 600;

/// The files that may be longer, each with the reason.
const LARGE: &[(&str, &str)] = &[];

/// The files that may sleep, each with the reason. All other code awaits events.
const MAY_SLEEP: &[(&str, &str)] = &[
    ("crates/fleche-core/tests/deadlock/honest_waits.rs", "the test is about sleeping threads and long waits"),
    (
        "crates/fleche-core/tests/deadlock/shared_semaphore.rs",
        "the test is about a wait that outlasts the detection of deadlocks",
    ),
    (
        "crates/fleche-exec/src/process_pool/worker/parent.rs",
        "systems without pidfds do not report the death of a parent process",
    ),
    ("crates/fleche-store-sql/src/sqlite/pool.rs", "SQLite does not report that another process has released its lock"),
    (
        "crates/fleche-store-sql/src/sqlite/repair.rs",
        "no event reports that another process has released its lock on a file",
    ),
];

/// The one file that decides what happens to a lock after a panic.
const LOCKS: &str = "crates/fleche-core/src/runtime/lock.rs";

pub(super) fn opens_with_doc(tree: &Tree) -> Vec<Complaint> {
    let silent = tree.with_ending(".rs").filter(|(_, text)| !text.starts_with("//! "));
    silent
        .map(|(path, _)| Complaint::new(path, 1, "begin the file with a `//!` line that states its purpose"))
        .collect()
}

pub(super) fn length(tree: &Tree) -> Vec<Complaint> {
    lengths(tree, LARGE)
}

fn lengths(tree: &Tree, large: &[(&str, &str)]) -> Vec<Complaint> {
    let lines = tree.with_ending(".rs").map(|(path, text)| (path, text.lines().count()));
    let long: Vec<_> = lines.filter(|(_, lines)| *lines > LONGEST).collect();
    let too_long = long.iter().filter(|(path, _)| large.iter().all(|(allowed, _)| allowed != path));
    let too_long = too_long.map(|(path, lines)| {
        let cure = format!("{lines} lines, limit {LONGEST}: split the file, or add it to LARGE with a reason");
        Complaint::new(path, None, cure)
    });
    let unneeded = large.iter().filter(|(allowed, _)| long.iter().all(|(path, _)| path != allowed));
    let unneeded = unneeded
        .map(|(path, _)| Complaint::new(path, None, format!("not above {LONGEST} lines: remove the file from LARGE")));
    too_long.chain(unneeded).collect()
}

pub(super) fn unfinished(tree: &Tree) -> Vec<Complaint> {
    // The notes are written in two parts, so that this file passes the rule.
    let notes = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let macros = ["todo!", "unimplemented!", "dbg!"];
    let mut complaints = Vec::new();
    for (path, text) in [".rs", ".md", ".toml"].into_iter().flat_map(|ending| tree.with_ending(ending)) {
        for (line, words) in numbered(text) {
            let found = notes.into_iter().filter(|note| has_word(words, note));
            complaints.extend(
                found.map(|note| Complaint::new(path, line, format!("a {note} is left: do it or open an issue"))),
            );
        }
    }
    for (path, text) in tree.with_ending(".rs") {
        for (line, code) in numbered(&code_only(text)) {
            let found = macros.into_iter().filter(|name| has_word(code, name));
            complaints.extend(found.map(|name| Complaint::new(path, line, format!("`{name}` is left in the code"))));
        }
    }
    complaints
}

pub(super) fn sleeps(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (path, text) in tree.with_ending(".rs").filter(|(path, _)| MAY_SLEEP.iter().all(|(allowed, _)| allowed != path))
    {
        let code = code_only(text);
        // For calls of an imported `sleep`, the import is reported.
        let sleeping = |code: &str| code.contains("thread::sleep") || code.contains("time::sleep");
        let imported = |code: &str| code.contains("thread::{") && has_word(code, "sleep");
        complaints.extend(numbered(&code).filter(|(_, code)| sleeping(code) || imported(code)).map(|(line, _)| {
            Complaint::new(
                path,
                line,
                "wait for the event instead of sleeping, or add the file to MAY_SLEEP with a reason",
            )
        }));
    }
    complaints
}

pub(super) fn poisoned_locks(tree: &Tree) -> Vec<Complaint> {
    // Examples show what crates outside this workspace would write.
    let files = tree.with_ending(".rs").filter(|(path, _)| *path != LOCKS && !path.starts_with("examples/"));
    let mut complaints = Vec::new();
    for (path, text) in files {
        let code = code_only(text);
        let found = numbered(&code).filter(|(_, code)| has_word(code, "PoisonError"));
        complaints.extend(found.map(|(line, _)| {
            Complaint::new(path, line, "call `ignore_poison()`, a method of `fleche_core::spi::LockResultExt`")
        }));
    }
    complaints
}

/// Returns the lines with their numbers, which begin at 1.
pub(super) fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(line, text)| (line + 1, text))
}

/// Returns whether the text contains the word, other than as a part of a longer word.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    let in_word = |char: char| char.is_alphanumeric() || char == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(in_word) && (word.ends_with('!') || !text[at + word.len()..].starts_with(in_word))
    })
}

/// Returns the code that is in the compiled program: without comments, literals and tests.
pub(super) fn program(text: &str) -> String {
    without_tests(&code_only(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(complaints: &[Complaint]) -> Vec<Option<usize>> {
        complaints.iter().map(|complaint| complaint.line).collect()
    }

    #[test]
    fn file_without_opening_doc_line_is_found() {
        let tree = Tree::of(&[("a.rs", "//! Good.\n"), ("b.rs", "// Bad\n"), ("c.rs", ""), ("d.md", "text")]);
        let paths: Vec<_> = opens_with_doc(&tree).into_iter().map(|complaint| complaint.path).collect();
        assert_eq!(paths, ["b.rs", "c.rs"]);
    }

    #[test]
    fn too_long_file_is_found() {
        let (long, short) = ("\n".repeat(LONGEST + 1), "\n".repeat(LONGEST));
        let found = length(&Tree::of(&[("long.rs", &long), ("short.rs", &short), ("long.md", &long)]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "long.rs");
    }

    #[test]
    fn long_file_with_a_reason_is_not_found_but_reasons_without_one_are() {
        let long = "\n".repeat(LONGEST + 1);
        let tree = Tree::of(&[("long.rs", &long), ("short.rs", "")]);
        let found = lengths(&tree, &[("long.rs", "a table"), ("short.rs", "none"), ("gone.rs", "none")]);
        let paths: Vec<_> = found.into_iter().map(|complaint| complaint.path).collect();
        assert_eq!(paths, ["short.rs", "gone.rs"]);
    }

    #[test]
    fn unfinished_notes_and_macros_are_found_but_similar_words_are_not() {
        let note = concat!("//! a\n// TO", "DO: b\nfn todos() { method(); }\n// todo!() in a comment\n");
        assert_eq!(lines(&unfinished(&Tree::of(&[("a.rs", note)]))), [Some(2)]);
        let code = "//! a\nfn b() {\n    dbg!(todo!())\n}\nconst C: &str = \"dbg!\";\n";
        assert_eq!(lines(&unfinished(&Tree::of(&[("a.rs", code)]))), [Some(3), Some(3)]);
        assert_eq!(unfinished(&Tree::of(&[("a.md", concat!("FIX", "ME"))])).len(), 1);
    }

    #[test]
    fn poison_error_is_found_except_in_the_helper_and_in_examples() {
        let sample = "//! a\n// PoisonError\nuse std::sync::{Mutex, PoisonError};\n";
        let found = poisoned_locks(&Tree::of(&[(LOCKS, sample), ("crates/a.rs", sample), ("examples/b.rs", sample)]));
        assert_eq!(lines(&found), [Some(3)]);
        assert_eq!(found[0].path, "crates/a.rs");
    }

    #[test]
    fn sleep_is_found_by_path_and_by_import() {
        let sample = "//! a\nfn a() { std::thread::sleep(b); }\nuse std::thread::{self, sleep};\n// thread::sleep\nuse c::sleepy;\n";
        assert_eq!(lines(&sleeps(&Tree::of(&[("a.rs", sample)]))), [Some(2), Some(3)]);
    }
}
