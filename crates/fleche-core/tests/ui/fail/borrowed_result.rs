//! Results that borrow.
use std::borrow::Cow;

#[fleche_core::fleche]
fn longest<'a>(a: &'a str, b: &'a str) -> &'a str {
    if a.len() > b.len() { a } else { b }
}

#[fleche_core::fleche]
fn first(words: &[String]) -> Option<&String> {
    words.first()
}

#[fleche_core::fleche]
fn trimmed(text: &str) -> Result<Cow<'_, str>, String> {
    Ok(text.trim().into())
}

#[fleche_core::fleche]
fn constant(x: i64) -> &'static str {
    if x > 0 { "more" } else { "less" }
}

#[fleche_core::fleche]
async fn awaited<'a>(a: &'a str) -> Cow<'a, str> {
    a.into()
}

fn main() {}
