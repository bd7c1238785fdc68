//! Times as people write them: `30s`, `1m30s`, `250ms`.

/// A duration as a text.
pub(crate) mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(|error| {
            D::Error::custom(format!("{text:?} is not a time such as 30s or 1m30s: {error}"))
        })
    }
}

/// The same, where it may be absent.
pub(crate) mod maybe_duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::duration::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        #[derive(Deserialize)]
        struct Text(#[serde(with = "super::duration")] Duration);
        Ok(Option::<Text>::deserialize(deserializer)?.map(|text| text.0))
    }
}

/// Bytes as people write them: `65536`, `64KiB`, `1.5MB`. `None` for what is no size or not a whole number of bytes.
pub(crate) fn size(text: &str) -> Option<u64> {
    let bytes = match text.parse::<f64>() {
        Ok(bytes) => bytes,
        Err(_) => sized(text)?,
    };
    ((0.0..9e15).contains(&bytes) && bytes.fract() == 0.0).then_some(bytes as u64)
}

/// A number with a unit of bytes.
pub(crate) fn sized(text: &str) -> Option<f64> {
    let units = [
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("kB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
    ];
    units.iter().find_map(|(sign, size)| {
        let number: f64 = text.strip_suffix(sign)?.trim().parse().ok()?;
        Some(number * size)
    })
}
