//! What a backend admits to do less well than the suite asks for.

/// An admission, as [`admit_loss_of_neighbours!`](crate::admit_loss_of_neighbours) registers it.
#[derive(Debug)]
pub struct LosesNeighbours {
    /// The backend's name.
    pub backend: &'static str,
    /// Whether it does only where the file was cut short.
    pub only_of_a_cut_file: bool,
    /// Why that is so, for people.
    pub why: &'static str,
}

inventory::collect!(LosesNeighbours);

/// Admits, in the program that runs the suite, that a backend loses, with a damaged entry, whole ones that lie in the same
/// file: `admit_loss_of_neighbours!("its name", "why that is so");`, or `admit_loss_of_neighbours!("its name", of_a_cut_file,
/// "why that is so");`. What is lost must be absent all the same, and nothing wrong may be served.
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

/// Whether the backend may lose neighbours, where the file was cut short or not.
pub(crate) fn loses_neighbours(backend: &str, is_cut: bool) -> bool {
    let admits = |admitted: &LosesNeighbours| admitted.backend == backend && (is_cut || !admitted.only_of_a_cut_file);
    inventory::iter::<LosesNeighbours>().any(admits)
}

/// An admission, as [`admit_encoded_bytes!`](crate::admit_encoded_bytes) registers it.
#[derive(Debug)]
pub struct EncodesBytes {
    /// The backend's name.
    pub backend: &'static str,
    /// How, for people.
    pub how: &'static str,
}

inventory::collect!(EncodesBytes);

/// Admits, in the program that runs the suite, that the store's files hold entries in encoded form: compressed, encrypted or
/// as text. Use as `admit_encoded_bytes!("its name", "how");`.
///
/// Cases that damage the bytes of an entry then damage every larger file instead. Wrong bytes must not be served, and every
/// entry must be there again once it was put anew. Records of a later format, which a case would have to write
/// itself, are not tested.
#[macro_export]
macro_rules! admit_encoded_bytes {
    ($backend:literal, $how:literal) => {
        $crate::__private::inventory::submit! {
            $crate::EncodesBytes { backend: $backend, how: $how }
        }
    };
}

/// Returns whether the bytes of entries stand in the backend's files in another form.
pub(crate) fn encodes_bytes(backend: &str) -> bool {
    inventory::iter::<EncodesBytes>().any(|admitted| admitted.backend == backend)
}
