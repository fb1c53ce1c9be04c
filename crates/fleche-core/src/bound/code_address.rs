//! The program's executable in memory, and code addresses: the offsets of descriptors in its read-only data.
#![allow(unsafe_code)] // Reads descriptors at addresses that were checked to be in read-only data.

use std::{fmt::Write as _, mem, ops::Range, ptr, slice, sync::OnceLock};

use super::descriptor::Descriptor;
use crate::digest::Digest;

/// The program's executable in memory, as the loader has placed it.
///
/// The loader reports its segments by address. The memory map of the process would identify them only by file name, which
/// other mappings of the file share and which the system may write differently.
pub(in crate::bound) struct LoadedImage {
    /// The offset between addresses in the file and in memory. Code addresses are relative to it.
    base: usize,
    /// The address of the segment table.
    headers: usize,
    /// The parts that are readable and never change once the program runs.
    read_only: Vec<Range<usize>>,
    /// The parts that may be executed.
    code: Vec<Range<usize>>,
    /// The parts whose content equals that of the file, with their offsets in the file.
    as_in_file: Vec<(Range<usize>, u64)>,
}

/// A segment of the executable.
#[derive(Clone)]
struct Segment {
    kind: u32,
    flags: u32,
    range: Range<usize>,
    /// The number of bytes that come from the file, and their offset in it.
    file: (usize, u64),
}

impl LoadedImage {
    /// Returns the image of the running program, or `None` if the loader does not report it.
    pub(in crate::bound) fn of_program() -> Option<&'static Self> {
        static FOUND: OnceLock<LoadedImage> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Some(found);
        }
        let found = loader::program()?;
        Some(FOUND.get_or_init(|| found))
    }

    fn new(base: usize, headers: usize, segments: &[Segment]) -> Self {
        let loaded = || segments.iter().filter(|segment| segment.kind == loader::LOAD);
        let readable = || loaded().filter(|segment| segment.flags & loader::READ != 0);
        let constant = || readable().filter(|segment| segment.flags & loader::WRITE == 0);
        let mut read_only: Vec<_> = constant().map(|segment| segment.range.clone()).collect();
        // Parts that the loader makes read-only after relocation are in a segment that was writable before.
        for relocated in segments.iter().filter(|segment| segment.kind == loader::RELOCATED) {
            let within = readable().map(|segment| {
                relocated.range.start.max(segment.range.start)..relocated.range.end.min(segment.range.end)
            });
            read_only.extend(within.filter(|range| !range.is_empty()));
        }
        let code = loaded().filter(|segment| segment.flags & loader::EXECUTE != 0);
        let code = code.map(|segment| segment.range.clone()).collect();
        let as_in_file = constant().map(|Segment { range, file: (len, offset), .. }| {
            (range.start..range.start + (*len).min(range.len()), *offset)
        });
        Self { base, headers, read_only, code, as_in_file: as_in_file.collect() }
    }

    /// Returns whether a descriptor at this address would be in read-only data.
    fn holds(&self, address: usize) -> bool {
        let end = address.checked_add(mem::size_of::<Descriptor>());
        end.is_some_and(|end| self.read_only.iter().any(|part| part.start <= address && end <= part.end))
    }

    /// Returns the address of the segment table, which distinguishes images within this process.
    pub(in crate::bound) fn headers(&self) -> usize {
        self.headers
    }

    /// Returns a digest of the program's layout in memory, relative to its start. Builds whose code differs in size have
    /// different digests.
    pub(in crate::bound) fn layout(&self) -> Digest {
        let mut text = String::new();
        for (kind, ranges) in [("data", &self.read_only), ("code", &self.code)] {
            for range in ranges {
                let _ = write!(text, "{kind} {:x} {:x};", range.start.wrapping_sub(self.base), range.len());
            }
        }
        Digest::hash(text.as_bytes())
    }

    /// Returns whether the program was loaded from this file: compares the parts that never change.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    #[cfg(unix)]
    pub(in crate::bound) fn is_of(&self, file: &std::fs::File) -> std::io::Result<bool> {
        use std::os::unix::fs::FileExt;

        let mut read = vec![0; 1 << 16];
        for (range, offset) in &self.as_in_file {
            let mut at = 0;
            while at < range.len() {
                let part = &mut read[..(range.len() - at).min(1 << 16)];
                match file.read_exact_at(part, offset + at as u64) {
                    Ok(()) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
                    Err(error) => return Err(error),
                }
                let start = ptr::with_exposed_provenance::<u8>(range.start + at);
                // SAFETY: the range is in a segment of the executable that the loader has mapped without write
                // permission. Executables are not unmapped.
                if unsafe { slice::from_raw_parts(start, part.len()) } != part {
                    return Ok(false);
                }
                at += part.len();
            }
        }
        Ok(!self.as_in_file.is_empty())
    }
}

