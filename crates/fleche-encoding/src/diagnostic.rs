//! Shows encoded bytes in the diagnostic notation of RFC 8949 §8.

use std::fmt::Write as _;

use crate::{
    header::{self, MAX_DEPTH},
    number::{Kind, Number},
};

/// The number of elements of a typed array that are shown.
const MAX_SHOWN: usize = 8;

/// Formats CBOR in diagnostic notation (RFC 8949 §8), for people to read.
///
/// Accepts any well-formed CBOR, including input that [`from_slice`](crate::from_slice) refuses. The content of a typed array
/// follows in a comment, as in `86(h'000000000000f03f0000000000000040' / 1.0, 2.0 /)`, and is shortened if it is long.
/// Malformed input is shown as far as it can be read, followed by a comment with the fault and its offset.
pub fn diagnostic(bytes: &[u8]) -> String {
    let mut printer = Printer { input: bytes, position: 0, text: String::new(), depth: 0 };
    let mut result = printer.item();
    if result.is_ok() && printer.position < bytes.len() {
        result = Err(printer.fault("bytes follow after the end of the item"));
    }
    if let Err(fault) = result {
        let gap = if printer.text.is_empty() || printer.text.ends_with(' ') { "" } else { " " };
        printer.show(format_args!("{gap}/ at byte {}: {} /", fault.offset, fault.reason));
    }
    printer.text
}

struct Fault {
    offset: usize,
    reason: &'static str,
}

struct Printer<'a> {
    input: &'a [u8],
    position: usize,
    text: String,
    depth: usize,
}

/// A header. `argument` is `None` for an indefinite length or a break.
struct Header {
    start: usize,
    major: u8,
    info: u8,
    argument: Option<u64>,
}

impl<'a> Printer<'a> {
    fn show(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a `String` never fails.
        let _ = self.text.write_fmt(text);
    }

