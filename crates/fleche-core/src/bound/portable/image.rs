//! The program's executable as it lies in memory: positions in its read-only data.
#![allow(unsafe_code)] // Reads what a position leads to, once that is known to lie in read-only data.

use std::{fs, mem, ops::Range, ptr, sync::LazyLock};

use super::Descriptor;

/// Where the executable lies.
struct Image {
    /// Its first address, which positions count from.
    base: usize,
    /// The parts that can be read and not written.
    read_only: Vec<Range<usize>>,
    /// Those of them that can be run.
    code: Vec<Range<usize>>,
}

/// `None` where the system does not tell.
static IMAGE: LazyLock<Option<Image>> = LazyLock::new(|| {
    let program = fs::read_link("/proc/self/exe").ok()?;
    Image::of(&fs::read_to_string("/proc/self/maps").ok()?, program.to_str()?)
});

impl Image {
    /// From the lines of `/proc/self/maps`, see proc(5).
    fn of(maps: &str, program: &str) -> Option<Self> {
        let parts = maps.lines().filter_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let path = &rest[rest.find('/')?..];
            let (start, end) = range.split_once('-')?;
            let address = |text| usize::from_str_radix(text, 16).ok();
            (path == program).then_some((address(start)?..address(end)?, rest))
        });
        let parts: Vec<_> = parts.collect();
        let base = parts.iter().map(|(range, _)| range.start).min()?;
        let of =
            |rights| parts.iter().filter(move |(_, rest)| rest.starts_with(rights)).map(|(range, _)| range.clone());
        Some(Self { base, read_only: of("r-").collect(), code: of("r-x").collect() })
    }

    /// Whether a descriptor at this address would lie in read-only data.
    fn holds(&self, address: usize) -> bool {
        let end = address.checked_add(mem::size_of::<Descriptor>());
        end.is_some_and(|end| self.read_only.iter().any(|part| part.start <= address && end <= part.end))
    }
}

/// The descriptor's position; `None` where it does not lie in the executable.
pub(super) fn position_of(descriptor: &'static Descriptor) -> Option<u64> {
    let image = IMAGE.as_ref()?;
    let address = ptr::from_ref(descriptor).expose_provenance();
    image.holds(address).then(|| (address - image.base) as u64)
}

/// The descriptor at this position, if it is of these types.
pub(super) fn descriptor_at(position: u64, types: u64) -> Result<&'static Descriptor, String> {
    let wrong = || format!("position {position:#x} is not that of a function of these types in this program");
    let image = IMAGE.as_ref().ok_or_else(wrong)?;
    let address = usize::try_from(position).ok().and_then(|position| image.base.checked_add(position));
    let address = address.filter(|address| image.holds(*address)).ok_or_else(wrong)?;
    // SAFETY: the range was checked to lie in a part of the executable that is mapped without the right to write, and
    // executables are not unmapped.
    unsafe { Descriptor::at(address, types, |code| image.code.iter().any(|part| part.contains(&code))) }
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
1000-2000 r--p 00000000 08:01 7 /bin/a program
2000-3000 r-xp 00001000 08:01 7 /bin/a program
3000-4000 rw-p 00002000 08:01 7 /bin/a program
4000-5000 rw-p 00000000 00:00 0
7000-9000 r--p 00000000 08:01 9 /lib/libc.so.6
";

    #[test]
    fn only_the_programs_own_parts_that_cannot_be_written_hold_descriptors() {
        let image = Image::of(MAPS, "/bin/a program").unwrap();
        assert_eq!(image.base, 0x1000);
        let held = [0x0, 0x1000, 0x2f00, 0x3000, 0x4000, 0x7000, usize::MAX].map(|address| image.holds(address));
        assert_eq!(held, [false, true, true, false, false, false, false]);
    }

    #[test]
    fn a_descriptor_that_would_reach_beyond_its_part_is_not_held() {
        let image = Image::of(MAPS, "/bin/a program").unwrap();
        assert!(!image.holds(0x3000 - mem::size_of::<Descriptor>() + 8));
    }

    fn twice(x: i64) -> i64 {
        2 * x
    }

    fn descriptor<F: crate::bound::Callable<(i64,), Output = i64>>(_: F) -> &'static Descriptor {
        Descriptor::of_callable::<F, (i64,)>().unwrap()
    }

    #[test]
    fn a_position_leads_back_to_its_descriptor() {
        let descriptor = descriptor(twice);
        let position = position_of(descriptor).unwrap();
        assert!(ptr::eq(descriptor_at(position, descriptor.types()).unwrap(), descriptor));
    }

    #[test]
    fn functions_of_the_same_code_have_descriptors_of_their_own() {
        let (one, other) = (descriptor(|x: i64| x + 1), descriptor(|x: i64| x + 1));
        assert_ne!(position_of(one), position_of(other));
        assert_ne!(one.types(), other.types());
    }

    #[test]
    fn a_forged_position_or_a_wrong_type_is_an_error() {
        let descriptor = descriptor(twice);
        let (position, types) = (position_of(descriptor).unwrap(), descriptor.types());
        assert!(descriptor_at(position, types ^ 1).is_err());
        for forged in [0, 1, position + 1, position + 8, position - 16, u64::MAX, 1 << 40] {
            assert!(descriptor_at(forged, types).is_err(), "{forged:#x}");
        }
    }

    #[test]
    fn no_other_position_in_the_program_is_taken_for_it() {
        let descriptor = descriptor(twice);
        let (position, types) = (position_of(descriptor).unwrap(), descriptor.types());
        let image = IMAGE.as_ref().unwrap();
        let positions = image.read_only.iter().flat_map(|part| (part.start..part.end).step_by(8));
        let positions = positions.map(|address| (address - image.base) as u64);
        assert!(positions.filter(|forged| descriptor_at(*forged, types).is_ok()).eq([position]));
    }
}
