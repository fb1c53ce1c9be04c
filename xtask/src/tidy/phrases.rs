//! Finds phrases that the project's style rules out, in comments, messages and documents.

use super::{
    code::code_only,
    source::{has_word, numbered},
    tree::{Complaint, Tree},
};

/// Each phrase with what to write instead.
const RULED_OUT: &[(&str, &str)] = &[
    ("all the same", "leave it out"),
    ("are told", "say what is sent to them, or what they return"),
    ("as it comes", "name the order, or say that there is none"),
    ("at hand", "name the place"),
    ("go on", "say what they do next"),
    ("goes on", "say what it does next"),
    ("is told", "say what is sent to it, or what it returns"),
    ("lets go", "write `releases`"),
    ("likewise", "repeat the verb"),
    ("meanwhile", "leave it out, or name the time"),
    ("nobody", "name the actor"),
    ("of its own accord", "leave it out"),
    ("somebody", "name the actor"),
    ("those who", "name the actors"),
    ("who has", "name the actor"),
    ("whoever", "name the actor"),
];

/// The places where a phrase is right: the file, the phrase, and the reason.
const ALLOWED: &[(&str, &str, &str)] =
    &[("crates/fleche-conformance/src/forked.rs", "nobody", "the system's user of that name")];

/// This file, which lists the phrases.
const OWN: &str = "xtask/src/tidy/phrases.rs";

pub(super) fn ruled_out(tree: &Tree) -> Vec<Complaint> {
    let sources = tree.with_ending(".rs").filter(|(path, _)| *path != OWN).map(|(path, text)| (path, prose(text)));
    let documents = tree.with_ending(".md").map(|(path, text)| (path, text.to_owned()));
    sources.chain(documents).flat_map(|(path, text)| complaints(path, &text)).collect()
}

fn complaints(path: &str, text: &str) -> Vec<Complaint> {
    let is_allowed = |phrase: &str| ALLOWED.iter().any(|(file, allowed, _)| *file == path && *allowed == phrase);
    let mut complaints = Vec::new();
    for (line, text) in numbered(text) {
        let text = text.to_lowercase();
        let found = RULED_OUT.iter().filter(|(phrase, _)| has_word(&text, phrase) && !is_allowed(phrase));
        complaints
            .extend(found.map(|(phrase, cure)| Complaint::new(path, line, format!("`{phrase}` is ruled out: {cure}"))));
    }
    complaints
}

/// Returns the comments and literals of the file, with blanks in place of its code. Every line keeps its number.
fn prose(text: &str) -> String {
    let keep = |(char, code): (char, char)| if char == code && char != '\n' { ' ' } else { char };
    text.chars().zip(code_only(text).chars()).map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<Option<usize>> {
        ruled_out(&Tree::of(&[(path, text)])).iter().map(|complaint| complaint.line).collect()
    }

    #[test]
    fn phrases_are_found_in_comments_messages_and_documents() {
        let source = "//! Whoever asks.\nfn a() {\n    // It goes on.\n    warn!(\"nobody heard\");\n}\n";
        assert_eq!(lines("a.rs", source), [Some(1), Some(3), Some(4)]);
        assert_eq!(lines("a.md", "Plain.\n\nOf its own accord.\n"), [Some(3)]);
    }

    #[test]
    fn code_and_longer_words_are_not_phrases() {
        assert_eq!(lines("a.rs", "//! A file.\nfn nobody(whoever: u8) { somebody::meanwhile(whoever) }\n"), []);
        assert_eq!(lines("a.md", "The cargo only.\n"), []);
    }

    #[test]
    fn allowed_phrases_and_the_list_itself_are_no_complaints() {
        assert_eq!(lines(ALLOWED[0].0, "//! The user nobody.\n"), []);
        assert_eq!(lines(OWN, "//! nobody\n"), []);
    }
}
