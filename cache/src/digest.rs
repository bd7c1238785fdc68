//! Content digests: parsed once, compared as bytes, printed canonically.
//!
//! Grammar: OCI image-spec, "Digests". `sha256` and `sha512` are the registered algorithms; the
//! encoded part is lower-case hex and nothing else, so a digest is always safe in a path.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

/// A registered digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, 64 hex characters. Every client speaks it.
    Sha256,
    /// SHA-512, 128 hex characters.
    Sha512,
}

impl Algorithm {
    /// The name used before the colon of a digest and in storage paths.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the raw hash in bytes.
    pub const fn len_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// A content digest such as `sha256:9f86d0…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hash: [u8; 64],
}

/// Why a text is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no `:` between an algorithm and a hash.
    #[error("a digest is ALGORITHM:HEX, such as sha256:9f86d0…")]
    Shape,
    /// The algorithm is not registered, or not in lower case.
    #[error("the digest algorithm must be sha256 or sha512")]
    Algorithm,
    /// The encoded part has the wrong length.
    #[error("a {algorithm} digest has {expected} hex characters, this one has {found}")]
    Length {
        /// Name of the algorithm.
        algorithm: &'static str,
        /// Characters that it must have.
        expected: usize,
        /// Characters that were found.
        found: usize,
    },
    /// The encoded part holds something other than `0-9a-f`.
    #[error("a digest is written in lower-case hex (0-9, a-f)")]
    Hex,
}

impl Digest {
    /// The digest of `content` under `algorithm`.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(content);
        hasher.finish()
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The whole as it is printed, made at once: a pull writes it down several times.
    pub fn text(&self) -> String {
        let name = self.algorithm.name();
        let mut text = String::with_capacity(name.len() + 1 + 2 * self.algorithm.len_bytes());
        text.push_str(name);
        text.push(':');
        text.push_str(self.encode(&mut [0; 128]));
        text
    }

    /// The encoded part: lower-case hex.
    pub fn hex(&self) -> String {
        self.encode(&mut [0; 128]).to_owned()
    }

    /// The same into `text`, for those who write it down often.
    fn encode<'t>(&self, text: &'t mut [u8; 128]) -> &'t str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let raw = &self.hash[..self.algorithm.len_bytes()];
        for (pair, byte) in text.chunks_exact_mut(2).zip(raw) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        // Digits are text.
        std::str::from_utf8(&text[..raw.len() * 2]).unwrap_or_default()
    }
}

/// The raw hash alone: it is different for different algorithms, and half of the room for it is most often empty.
impl std::hash::Hash for Digest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write(&self.hash[..self.algorithm.len_bytes()]);
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, encoded) = text.split_once(':').ok_or(DigestError::Shape)?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(DigestError::Algorithm),
        };
        let expected = algorithm.len_bytes() * 2;
        if encoded.len() != expected {
            return Err(DigestError::Length { algorithm: algorithm.name(), expected, found: encoded.len() });
        }
        let mut hash = [0; 64];
        for (byte, pair) in hash.iter_mut().zip(encoded.as_bytes().chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self { algorithm, hash })
    }
}

fn nibble(digit: u8) -> Result<u8, DigestError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(DigestError::Hex),
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm.name())?;
        f.write_str(":")?;
        f.write_str(self.encode(&mut [0; 128]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A running hash, fed in order.
#[derive(Clone)]
pub struct Hasher(State);

// One lives per fill, never in bulk: boxing the larger state would buy nothing.
#[allow(clippy::large_enum_variant)]
#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// Starts an empty hash.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
        })
    }

    /// Feeds the next bytes.
    pub fn update(&mut self, content: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(content),
            State::Sha512(state) => state.update(content),
        }
    }

    /// The digest of everything fed.
    pub fn finish(self) -> Digest {
        let mut hash = [0; 64];
        let algorithm = match self.0 {
            State::Sha256(state) => {
                hash[..32].copy_from_slice(&state.finalize());
                Algorithm::Sha256
            }
            State::Sha512(state) => {
                hash.copy_from_slice(&state.finalize());
                Algorithm::Sha512
            }
        };
        Digest { algorithm, hash }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_prints_as_it_was_read() {
        let digest: Digest = EMPTY.parse().expect("valid");
        assert_eq!((digest.to_string(), digest.text()), (EMPTY.to_owned(), EMPTY.to_owned()));
        assert_eq!(digest, Digest::of(Algorithm::Sha256, b""));
        let long = Digest::of(Algorithm::Sha512, b"abc");
        assert_eq!(long.to_string().parse::<Digest>().expect("valid"), long);
    }

    #[test]
    fn everything_but_canonical_lower_case_hex_is_refused() {
        let upper = EMPTY.replace("e3b0", "E3B0");
        for (text, error) in [
            ("", DigestError::Shape),
            ("sha256", DigestError::Shape),
            ("SHA256:00", DigestError::Algorithm),
            ("md5:d41d8cd98f00b204e9800998ecf8427e", DigestError::Algorithm),
            (upper.as_str(), DigestError::Hex),
        ] {
            assert_eq!(text.parse::<Digest>().expect_err(text), error, "{text}");
        }
        let traversal = format!("sha256:{}", "../".repeat(21) + "a");
        assert_eq!(traversal.parse::<Digest>(), Err(DigestError::Hex));
        assert!(matches!("sha256:00".parse::<Digest>(), Err(DigestError::Length { found: 2, .. })));
    }
}
