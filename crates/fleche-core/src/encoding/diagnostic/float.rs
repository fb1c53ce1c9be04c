//! Floating-point numbers in diagnostic notation.

/// Formats a float as RFC 8949 appendix A does: `1.0`, `5.960464477539063e-8`, `1.0e+300`, `-Infinity`, `NaN`.
pub(super) fn show(value: f64) -> String {
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
pub(super) fn half(be: [u8; 2]) -> f64 {
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
