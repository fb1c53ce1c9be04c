//! Blanks out comments, literals and tests in source text.

/// Returns the text with comments and literals replaced by blanks. Line numbers stay the same.
pub(crate) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = skip(text, at);
        if end > at {
            code.extend(text[at..end].chars().map(|char| if char == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            let char = text[at..].chars().next().unwrap_or(' ');
            code.push(char);
            at += char.len_utf8();
        }
    }
    code
}

/// Returns the end of the comment or literal that begins at `at`, or `at` if there is none.
fn skip(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    let until =
        |closing: &str, from: usize| rest[from..].find(closing).map_or(text.len(), |i| at + from + i + closing.len());
    let in_name = text[..at].ends_with(|char: char| char.is_alphanumeric() || char == '_');
    if rest.starts_with("//") {
        return at + rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return at + block_comment(rest);
    }
    if rest.starts_with('"') {
        return at + quoted(rest, '"');
    }
    if !in_name && rest.starts_with(['r', 'b', 'c']) {
        let prefix = rest.trim_start_matches(['r', 'b', 'c']);
        let hashes = prefix.len() - prefix.trim_start_matches('#').len();
        let raw = rest.starts_with('r') || rest[1..].starts_with('r');
        let opening = rest.len() - prefix.len() + hashes;
        if raw && opening <= hashes + 2 && rest[opening..].starts_with('"') {
            return until(&format!("\"{}", "#".repeat(hashes)), opening + 1);
        }
    }
    if let Some(literal) = rest.strip_prefix('\'') {
        // Unlike a character literal, a lifetime has no quote after its first character.
        if literal.starts_with('\\') || literal.chars().nth(1) == Some('\'') {
            return at + quoted(rest, '\'');
        }
    }
    at
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, char) in rest.char_indices().skip(1) {
        if !escaped && char == quote {
            return at + char.len_utf8();
        }
        escaped = !escaped && char == '\\';
    }
    rest.len()
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        let (step, change) = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (2, 1),
            [b'*', b'/', ..] => (2, -1),
            _ => (1, 0),
        };
        at += step;
        depth = depth.saturating_add_signed(change);
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// Replaces items that have `#[cfg(test)]` with blanks in code that [`code_only`] returned. Line numbers stay the same.
pub(crate) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut text = code.to_owned();
    while let Some(from) = text.find(MARK) {
        let end = from + MARK.len() + item_len(&text[from + MARK.len()..]);
        let blank: String = text[from..end].chars().map(|char| if char == '\n' { '\n' } else { ' ' }).collect();
        text.replace_range(from..end, &blank);
    }
    text
}

/// Returns the length of the item at the start of `code`, up to its closing brace or its semicolon.
fn item_len(code: &str) -> usize {
    let mut depth = 0usize;
    for (at, char) in code.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_become_blanks() {
        let code = code_only("a // b\n\"c // \\\" d\" e /* f /* g */ h */ 'i' r#\"j \" k\"# br\"l\" 'm: n");
        let words: Vec<_> = code.split_whitespace().collect();
        assert_eq!(words, ["a", "e", "'m:", "n"]);
        assert_eq!(code.lines().count(), 2);
        assert_eq!(
            code_only("r#try '\\'' bar b'x' \u{1f3f9}").split_whitespace().collect::<Vec<_>>(),
            ["r#try", "bar", "b", "\u{1f3f9}"]
        );
    }

    #[test]
    fn tests_become_blanks() {
        let code = "use a;\n#[cfg(test)]\nmod tests {\n  fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nuse d;\nmod e;";
        let left = without_tests(code);
        assert_eq!(left.split_whitespace().collect::<Vec<_>>(), ["use", "a;", "fn", "c()", "{}", "mod", "e;"]);
        assert_eq!(left.lines().count(), code.lines().count());
    }
}
