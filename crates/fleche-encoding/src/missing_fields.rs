//! Finds fields that decoding filled in because the encoding lacks them: fields with a serde default, and options.

use crate::{
    error::DecodeError,
    reader::{Item, Reader},
};

/// Returns whether `written` lacks fields or elements that `again` has: the encoding of the value that was decoded from
/// `written`. A field that is absent from both does not count, such as one that is skipped when it is empty.
pub fn lacks_fields_of(written: &[u8], again: &[u8]) -> bool {
    if written == again {
        return false;
    }
    // Both were read or written just before, so this does not fail.
    let (Ok(written), Ok(again)) = (parts(written), parts(again)) else { return false };
    let mut written = written.into_iter().peekable();
    !again.into_iter().all(|part| {
        while written.next_if(|before| *before < part).is_some() {}
        written.next_if_eq(&part).is_some()
    })
}

/// A part of a value that shows which fields it has, regardless of their values and of the order of sets.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    /// The encoded key of a map, usually the name of a field.
    Key(&'a [u8]),
    /// An array with this many elements, for example a tuple.
    Array(usize),
}

/// Returns all parts, sorted.
fn parts(encoded: &[u8]) -> Result<Vec<Part<'_>>, DecodeError> {
    let mut reader = Reader { input: encoded, position: 0 };
    let mut parts = Vec::new();
    // For each open container, the number of items to come and whether it is a map; the innermost last.
    let mut open = vec![(1_usize, false)];
    while let Some((left, is_map)) = open.last_mut() {
        let Some(others) = left.checked_sub(1) else {
            open.pop();
            continue;
        };
        let is_key = *is_map && *left % 2 == 0;
        *left = others;
        let start = reader.position;
        if is_key {
            reader.skip_unchecked()?;
            parts.push(Part::Key(encoded.get(start..reader.position).unwrap_or_default()));
            continue;
        }
        match reader.item()? {
            Item::Array(count) => {
                parts.push(Part::Array(count));
                open.push((count, false));
            }
            Item::Typed(kind, numbers) => parts.push(Part::Array(numbers.len() / kind.size())),
            Item::Map(count) => open.push((2 * count, true)),
            Item::Wrap => open.push((1, false)),
            _ => {}
        }
    }
    parts.sort_unstable();
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use serde::Serialize;

    use super::*;
    use crate::serializer::to_vec;

    fn filled(written: &impl Serialize, again: &impl Serialize) -> bool {
        lacks_fields_of(&to_vec(written).unwrap(), &to_vec(again).unwrap())
    }

    #[test]
    fn added_fields_and_elements_are_found_at_any_depth() {
        let map = |fields: &[&'static str]| fields.iter().map(|name| (*name, 1_u8)).collect::<BTreeMap<_, _>>();
        let (short, long) = (map(&["a"]), map(&["a", "b"]));
        assert!(filled(&short, &long) && !filled(&long, &short) && !filled(&long, &long));
        assert!(filled(&map(&["a", "old"]), &map(&["a", "new"])));
        assert!(filled(&[Some(&long), Some(&short)], &[Some(&long), Some(&long)]));
        assert!(filled(&("x", &short), &("x", &long)));
        assert!(filled(&[1.0, 2.0], &[1.0, 2.0, 0.0]) && filled(&("x", 1.0), &("x", 1.0, 0.0)));
    }

    #[test]
    fn changed_values_and_order_do_not_count_as_fields() {
        assert!(!filled(&BTreeMap::from([("a", 1.0)]), &BTreeMap::from([("a", 1.5)])));
        let set: HashSet<u32> = (0..1000).collect();
        let again: HashSet<u32> = (0..1000).collect();
        assert!(!filled(&set, &again));
    }
}