    fn fault(&self, reason: &'static str) -> Fault {
        Fault { offset: self.position, reason }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Fault> {
        let rest = self.input.get(self.position..).unwrap_or_default();
        let taken = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let taken = taken.ok_or_else(|| self.fault("the input ends before the item does"))?;
        self.position += taken.len();
        Ok(taken)
    }

    fn header(&mut self) -> Result<Header, Fault> {
        let start = self.position;
        let initial = self.take(1)?[0];
        let (major, info) = (initial & 0xe0, initial & 0x1f);
        let argument = match info {
            0..24 => Some(info.into()),
            24..28 => Some(self.take(1 << (info - 24))?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))),
            31 if major >= header::BYTES && major != header::TAG => None,
            _ => return Err(Fault { offset: start, reason: "a reserved initial byte" }),
        };
        Ok(Header { start, major, info, argument })
    }

    fn item(&mut self) -> Result<(), Fault> {
        let header = self.header()?;
        self.after(&header)
    }

    /// Shows the item whose header has been read.
    fn after(&mut self, header: &Header) -> Result<(), Fault> {
        let Some(argument) = header.argument else {
            return self.indefinite(header);
        };
        match header.major {
            header::UNSIGNED => self.show(format_args!("{argument}")),
            header::NEGATIVE => self.show(format_args!("{}", !i128::from(argument))),
            header::BYTES => {
                let bytes = self.take(argument)?;
                self.bytes(bytes);
            }
            header::TEXT => return self.text(header, argument),
            header::ARRAY => return self.list(['[', ']'], Some(argument), Self::item),
            header::MAP => return self.list(['{', '}'], Some(argument), Self::entry),
            header::TAG => return self.tagged(argument),
            _ => return self.simple(header, argument),
        }
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.text.push_str("h'");
        for byte in bytes {
            self.show(format_args!("{byte:02x}"));
        }
        self.text.push('\'');
    }

    fn text(&mut self, header: &Header, length: u64) -> Result<(), Fault> {
        let bytes = self.take(length)?;
        let text =
            std::str::from_utf8(bytes).map_err(|_| Fault { offset: header.start, reason: "text that is not UTF-8" })?;
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.text.extend(['\\', c]),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                c if c.is_control() => self.show(format_args!("\\u{:04x}", u32::from(c))),
                c => self.text.push(c),
            }
        }
        self.text.push('"');
        Ok(())
    }

    /// Shows a list of `count` things, or of all things before the break.
    fn list(
        &mut self,
        [open, close]: [char; 2],
        count: Option<u64>,
        thing: impl Fn(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.text.push(open);
        if count.is_none() {
            self.text.push_str("_ ");
        }
        self.nested(|printer| {
            let mut shown = 0;
            while count.map_or_else(|| printer.unless_break(), |count| shown < count) {
                if shown > 0 {
                    printer.text.push_str(", ");
                }
                thing(printer)?;
                shown += 1;
            }
            Ok(())
        })?;
        self.text.push(close);
        Ok(())
    }

    fn entry(&mut self) -> Result<(), Fault> {
        self.item()?;
        self.text.push_str(": ");
        self.item()
    }

    fn nested(&mut self, show: impl FnOnce(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        if self.depth >= MAX_DEPTH {
            return Err(self.fault("nested too deeply to be shown"));
        }
        self.depth += 1;
        show(self)?;
        self.depth -= 1;
        Ok(())
    }

    /// Returns whether the next item is not a break. A break is consumed.
    fn unless_break(&mut self) -> bool {
        let ends = self.input.get(self.position) == Some(&0xff);
        self.position += usize::from(ends);
        !ends
    }

    fn indefinite(&mut self, header: &Header) -> Result<(), Fault> {
        match header.major {
            header::ARRAY => self.list(['[', ']'], None, Self::item),
            header::MAP => self.list(['{', '}'], None, Self::entry),
            header::SIMPLE => {
                Err(Fault { offset: header.start, reason: "a break outside of an item of indefinite length" })
            }
            major => self.list(['(', ')'], None, |printer| {
                let chunk = printer.header()?;
                if chunk.major == major && chunk.argument.is_some() {
                    printer.after(&chunk)
                } else {
                    Err(Fault { offset: chunk.start, reason: "a chunk that is not of the string's type" })
                }
            }),
        }
    }

    fn tagged(&mut self, tag: u64) -> Result<(), Fault> {
        let content = self.position;
        if let Some(digits) = self.byte_string() {
            if let Some(bignum) = bignum(tag, digits) {
                self.text.push_str(&bignum);
                return Ok(());
            }
            self.show(format_args!("{tag}("));
            self.bytes(digits);
            if let Some(kind) = Kind::from_tag(tag) {
                self.numbers(kind, digits);
            }
        } else {
            self.position = content;
            self.show(format_args!("{tag}("));
            self.nested(Self::item)?;
        }
        self.text.push(')');
        Ok(())
    }

    /// Consumes a byte string of definite length, if one is next.
    fn byte_string(&mut self) -> Option<&'a [u8]> {
        let header = self.header().ok().filter(|header| header.major == header::BYTES)?;
        self.take(header.argument?).ok()
    }

    /// Shows the content of a typed array in a comment.
    fn numbers(&mut self, kind: Kind, bytes: &[u8]) {
        self.text.push_str(" /");
        for (index, number) in bytes.chunks_exact(kind.size()).take(MAX_SHOWN).enumerate() {
            self.text.push_str(if index == 0 { " " } else { ", " });
            match kind.read(number) {
                Number::Unsigned(value) => self.show(format_args!("{value}")),
                Number::Signed(value) => self.show(format_args!("{value}")),
                Number::F32(value) => self.text.push_str(&float(value.into())),
                Number::F64(value) => self.text.push_str(&float(value)),
            }
        }
        let more = (bytes.len() / kind.size()).saturating_sub(MAX_SHOWN);
        if more > 0 {
            self.show(format_args!(", and {more} more"));
        }
        self.text.push_str(" /");
    }

    fn simple(&mut self, header: &Header, argument: u64) -> Result<(), Fault> {
        let bits = argument.to_be_bytes();
        match (header.info, argument) {
            (20, _) => self.text.push_str("false"),
            (21, _) => self.text.push_str("true"),
            (22, _) => self.text.push_str("null"),
            (23, _) => self.text.push_str("undefined"),
            (24, ..32) => return Err(Fault { offset: header.start, reason: "a simple value below 32 in two bytes" }),
            (..=24, value) => self.show(format_args!("simple({value})")),
            (25, _) => self.text.push_str(&float(half_precision([bits[6], bits[7]]))),
            (26, _) => {
                let single = f32::from_be_bytes([bits[4], bits[5], bits[6], bits[7]]);
                self.text.push_str(&float(single.into()));
            }
            _ => self.text.push_str(&float(f64::from_be_bytes(bits))),
        }
        Ok(())
    }
}

/// Returns the integer that a bignum tag and its content represent, if it fits into 128 bits.
fn bignum(tag: u64, digits: &[u8]) -> Option<String> {
    if digits.len() > 16 {
        return None;
    }
    let value = digits.iter().fold(0, |value, digit| value << 8 | u128::from(*digit));
    match tag {
        header::POSITIVE_BIGNUM => Some(value.to_string()),
        header::NEGATIVE_BIGNUM => i128::try_from(value).ok().map(|value| (!value).to_string()),
        _ => None,
    }
}

/// Formats a float as RFC 8949 appendix A does: `1.0`, `5.960464477539063e-8`, `1.0e+300`, `-Infinity`, `NaN`.
fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    // The appendix omits the exponent in the same range as ECMAScript.
    if value == 0.0 || (1e-6..1e21).contains(&value.abs()) {
        let text = value.to_string();
        return if text.contains('.') { text } else { text + ".0" };
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if digits.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with('-') { "" } else { "+" };
    format!("{digits}{point}e{sign}{exponent}")
}

/// Decodes a half-precision float (IEEE 754 binary16).
fn half_precision(be: [u8; 2]) -> f64 {
    let bits = u16::from_be_bytes(be);
    let fraction = f64::from(bits & 0x3ff) / 1024.0;
    let magnitude = match bits >> 10 & 0x1f {
        0 => fraction * 2f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1.0 + fraction) * 2f64.powi(i32::from(exponent) - 15),
    };
    if bits >> 15 == 0 { magnitude } else { -magnitude }
}
