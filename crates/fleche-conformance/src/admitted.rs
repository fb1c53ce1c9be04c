//! Registers known limits of backends, for which the suite relaxes its checks.

/// A known limit, registered by [`admit_loss_of_neighbours!`](crate::admit_loss_of_neighbours).
#[derive(Debug)]
pub struct LosesNeighbours {
    /// The backend's name.
    pub backend: &'static str,
    /// Whether the limit applies only to truncated files.
    pub only_of_a_cut_file: bool,
    /// The reason, for readers of the source.
    pub why: &'static str,
}

inventory::collect!(LosesNeighbours);

/// Declares, in the program that runs the suite, that damage to one entry can make a backend lose intact entries in the same
/// file.
///
/// Use it as `admit_loss_of_neighbours!("its name", "the reason");`, or as
/// `admit_loss_of_neighbours!("its name", of_a_cut_file, "the reason");` if only truncated files are affected. Lost entries
/// must be absent, and the store must still serve nothing wrong.
#[macro_export]
macro_rules! admit_loss_of_neighbours {
    ($backend:literal, $why:literal) => {
        $crate::__private::inventory::submit! {
            $crate::LosesNeighbours { backend: $backend, only_of_a_cut_file: false, why: $why }
        }
    };
    ($backend:literal, of_a_cut_file, $why:literal) => {
        $crate::__private::inventory::submit! {
            $crate::LosesNeighbours { backend: $backend, only_of_a_cut_file: true, why: $why }
        }
    };
}

/// Returns whether the backend may lose intact entries of a damaged file, which `is_cut` if it was truncated.
pub(crate) fn loses_neighbours(backend: &str, is_cut: bool) -> bool {
    let admits = |admitted: &LosesNeighbours| admitted.backend == backend && (is_cut || !admitted.only_of_a_cut_file);
    inventory::iter::<LosesNeighbours>().any(admits)
}

/// A known limit, registered by [`admit_encoded_bytes!`](crate::admit_encoded_bytes).
#[derive(Debug)]
pub struct EncodesBytes {
    /// The backend's name.
    pub backend: &'static str,
    /// How the backend encodes entries, for readers of the source.
    pub how: &'static str,
}

inventory::collect!(EncodesBytes);

/// Declares, in the program that runs the suite, that a backend's files contain entries in encoded form: compressed, encrypted
/// or as text. Use it as `admit_encoded_bytes!("its name", "how");`.
///
/// Cases that damage the bytes of an entry then damage every larger file. The store must not serve wrong bytes, and every
/// entry must be present after it has been put again. Records of a later format are not tested, since a case would have to
/// write them itself.
#[macro_export]
macro_rules! admit_encoded_bytes {
    ($backend:literal, $how:literal) => {
        $crate::__private::inventory::submit! {
            $crate::EncodesBytes { backend: $backend, how: $how }
        }
    };
}

/// Returns whether the backend's files contain entries in encoded form.
pub(crate) fn encodes_bytes(backend: &str) -> bool {
    inventory::iter::<EncodesBytes>().any(|admitted| admitted.backend == backend)
}
