//! The hash of a plan and the digest of what it is made from.

use std::fmt::Write as _;
use std::io;

use serde::Serialize;
use serde_json::{Number, Value};
use sha2::{Digest as _, Sha256};

use super::{Goal, Plan};
use crate::{Fleet, Policy};

/// SHA-256 in hex over what a plan is made from.
pub fn digest(fleet: &Fleet, policy: &Policy, goal: &Goal) -> String {
    let mut hasher = Hasher(Sha256::new());
    // A hasher takes every byte, and these types have no map with keys that are not text.
    let mut writer = serde_json::Serializer::with_formatter(&mut hasher, TenDigits);
    let written = (fleet, policy, goal).serialize(&mut writer);
    debug_assert!(written.is_ok(), "{written:?}");
    hex(&hasher.0.finalize())
}

impl Plan {
    /// The plan with every figure rounded so that JSON gives it back exactly, and with its `hash` and `id`.
    pub fn seal(mut self) -> Self {
        self.hash.clear();
        self.id.clear();
        let mut value = json(&self);
        round(&mut value);
        if let Ok(rounded) = serde_json::from_value(value) {
            self = rounded;
        }
        self.hash = self.expected_hash();
        self.id = format!("p-{}", &self.hash[..12]);
        self
    }

    /// The hash that what it says calls for: SHA-256 over its canonical JSON (keys in order, no white space) without
    /// `id` and `hash`.
    pub fn expected_hash(&self) -> String {
        let mut value = json(self);
        if let Value::Object(fields) = &mut value {
            fields.remove("id");
            fields.remove("hash");
        }
        let mut text = String::new();
        canonical(&value, &mut text);
        hex(&Sha256::digest(text.as_bytes()))
    }
}

fn json(value: &impl Serialize) -> Value {
    // Plans have text keys and finite figures alone; a NaN would become null.
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// Six decimals, whole numbers above a million: readers of JSON that are not exact give these back exactly.
fn round(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let figure = number.as_f64().unwrap_or_default();
            let rounded = if figure.abs() < 1e6 { (figure * 1e6).round() / 1e6 } else { figure.round() };
            // -0 is not written like 0.
            if let Some(rounded) = Number::from_f64(rounded + 0.0) {
                *number = rounded;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(round),
        Value::Object(fields) => fields.values_mut().for_each(round),
        _ => (),
    }
}

fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Array(values) => {
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                canonical(value, text);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            // Whether a map of serde_json keeps an order depends on who else builds it.
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                let _ = write!(text, "{}:", Value::from(key.as_str()));
                canonical(value, text);
            }
            text.push('}');
        }
        plain => {
            let _ = write!(text, "{plain}");
        }
    }
}

/// JSON whose fractions have ten digits: a fleet that was written and read again has the same digest.
struct TenDigits;

impl serde_json::ser::Formatter for TenDigits {
    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        write!(writer, "{value:.9e}")
    }
}

struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
