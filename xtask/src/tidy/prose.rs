//! The rule that links in documents resolve.

use super::{
    source::numbered,
    tree::{Complaint, Tree},
};

pub(super) fn links(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (path, text) in tree.with_ending(".md") {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let mut fenced = false;
        for (line, text) in numbered(text) {
            if text.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            for target in targets(text) {
                let file = target.split(['#', '?']).next().unwrap_or_default();
                let elsewhere = target.contains("://") || target.starts_with("mailto:") || file.is_empty();
                if !elsewhere && !resolve(directory, file).is_some_and(|file| tree.has(&file)) {
                    complaints.push(Complaint::new(path, line, format!("broken link `{target}`")));
                }
            }
        }
    }
    complaints
}

/// Returns the targets of `[…](target)`, `[…](target "title")` and `[…]: target` in this line, outside of code spans.
fn targets(line: &str) -> Vec<String> {
    let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
    let target = |rest: &str| {
        let rest = rest.trim_start();
        let end = rest.find(|char: char| char == ')' || char.is_whitespace()).unwrap_or(rest.len());
        rest[..end].trim_matches(['<', '>']).to_owned()
    };
    let inline = prose.match_indices("](").map(|(at, opening)| target(&prose[at + opening.len()..]));
    let definition = prose.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, rest)| target(rest));
    inline.chain(definition).collect()
}

/// Returns the link's path from the workspace's root, or `None` if it leads out of the workspace.
fn resolve(directory: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = if link.starts_with('/') { vec![] } else { directory.split('/').collect() };
    for part in link.split('/') {
        match part {
            ".." => drop(parts.pop().filter(|part| !part.is_empty())?),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    Some(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_links_are_found() {
        let text = "[a](b.md) [c](../README.md#d) ![e](img/f.png \"g\") [h](https://x.y/z) [i](#j)\n\
                    [bad](gone.md) `[code](gone)` [out](../../x)\n```\n[code](gone)\n```\n[k]: also-gone.md\n[l](.)\n";
        let tree = Tree::of(&[("README.md", ""), ("docs/a.md", text), ("docs/b.md", ""), ("docs/img/f.png", "")]);
        let found: Vec<_> = links(&tree).into_iter().map(|found| (found.line.unwrap(), found.message)).collect();
        let nowhere = |link: &str| format!("broken link `{link}`");
        assert_eq!(found, [(2, nowhere("gone.md")), (2, nowhere("../../x")), (6, nowhere("also-gone.md"))]);
    }
}
