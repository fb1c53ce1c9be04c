//! Kinds of damage to files, and the list of those to try.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use crate::test_data::noise;

/// The number of places to damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// About this many, distributed evenly over the kinds of damage and the content of the files.
    About(usize),
    /// All places: a flipped bit in every 64 bytes, every page zeroed, and so on.
    All,
}

const PAGE: usize = 4096;
/// The distance in bytes between flipped bits.
const STRIDE: usize = 64;
/// The distance in bytes between the lengths to which files are truncated.
const TRUNCATION_STRIDE: usize = 512;

/// A change that damages files below a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    file: PathBuf,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// One bit of the byte at this offset is flipped.
    Flip { at: usize },
    /// The file is truncated to this length.
    Cut { at: usize },
    /// The page at this offset is zeroed.
    Zero { at: usize },
    /// The pages at these offsets are swapped.
    SwapPages { one: usize, other: usize },
    /// The contents of two files are swapped.
    SwapFiles { other: PathBuf },
    /// This many bytes are appended.
    Append { length: usize },
    /// The file is removed.
    Remove,
}

impl Damage {
    /// Applies the damage to the files below this directory.
    pub(super) fn apply(&self, root: &Path) -> io::Result<()> {
        let path = root.join(&self.file);
        let mut content = fs::read(&path)?;
        match &self.kind {
            Kind::Flip { at } => content[*at] ^= 1 << (at / STRIDE % 8),
            Kind::Cut { at } => content.truncate(*at),
            Kind::Zero { at } => {
                let end = content.len().min(at + PAGE);
                content[*at..end].fill(0);
            }
            Kind::SwapPages { one, other } => {
                let (before, after) = content.split_at_mut(*other);
                before[*one..one + PAGE].swap_with_slice(&mut after[..PAGE]);
            }
            Kind::SwapFiles { other } => {
                let other = root.join(other);
                let other_content = fs::read(&other)?;
                write(&other, &content)?;
                content = other_content;
            }
            Kind::Append { length } => content.extend(noise(7, *length)),
            Kind::Remove => return fs::remove_file(path),
        }
        write(&path, &content)
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut permissions = fs::metadata(path)?.permissions();
    #[allow(clippy::permissions_set_readonly_false)] // The file is a temporary copy.
    permissions.set_readonly(false);
    fs::set_permissions(path, permissions)?;
    fs::write(path, content)
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {}", self.kind, self.file.display())
    }
}

/// Returns the ways to damage these files, which are the same for the same files.
pub(super) fn damages(files: &Files, extent: Extent) -> Vec<Damage> {
    let groups = [bit_flips, truncations, zeros, swapped_pages, swapped_files, appended, removed]
        .map(|list| list(files, extent));
    let Extent::About(budget) = extent else { return groups.concat() };
    let mut left = budget;
    let mut chosen = Vec::new();
    // Kinds with few entries leave the rest of their share to the others.
    let mut groups = groups.into_iter().collect::<Vec<_>>();
    groups.sort_by_key(Vec::len);
    for (nth, group) in groups.iter().enumerate() {
        let share = (left / (groups.len() - nth)).min(group.len());
        chosen.extend((0..share).map(|pick| group[pick * group.len() / share].clone()));
        left -= share;
    }
    chosen
}

/// Returns the offsets of a file's blocks. Unless the extent is [`Extent::All`], blocks of zeros are left out.
fn places(content: &[u8], step: usize, extent: Extent) -> impl Iterator<Item = usize> {
    let worth = move |block: &&[u8]| extent == Extent::All || block.iter().any(|byte| *byte != 0);
    content.chunks(step).enumerate().filter(move |(_, block)| worth(block)).map(move |(nth, _)| nth * step)
}

fn of_each<I: IntoIterator<Item = Kind>>(files: &Files, kinds: impl Fn(&[u8]) -> I) -> Vec<Damage> {
    let of_one = |(file, content): (&Path, &[u8])| {
        let file = file.to_owned();
        kinds(content).into_iter().map(move |kind| Damage { file: file.clone(), kind }).collect::<Vec<_>>()
    };
    files.iter().flat_map(of_one).collect()
}

fn bit_flips(files: &Files, extent: Extent) -> Vec<Damage> {
    of_each(files, |content| {
        let last = content.len().checked_sub(1);
        let inside = places(content, STRIDE, extent).map(|at| at + at / STRIDE % STRIDE);
        let inside = inside.filter(|at| *at < content.len());
        inside.chain(last).map(|at| Kind::Flip { at }).collect::<Vec<_>>()
    })
}

fn truncations(files: &Files, extent: Extent) -> Vec<Damage> {
    of_each(files, |content| {
        let last = content.len().checked_sub(1);
        places(content, TRUNCATION_STRIDE, extent).chain(last).map(|at| Kind::Cut { at }).collect::<Vec<_>>()
    })
}

