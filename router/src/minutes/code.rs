//! A bin in few bytes: numbers of variable length (LEB128), CPU time in microseconds, other times in milliseconds.

use dataproxy_router_api::{NodeBin, RegistryBin, RegistryName, Used};

/// The form that is written; another one is not read.
const FORM: u64 = 1;

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn scaled(&mut self, value: f64, scale: f64) {
        self.number((value * scale).round() as u64);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend(text.as_bytes());
    }

    fn used(&mut self, used: &Used) {
        self.scaled(used.cpu_seconds, 1e6);
        for value in
            [used.requests, used.hit_bytes, used.miss_bytes, used.full_handshakes, used.resumed_handshakes]
        {
            self.number(value);
        }
        self.scaled(used.flows, 1e3);
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn scaled(&mut self, scale: f64) -> Option<f64> {
        Some(self.number()? as f64 / scale)
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn used(&mut self) -> Option<Used> {
        Some(Used {
            cpu_seconds: self.scaled(1e6)?,
            requests: self.number()?,
            hit_bytes: self.number()?,
            miss_bytes: self.number()?,
            full_handshakes: self.number()?,
            resumed_handshakes: self.number()?,
            flows: self.scaled(1e3)?,
        })
    }
}

/// Writes a bin; `number_of` gives each registry's number. Sequence, number and length are the key's.
pub(super) fn encode(bin: &NodeBin, mut number_of: impl FnMut(&RegistryName) -> u32) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(32 + 16 * bin.registries.len()));
    out.number(FORM);
    out.scaled(bin.busy_seconds, 1e6);
    out.scaled(bin.steal_seconds, 1e6);
    for value in [bin.cores, bin.observed_seconds, bin.in_rotation_seconds] {
        out.scaled(value, 1e3);
    }
    out.text(&bin.scope);
    out.number(bin.suspect.len() as u64);
    bin.suspect.iter().for_each(|word| out.text(word));
    out.used(&bin.other);
    out.number(bin.registries.len() as u64);
    for of in &bin.registries {
        out.number(u64::from(number_of(&of.registry)));
        out.used(&of.used);
    }
    out.0
}

/// Reads a bin. `None` if it is of another form, or was not written here.
pub(super) fn decode(
    key: &super::file::Key,
    bytes: &[u8],
    name_of: impl Fn(u32) -> Option<RegistryName>,
) -> Option<NodeBin> {
    let mut from = Reader(bytes);
    if from.number()? != FORM {
        return None;
    }
    let (busy_seconds, steal_seconds) = (from.scaled(1e6)?, from.scaled(1e6)?);
    let (cores, observed_seconds, in_rotation_seconds) =
        (from.scaled(1e3)?, from.scaled(1e3)?, from.scaled(1e3)?);
    let scope = from.text()?;
    let doubts = from.number()?;
    let suspect = (0..doubts).map(|_| from.text()).collect::<Option<_>>()?;
    let other = from.used()?;
    let count = from.number()?;
    let registry = |_| {
        let registry = name_of(u32::try_from(from.number()?).ok()?)?;
        Some(RegistryBin { registry, used: from.used()? })
    };
    let registries = (0..count).map(registry).collect::<Option<_>>()?;
    Some(NodeBin {
        sequence: key.sequence,
        number: key.number,
        bin_seconds: key.bin_seconds,
        busy_seconds,
        steal_seconds,
        cores,
        observed_seconds,
        in_rotation_seconds,
        scope,
        suspect,
        registries,
        other,
    })
}