/// Returns the descriptor's code address, or `None` if the descriptor is not in the executable.
pub(super) fn address_of(descriptor: &'static Descriptor) -> Option<u64> {
    let image = LoadedImage::of_program()?;
    let address = ptr::from_ref(descriptor).expose_provenance();
    image.holds(address).then(|| address.wrapping_sub(image.base) as u64)
}

/// Returns the descriptor at this code address, if it has these types.
pub(super) fn descriptor_at(position: u64, types: u64) -> Result<&'static Descriptor, String> {
    let wrong = || format!("no function of these types has the code address {position:#x} in this program");
    let image = LoadedImage::of_program().ok_or_else(wrong)?;
    let address = usize::try_from(position).ok().and_then(|position| image.base.checked_add(position));
    let address = address.filter(|address| image.holds(*address)).ok_or_else(wrong)?;
    // SAFETY: the range was checked to be in a segment of the executable that the loader has mapped, and has made
    // read-only before the program began. Executables are not unmapped.
    unsafe { Descriptor::at(address, types, |code| image.code.iter().any(|part| part.contains(&code))) }
        .ok_or_else(wrong)
}

/// Reads the image from the loader of Linux: see `dl_iterate_phdr(3)` and elf(5).
#[cfg(target_os = "linux")]
mod loader {
    use std::{ffi::c_void, ptr, slice};

    use nix::libc::{self, c_int};

    use super::{LoadedImage, Segment};

    pub(super) const LOAD: u32 = libc::PT_LOAD;
    pub(super) const RELOCATED: u32 = libc::PT_GNU_RELRO;
    pub(super) const EXECUTE: u32 = libc::PF_X;
    pub(super) const WRITE: u32 = libc::PF_W;
    pub(super) const READ: u32 = libc::PF_R;

    pub(super) fn program() -> Option<LoadedImage> {
        let mut found = None::<LoadedImage>;
        // SAFETY: `first` casts the pointer back to its type, and the pointer is not used after the call.
        unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut found).cast()) };
        found
    }

    /// Keeps the first image, which is the main program, and ends the iteration.
    #[allow(clippy::unnecessary_cast, clippy::cast_possible_truncation, reason = "the width depends on the target")]
    unsafe extern "C" fn first(info: *mut libc::dl_phdr_info, _: libc::size_t, found: *mut c_void) -> c_int {
        // SAFETY: the loader lends a valid structure during this call.
        let info = unsafe { &*info };
        let base = info.dlpi_addr as usize;
        let segments: Vec<_> = if info.dlpi_phdr.is_null() {
            Vec::new()
        } else {
            // SAFETY: the loader lends a table of this length, which lives as long as the program.
            let table = unsafe { slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
            let segments = table.iter().filter_map(|header| {
                let start = base.wrapping_add(header.p_vaddr as usize);
                let range = start..start.checked_add(header.p_memsz as usize)?;
                let file = (header.p_filesz as usize, header.p_offset as u64);
                Some(Segment { kind: header.p_type, flags: header.p_flags, range, file })
            });
            segments.collect()
        };
        if !segments.is_empty() {
            let headers = info.dlpi_phdr.expose_provenance();
            // SAFETY: this is the pointer that `program` passes, to an `Option<LoadedImage>` that nothing else uses.
            unsafe { ptr::write(found.cast(), Some(LoadedImage::new(base, headers, &segments))) };
        }
        1
    }
}

/// Other systems report no segments.
#[cfg(not(target_os = "linux"))]
mod loader {
    pub(super) const LOAD: u32 = 1;
    pub(super) const RELOCATED: u32 = 0x6474_e552;
    pub(super) const EXECUTE: u32 = 1;
    pub(super) const WRITE: u32 = 2;
    pub(super) const READ: u32 = 4;

    pub(super) fn program() -> Option<super::LoadedImage> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{
        loader::{EXECUTE, LOAD, READ, RELOCATED, WRITE},
        *,
    };

    fn segment(kind: u32, flags: u32, range: Range<usize>) -> Segment {
        let file = (range.len(), 0);
        Segment { kind, flags, range, file }
    }

    fn image() -> LoadedImage {
        let segments = [
            segment(LOAD, READ, 0x1000..0x2000),
            segment(LOAD, READ | EXECUTE, 0x2000..0x3000),
            segment(LOAD, EXECUTE, 0x3000..0x4000),
            segment(LOAD, READ | WRITE, 0x5000..0x7000),
            segment(RELOCATED, READ, 0x5000..0x6000),
        ];
        LoadedImage::new(0x1000, 0x1040, &segments)
    }

