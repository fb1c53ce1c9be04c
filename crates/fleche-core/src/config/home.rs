//! Expands `~` in configured paths to the home directory.

use std::{env, path::PathBuf};

use toml::Value;

/// The keys whose strings are names rather than paths.
const NAMES: [&str; 2] = ["type", "id"];

/// Returns the home directory of this process's user, if it is known.
pub(super) fn directory() -> Option<PathBuf> {
    env::home_dir().filter(|path| path.is_absolute())
}

/// Replaces `~` with the home directory in every path of a store's configuration, including those of nested stores.
///
/// # Errors
/// Returns why a path that begins with `~` cannot be used.
pub(super) fn expand(config: &mut Value) -> Result<(), String> {
    match config {
        Value::String(text) => {
            if let Some((before, after)) = split(text) {
                *text = format!("{before}{}{after}", home_of(text, after)?);
            }
            Ok(())
        }
        Value::Array(stores) => stores.iter_mut().try_for_each(expand),
        Value::Table(table) => table
            .iter_mut()
            .try_for_each(|(key, value)| if NAMES.contains(&key.as_str()) { Ok(()) } else { expand(value) }),
        _ => Ok(()),
    }
}

/// Splits a path that begins with `~` into the parts before and after it. The path may be part of a URL: `sqlite:~/x`.
fn split(text: &str) -> Option<(&str, &str)> {
    let scheme = text.split_once(':').filter(|(scheme, _)| scheme.chars().all(|char| char.is_ascii_alphanumeric()));
    let path = scheme.map_or(text, |(_, path)| path.strip_prefix("//").unwrap_or(path));
    let after = path.strip_prefix('~')?;
    Some((&text[..text.len() - path.len()], after))
}

fn home_of(text: &str, after: &str) -> Result<String, String> {
    if !after.is_empty() && !after.starts_with('/') {
        return Err(format!(
            "`{text}` begins with `~`, which means your home directory in `~/…` only; write another user's directory out, \
             and `./~…` for a name that begins with `~`"
        ));
    }
    let home = directory().ok_or_else(|| format!("`{text}` is in the home directory, which is not known: set HOME"))?;
    home.into_os_string().into_string().map_err(|home| {
        format!(
            "`{text}` is in the home directory {}, whose name is not Unicode: write a path elsewhere",
            home.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tilde_expands_only_at_the_beginning_of_a_path() {
        let home = directory().unwrap().display().to_string();
        let expanded = |text: &str| {
            let mut path = Value::String(text.to_owned());
            expand(&mut path).map(|()| path.as_str().unwrap().to_owned())
        };
        for (text, path) in [
            ("~/x", format!("{home}/x")),
            ("~", home.clone()),
            ("sqlite:~/x.db", format!("sqlite:{home}/x.db")),
            ("sqlite://~/x.db", format!("sqlite://{home}/x.db")),
            ("a/~/x", "a/~/x".to_owned()),
            ("./~/x", "./~/x".to_owned()),
            ("x~", "x~".to_owned()),
        ] {
            assert_eq!(expanded(text), Ok(path));
        }
        assert!(expanded("~ann/x").unwrap_err().contains("`~ann/x`"));
        assert!(expanded("sqlite:~ann/x").unwrap_err().contains("`sqlite:~ann/x`"));
    }
}
