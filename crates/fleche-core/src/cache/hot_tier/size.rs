//! The text form of a hot tier's settings.

use serde::{Deserialize, Serialize};

use super::HotTier;

/// A hot tier as written in a configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum AsText {
    Size(Size),
    Whole {
        size: Size,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_age: Option<String>,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Size {
    Bytes(u64),
    Text(String),
}

impl TryFrom<AsText> for HotTier {
    type Error = String;

    fn try_from(text: AsText) -> Result<Self, String> {
        let (size, max_age) = match text {
            AsText::Size(size) => (size, None),
            AsText::Whole { size, max_age } => (size, max_age),
        };
        let size = match size {
            Size::Bytes(bytes) => bytes,
            Size::Text(text) => text.parse::<bytesize::ByteSize>().map_err(|error| wrong_size(&text, &error))?.as_u64(),
        };
        let max_age = max_age.map(|text| humantime::parse_duration(&text).map_err(|error| wrong_age(&text, &error)));
        Ok(Self { size, max_age: max_age.transpose()? })
    }
}

impl From<HotTier> for AsText {
    fn from(HotTier { size, max_age }: HotTier) -> Self {
        let size = Size::Bytes(size);
        match max_age {
            None => Self::Size(size),
            Some(age) => Self::Whole { size, max_age: Some(humantime::format_duration(age).to_string()) },
        }
    }
}

fn wrong_size(text: &str, error: &str) -> String {
    format!("`{text}` is not a size ({error}): use `\"64 MiB\"`, a number of bytes, or 0 for none")
}

fn wrong_age(text: &str, error: &humantime::DurationError) -> String {
    format!("`{text}` is not a duration ({error}): use `\"10s\"`, `\"5min\"` or `\"2h\"`")
}