    #[test]
    fn only_read_only_segments_hold_descriptors() {
        let image = image();
        let held = [0x0, 0x1000, 0x2f00, 0x3000, 0x4000, 0x5000, 0x5f00, 0x6000, 0x7000, usize::MAX];
        let held = held.map(|address| image.holds(address));
        assert_eq!(held, [false, true, true, false, false, true, true, false, false, false]);
        assert_eq!(image.code, [0x2000..0x3000, 0x3000..0x4000]);
    }

    #[test]
    fn descriptor_that_would_extend_beyond_its_segment_is_not_accepted() {
        assert!(!image().holds(0x6000 - mem::size_of::<Descriptor>() + 8));
    }

    #[test]
    fn image_covers_the_code_of_the_program() {
        let image = LoadedImage::of_program().unwrap();
        let here = image_covers_the_code_of_the_program as fn() as usize;
        assert!(image.code.iter().any(|part| part.contains(&here)));
        assert!(image.is_of(&std::fs::File::open("/proc/self/exe").unwrap()).unwrap());
        assert!(!image.is_of(&std::fs::File::open("/proc/self/maps").unwrap()).unwrap());
    }

    /// A mapping of the program's own file, as a symbolizer creates one, is not part of the program.
    #[test]
    fn code_addresses_outside_the_image_are_errors_even_if_the_file_is_mapped_there() {
        use nix::libc::{MAP_FAILED, MAP_PRIVATE, PROT_READ, mmap, munmap};
        use std::os::fd::AsRawFd;

        let (descriptor, image) = (descriptor(twice), LoadedImage::of_program().unwrap());
        let types = descriptor.types();
        let position = address_of(descriptor).unwrap();
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let len = usize::try_from(file.metadata().unwrap().len()).unwrap();
        // SAFETY: a new mapping at an address that the system chooses.
        let map = unsafe { mmap(ptr::null_mut(), len, PROT_READ, MAP_PRIVATE, file.as_raw_fd(), 0) };
        assert_ne!(map, MAP_FAILED);
        assert!((0..len).step_by(8).all(|at| !image.holds(map.addr() + at)));
        let forged = |at: usize| (map.addr() + at).wrapping_sub(image.base) as u64;
        let all = || (0..len).step_by(4096).map(forged);
        assert!(all().all(|forged| descriptor_at(forged, types).is_err()));
        // SAFETY: the mapping was created above, and nothing refers to it.
        assert_eq!(unsafe { munmap(map, len) }, 0);
        assert!(all().all(|forged| descriptor_at(forged, types).is_err()));
        assert!(ptr::eq(descriptor_at(position, types).unwrap(), descriptor));
    }

    fn twice(x: i64) -> i64 {
        2 * x
    }

    fn descriptor<F: crate::bound::Callable<(i64,), Output = i64>>(_: F) -> &'static Descriptor {
        Descriptor::from_callable::<F, (i64,)>().unwrap()
    }

    #[test]
    fn descriptor_is_found_by_its_code_address() {
        let descriptor = descriptor(twice);
        let position = address_of(descriptor).unwrap();
        assert!(ptr::eq(descriptor_at(position, descriptor.types()).unwrap(), descriptor));
    }

    #[test]
    fn functions_with_the_same_code_have_different_descriptors() {
        let (one, other) = (descriptor(|x: i64| x + 1), descriptor(|x: i64| x + 1));
        assert_ne!(address_of(one), address_of(other));
        assert_ne!(one.types(), other.types());
    }

    #[test]
    fn forged_code_address_or_wrong_type_is_an_error() {
        let descriptor = descriptor(twice);
        let (position, types) = (address_of(descriptor).unwrap(), descriptor.types());
        assert!(descriptor_at(position, types ^ 1).is_err());
        for forged in [0, 1, position + 1, position + 8, position - 16, u64::MAX, 1 << 40] {
            assert!(descriptor_at(forged, types).is_err(), "{forged:#x}");
        }
    }

    #[test]
    fn descriptor_is_found_by_no_other_code_address() {
        let descriptor = descriptor(twice);
        let (position, types) = (address_of(descriptor).unwrap(), descriptor.types());
        let image = LoadedImage::of_program().unwrap();
        let positions = image.read_only.iter().flat_map(|part| (part.start.next_multiple_of(8)..part.end).step_by(8));
        let positions = positions.map(|address| (address - image.base) as u64);
        assert!(positions.filter(|forged| descriptor_at(*forged, types).is_ok()).eq([position]));
    }
}