fn zeros(files: &Files, _: Extent) -> Vec<Damage> {
    // Zeroing a block of zeros is no damage, so these are always left out.
    of_each(files, |content| places(content, PAGE, Extent::About(0)).map(|at| Kind::Zero { at }).collect::<Vec<_>>())
}

fn swapped_pages(files: &Files, extent: Extent) -> Vec<Damage> {
    of_each(files, |content| {
        let whole: Vec<_> = places(content, PAGE, extent).filter(|at| at + PAGE <= content.len()).collect();
        let distances = [1, whole.len() / 2];
        let pairs = distances.into_iter().filter(|distance| *distance > 0).flat_map(|distance| {
            whole.iter().zip(&whole[distance.min(whole.len())..]).map(|(one, other)| (*one, *other)).collect::<Vec<_>>()
        });
        let differ = |(one, other): &(usize, usize)| content[*one..one + PAGE] != content[*other..other + PAGE];
        let swapped = |(one, other)| Kind::SwapPages { one, other };
        pairs.filter(differ).map(swapped).collect::<Vec<_>>()
    })
}

fn swapped_files(files: &Files, _: Extent) -> Vec<Damage> {
    let pairs = files.iter().zip(files.iter().skip(1)).chain(files.iter().zip(files.iter().skip(files.len() / 2)));
    let differ = pairs.filter(|((_, one), (_, other))| one != other);
    let swapped = |((file, _), (other, _)): ((&Path, _), (&Path, _))| Damage {
        file: file.to_owned(),
        kind: Kind::SwapFiles { other: other.to_owned() },
    };
    differ.map(swapped).collect()
}

fn appended(files: &Files, _: Extent) -> Vec<Damage> {
    of_each(files, |_| [1, PAGE].map(|length| Kind::Append { length }))
}

fn removed(files: &Files, _: Extent) -> Vec<Damage> {
    of_each(files, |_| [Kind::Remove])
}

/// The files below a directory, with their contents, sorted by name.
pub(super) struct Files(Vec<(PathBuf, Vec<u8>)>);

impl Files {
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        each(root, &mut |path| {
            let name = path.strip_prefix(root).map_err(io::Error::other)?;
            files.push((name.to_owned(), fs::read(path)?));
            Ok(())
        })?;
        files.sort();
        Ok(Self(files))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the path of each file, relative to the directory, and its content.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.0.iter().map(|(name, content)| (&**name, &**content))
    }
}

/// Copies the directory. If it does not exist, creates an empty one.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    each(from, &mut |path| {
        let target = to.join(path.strip_prefix(from).map_err(io::Error::other)?);
        fs::create_dir_all(target.parent().unwrap_or(to))?;
        fs::copy(path, target).map(drop)
    })
}

fn each(root: &Path, visit: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            each(&entry.path(), visit)?;
        } else if kind.is_file() {
            visit(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn sample() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("large"), noise(1, 20_000)).unwrap();
        fs::write(directory.path().join("small"), b"a few").unwrap();
        fs::write(directory.path().join("zeros"), vec![0; 20_000]).unwrap();
        fs::write(directory.path().join("empty"), b"").unwrap();
        directory
    }

    #[test]
    fn every_damage_changes_something() {
        let directory = sample();
        let files = Files::read(directory.path()).unwrap();
        let before: Vec<_> = files.iter().map(|(name, content)| (name.to_owned(), content.to_owned())).collect();
        for damage in damages(&files, Extent::All) {
            let copied = tempfile::tempdir().unwrap();
            copy(directory.path(), copied.path()).unwrap();
            damage.apply(copied.path()).unwrap();
            let after = Files::read(copied.path()).unwrap();
            let after: Vec<_> = after.iter().map(|(name, content)| (name.to_owned(), content.to_owned())).collect();
            assert!(before != after, "{damage}");
        }
    }

    #[test]
    fn limited_damages_cover_every_kind_and_skip_zeroed_pages() {
        let directory = sample();
        let some = damages(&Files::read(directory.path()).unwrap(), Extent::About(40));
        assert!((20..=40).contains(&some.len()), "{}", some.len());
        let kinds: BTreeSet<_> =
            some.iter().map(|damage| std::mem::discriminant(&damage.kind)).map(|kind| format!("{kind:?}")).collect();
        assert_eq!(kinds.len(), 7, "{some:?}");
        let inside_zeros =
            |damage: &&Damage| damage.file.ends_with("zeros") && matches!(damage.kind, Kind::Zero { .. });
        assert_eq!(some.iter().filter(inside_zeros).count(), 0);
    }
}
