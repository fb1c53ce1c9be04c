//! Scalar keys: the arguments of a call as a few words, if all are of simple types.
//!
//! A thread looks its own results up by them without encoding anything. If arguments of the same function have equal words,
//! their encodings are equal.

/// The maximum number of words. Calls with longer texts are looked up by their encodings.
const WORDS: usize = 8;
/// The fraction of the golden ratio in 64 bits: an odd number without a pattern.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// An argument of a simple type.
#[derive(Clone, Copy, Debug)]
pub enum Scalar<'a> {
    /// A value of one word.
    Word(u64),
    /// A value of two words.
    Wide(u128),
    /// A text, as its length and its bytes.
    Text(&'a [u8]),
}

/// The scalar key of one call. Fill it in place: moving it after it is filled costs more than the rest of a lookup.
#[derive(Clone, Debug)]
pub struct ScalarKey {
    words: [u64; WORDS],
    len: usize,
    hash: u64,
}

impl ScalarKey {
    /// The key of a call without arguments.
    pub(super) const NONE: Self = Self { words: [0; WORDS], len: 0, hash: 0 };

    #[inline]
    pub(super) fn words(&self) -> &[u64] {
        self.words.get(..self.len).unwrap_or_default()
    }

    /// Returns a hash of the words.
    #[inline]
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// Adds the next argument. Returns `false` if it is not of a simple type or does not fit.
    #[inline]
    pub fn add(&mut self, argument: Option<Scalar<'_>>) -> bool {
        match argument {
            None => false,
            Some(Scalar::Word(word)) => self.word(word),
            #[allow(clippy::cast_possible_truncation)] // One half, and then the other.
            Some(Scalar::Wide(wide)) => self.word(wide as u64) && self.word((wide >> 64) as u64),
            Some(Scalar::Text(text)) => self.text(text),
        }
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation)] // One half, and the other.
    fn word(&mut self, word: u64) -> bool {
        let Some(place) = self.words.get_mut(self.len) else { return false };
        *place = word;
        self.len += 1;
        // Folding both halves of the product lets every input bit affect the hash.
        let product = u128::from(self.hash ^ word ^ FACTOR) * u128::from(FACTOR);
        self.hash = product as u64 ^ (product >> 64) as u64;
        true
    }

    /// Adds the length, and words that cover the text and may overlap.
    #[inline]
    fn text(&mut self, text: &[u8]) -> bool {
        if !self.word(text.len() as u64) {
            return false;
        }
        if let Some(last) = text.last_chunk() {
            let (words, rest) = text.as_chunks();
            let fits = words.iter().all(|word| self.word(u64::from_ne_bytes(*word)));
            return fits && (rest.is_empty() || self.word(u64::from_ne_bytes(*last)));
        }
        if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
            let (first, last) = (u32::from_ne_bytes(*first), u32::from_ne_bytes(*last));
            return self.word(u64::from(first) << 32 | u64::from(last));
        }
        text.is_empty() || self.word(text.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)))
    }
}

/// Determines whether a type is simple. The inherent methods, for simple types, take precedence over that of [`NotScalar`].
#[derive(Debug)]
pub struct ScalarProbe<'a, T: ?Sized>(pub &'a T);

/// The fallback of [`ScalarProbe`], for all other types and for type parameters that are not known to be simple.
pub trait NotScalar {
    /// Returns `None`.
    #[inline]
    fn fleche_scalar(&self) -> Option<Scalar<'_>> {
        None
    }
}

impl<T: ?Sized> NotScalar for ScalarProbe<'_, T> {}

macro_rules! scalar {
    ($($type:ty, |$value:ident| $scalar:expr;)*) => {$(
        impl ScalarProbe<'_, $type> {
            /// Returns the value in words.
            #[inline]
            pub fn fleche_scalar(&self) -> Option<Scalar<'_>> {
                let $value = self.0;
                Some($scalar)
            }
        }
    )*};
}

scalar! {
    bool, |value| Scalar::Word((*value).into());
    char, |value| Scalar::Word((*value).into());
    u8, |value| Scalar::Word((*value).into());
    u16, |value| Scalar::Word((*value).into());
    u32, |value| Scalar::Word((*value).into());
    u64, |value| Scalar::Word(*value);
    usize, |value| Scalar::Word(*value as u64);
    u128, |value| Scalar::Wide(*value);
    i8, |value| Scalar::Word(i64::from(*value).cast_unsigned());
    i16, |value| Scalar::Word(i64::from(*value).cast_unsigned());
    i32, |value| Scalar::Word(i64::from(*value).cast_unsigned());
    i64, |value| Scalar::Word(value.cast_unsigned());
    isize, |value| Scalar::Word(value.cast_unsigned() as u64);
    i128, |value| Scalar::Wide(value.cast_unsigned());
    f32, |value| Scalar::Word(value.to_bits().into());
    f64, |value| Scalar::Word(value.to_bits());
    str, |value| Scalar::Text(value.as_bytes());
    String, |value| Scalar::Text(value.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn key(add_all: impl FnOnce(&mut ScalarKey) -> bool) -> Option<Vec<u64>> {
        let mut key = ScalarKey::NONE;
        add_all(&mut key).then(|| key.words().to_vec())
    }

    fn texts(texts: &[&str]) -> Option<Vec<u64>> {
        key(|key| texts.iter().all(|text| key.add(ScalarProbe(*text).fleche_scalar())))
    }

    #[test]
    fn different_texts_have_different_keys() {
        // All short texts of two letters, and longer texts that differ in one position only.
        let mut all = vec![String::new()];
        for length in 1..=10 {
            all.extend((0..1 << length).map(|bits: u32| {
                (0..length).map(|at| if bits >> at & 1 == 0 { 'a' } else { '\0' }).collect::<String>()
            }));
        }
        for length in 11..=40 {
            all.extend(
                (0..length).map(|at| (0..length).map(|here| if here == at { 'b' } else { 'a' }).collect::<String>()),
            );
        }
        let keys: HashSet<_> = all.iter().map(|text| texts(&[text]).unwrap()).collect();
        assert_eq!(keys.len(), all.len());
    }

    #[test]
    fn key_contains_where_each_text_ends() {
        let split = |text: &'static str, at: usize| texts(&[&text[..at], &text[at..]]).unwrap();
        let keys: HashSet<_> = (0..=9).map(|at| split("aaaaaaaaa", at)).collect();
        assert_eq!(keys.len(), 10);
    }

    #[test]
    fn long_arguments_and_other_types_have_no_key() {
        assert!(texts(&["a text of more than fifty-six bytes, which is too long"]).is_some());
        assert_eq!(texts(&["a text of more than fifty-six bytes, which is too long for it"]), None);
        assert_eq!(key(|key| (0..9_u64).all(|word| key.add(ScalarProbe(&word).fleche_scalar()))), None);
        assert_eq!(key(|key| key.add(ScalarProbe(&vec![1_u8]).fleche_scalar())), None);
        assert_eq!(key(|_| true), Some(Vec::new()));
    }

    #[test]
    fn numbers_that_differ_in_any_bit_have_different_keys() {
        let float = |value: f64| key(|key| key.add(ScalarProbe(&value).fleche_scalar()));
        assert_ne!(float(0.0), float(-0.0));
        let wide = |value: i128| key(|key| key.add(ScalarProbe(&value).fleche_scalar()));
        assert_ne!(wide(1), wide(1 << 64));
        assert_ne!(wide(-1), wide(u64::MAX.into()));
    }
}
