//! Rules for every source file.

use super::{
    code::{code_only, without_tests},
    tree::{Complaint, Tree},
};

/// Files aim for under 300 lines; from here on they must be divided.
const LONGEST: usize = 600;

/// Code that may sleep, by path, with the reason. Whatever can be awaited is awaited instead.
const MAY_SLEEP: &[(&str, &str)] = &[
    ("crates/fleche-core/tests/honest_waits.rs", "threads that sleep, and waits that last, are what the test is of"),
    ("crates/fleche-exec/src/processes/worker/parent.rs", "systems without pidfds do not tell when a parent has died"),
    ("crates/fleche-store-sql/src/heal.rs", "nothing tells when the lock of another process on a file is free"),
    ("crates/fleche-store-sql/src/retry.rs", "no database tells when the lock of another process is free"),
];

pub(super) fn opens_with_doc(tree: &Tree) -> Vec<Complaint> {
    let silent = tree.with_ending(".rs").filter(|(_, text)| !text.starts_with("//! "));
    silent
        .map(|(path, _)| Complaint::new(path, 1, "open the file with a `//!` line that says what it is for"))
        .collect()
}

pub(super) fn length(tree: &Tree) -> Vec<Complaint> {
    let lines = tree.with_ending(".rs").map(|(path, text)| (path, text.lines().count()));
    lines
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(path, lines)| Complaint::new(path, None, format!("{lines} lines, of {LONGEST} at most: divide it")))
        .collect()
}

pub(super) fn unfinished(tree: &Tree) -> Vec<Complaint> {
    // Written in parts, so that this file passes its own rule.
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
        // Where the function is imported, its import is what is found.
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

/// Lines with their numbers, from 1.
pub(super) fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(line, text)| (line + 1, text))
}

/// Whether the word stands there and is not a part of a longer one.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    let in_word = |char: char| char.is_alphanumeric() || char == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(in_word) && (word.ends_with('!') || !text[at + word.len()..].starts_with(in_word))
    })
}

/// Code of the file that is in the finished program: no comments, no contents of literals, no tests.
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
    fn a_file_without_a_first_line_about_itself_is_named() {
        let tree = Tree::of(&[("a.rs", "//! Good.\n"), ("b.rs", "// Bad\n"), ("c.rs", ""), ("d.md", "text")]);
        let paths: Vec<_> = opens_with_doc(&tree).into_iter().map(|complaint| complaint.path).collect();
        assert_eq!(paths, ["b.rs", "c.rs"]);
    }

    #[test]
    fn a_long_file_is_named() {
        let (long, short) = ("\n".repeat(LONGEST + 1), "\n".repeat(LONGEST));
        let found = length(&Tree::of(&[("long.rs", &long), ("short.rs", &short), ("long.md", &long)]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "long.rs");
    }

    #[test]
    fn what_is_left_to_do_is_found_and_words_that_look_alike_are_not() {
        let note = concat!("//! a\n// TO", "DO: b\nfn todos() { method(); }\n// todo!() in a comment\n");
        assert_eq!(lines(&unfinished(&Tree::of(&[("a.rs", note)]))), [Some(2)]);
        let code = "//! a\nfn b() {\n    dbg!(todo!())\n}\nconst C: &str = \"dbg!\";\n";
        assert_eq!(lines(&unfinished(&Tree::of(&[("a.rs", code)]))), [Some(3), Some(3)]);
        assert_eq!(unfinished(&Tree::of(&[("a.md", concat!("FIX", "ME"))])).len(), 1);
    }

    #[test]
    fn sleeping_is_found_however_it_is_imported() {
        let sample = "//! a\nfn a() { std::thread::sleep(b); }\nuse std::thread::{self, sleep};\n// thread::sleep\nuse c::sleepy;\n";
        assert_eq!(lines(&sleeps(&Tree::of(&[("a.rs", sample)]))), [Some(2), Some(3)]);
    }
}
