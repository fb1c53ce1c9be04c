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
                if elsewhere {
                    continue;
                }
                if is_rustdoc_page(path) {
                    if !is_item(file) {
                        let cure = "link an item by its path: readers of rustdoc do not have the file";
                        complaints.push(Complaint::new(path, line, format!("link `{target}` leads to a file: {cure}")));
                    }
                } else if !resolve(directory, file).is_some_and(|file| tree.has(&file)) {
                    complaints.push(Complaint::new(path, line, format!("broken link `{target}`")));
                }
            }
        }
    }
    complaints
}

/// Returns whether this document is included in the documentation of a crate. rustdoc itself checks its links to items.
fn is_rustdoc_page(path: &str) -> bool {
    path.strip_prefix("crates/").and_then(|path| path.split('/').nth(1)) == Some("docs")
}

/// Returns whether rustdoc reads this link as the path of an item, such as `Cache::gc` or `macro@crate::fleche`.
fn is_item(link: &str) -> bool {
    link.chars().all(|char| char.is_alphanumeric() || "_:@!()".contains(char))
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

    #[test]
    fn pages_of_rustdoc_may_link_items_but_not_files() {
        let text = "[a](crate::Cache::gc) [b](macro@crate::fleche#options) [c](active_cache) [d](#e) [f](https://g.h/i)\n\
                    [j](k.md) [l](../l)\n";
        let page = "crates/x/docs/topic/a.md";
        let tree = Tree::of(&[(page, text), ("crates/x/docs/topic/k.md", ""), ("crates/x/README.md", "[m](Cache)")]);
        let found: Vec<_> = links(&tree).into_iter().map(|found| (found.path, found.line.unwrap())).collect();
        assert_eq!(found, [("crates/x/README.md".to_owned(), 1), (page.to_owned(), 2), (page.to_owned(), 2)]);
    }
}
