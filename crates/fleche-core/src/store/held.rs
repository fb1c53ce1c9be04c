//! `OpenPlaceGuard`: the places that this process has open, for engines that can open a place only once.

use std::{
    collections::HashSet,
    sync::{Condvar, Mutex, PoisonError},
};

use super::Place;

/// The exclusive right of this process to have a place open.
///
/// When the last handle of a store is dropped, the store may still be closing while another one is opened. A store that
/// declares this field after its engine, so that it is dropped later, can be opened again only when it is closed.
#[derive(Debug)]
pub struct OpenPlaceGuard(Place);

static HELD: (Mutex<Option<HashSet<Place>>>, Condvar) = (Mutex::new(None), Condvar::new());

impl OpenPlaceGuard {
    /// Takes the right to the place. Blocks while another holder in this process has it.
    pub fn take(place: Place) -> Self {
        let (held, released) = &HELD;
        let held = held.lock().unwrap_or_else(PoisonError::into_inner);
        let is_held = |held: &mut Option<HashSet<Place>>| held.get_or_insert_default().contains(&place);
        let mut held = released.wait_while(held, is_held).unwrap_or_else(PoisonError::into_inner);
        held.get_or_insert_default().insert(place.clone());
        Self(place)
    }
}

impl Drop for OpenPlaceGuard {
    fn drop(&mut self) {
        let (held, released) = &HELD;
        held.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().remove(&self.0);
        released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn place_has_one_holder_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::of(directory.path()).unwrap();
        let held = OpenPlaceGuard::take(place.clone());
        let other = thread::spawn(move || drop(OpenPlaceGuard::take(place)));
        assert!(!other.is_finished());
        drop(held);
        other.join().unwrap();
    }
}
