//! Sizes of layers: one for all, a log-normal distribution, or those of a file.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use rand::{Rng, RngExt};
use rand_distr::{Distribution, LogNormal};

/// The smallest layer, bytes: a tar header, one block of content and the two blocks that end a tar.
pub const SMALLEST: u64 = 2048;

/// Where sizes come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Sizes {
    /// All the same.
    Fixed(u64),
    /// Log-normal, as layers of real registries nearly are: many small ones and a long tail.
    LogNormal {
        /// Half are smaller, bytes.
        median: u64,
        /// Standard deviation of the natural logarithm; 2.0 is what is seen of registries.
        sigma: f64,
        /// What is larger becomes this, bytes.
        most: u64,
    },
    /// Each of these is as likely.
    Observed(Vec<u64>),
}

/// A text that gives no sizes.
#[derive(Debug, thiserror::Error)]
pub enum SizesError {
    /// No size.
    #[error("{0:?} is no size: give bytes, or a number with KiB, MiB or GiB, such as 64MiB")]
    Size(String),
    /// Less than a tar needs.
    #[error("{0} bytes are too few for a layer: a tar needs at least {SMALLEST}")]
    Small(u64),
    /// No distribution.
    #[error(
        "{0:?} gives no sizes: give log-normal:MEDIAN:SIGMA[:MOST], such as log-normal:2MiB:2.0:1GiB, or a file with a size in each line"
    )]
    Distribution(String),
    /// A file that cannot be read.
    #[error("{}: {error}; give a file with a size in each line, or log-normal:MEDIAN:SIGMA[:MOST]", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A line that is no size.
    #[error("{} line {line}: {error}", path.display())]
    Line {
        /// Of which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        error: Box<SizesError>,
    },
    /// Nothing in it.
    #[error("{} holds no sizes: give a file with a size in each line", .0.display())]
    Empty(PathBuf),
}

/// Bytes from a text such as `16KiB`, `64 MiB`, `1GiB` or `4096`.
///
/// # Errors
/// If it is none, with what would be.
pub fn parse_size(text: &str) -> Result<u64, SizesError> {
    let wrong = || SizesError::Size(text.to_owned());
    let text = text.trim();
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)
}

fn layer_size(text: &str) -> Result<u64, SizesError> {
    let size = parse_size(text)?;
    if size < SMALLEST { Err(SizesError::Small(size)) } else { Ok(size) }
}

impl Sizes {
    /// The same for all.
    ///
    /// # Errors
    /// If it is no size, or too small for a tar.
    pub fn fixed(text: &str) -> Result<Self, SizesError> {
        layer_size(text).map(Self::Fixed)
    }

    /// A size by the distribution.
    pub(super) fn draw(&self, random: &mut impl Rng) -> u64 {
        match self {
            Self::Fixed(size) => *size,
            Self::LogNormal { median, sigma, most } => {
                // The parameters were looked at when they were read.
                let drawn = LogNormal::new((*median as f64).ln(), *sigma)
                    .map_or(*median as f64, |distribution| distribution.sample(random));
                // Whole blocks, so that the last digits of a logarithm cannot make another layer on another machine.
                ((drawn / 512.0).round() as u64).saturating_mul(512).clamp(SMALLEST, (*most).max(SMALLEST))
            }
            Self::Observed(sizes) => {
                let at = random.random_range(0..sizes.len().max(1));
                sizes.get(at).copied().unwrap_or(SMALLEST)
            }
        }
    }
}

impl FromStr for Sizes {
    type Err = SizesError;

    fn from_str(text: &str) -> Result<Self, SizesError> {
        let Some(parameters) = text.strip_prefix("log-normal") else { return observed(PathBuf::from(text)) };
        let wrong = || SizesError::Distribution(text.to_owned());
        let mut parts = parameters.strip_prefix(':').ok_or_else(wrong)?.split(':');
        let median = layer_size(parts.next().ok_or_else(wrong)?)?;
        let sigma: f64 = parts.next().and_then(|sigma| sigma.parse().ok()).ok_or_else(wrong)?;
        let most = parts.next().map_or(Ok(1 << 30), layer_size)?;
        if !sigma.is_finite() || sigma < 0.0 || parts.next().is_some() || most < median {
            return Err(wrong());
        }
        Ok(Self::LogNormal { median, sigma, most })
    }
}

fn observed(path: PathBuf) -> Result<Sizes, SizesError> {
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => return Err(SizesError::File { path, error }),
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let sizes = lines.map(|(at, line)| {
        let in_line = |error| SizesError::Line { path: path.clone(), line: at + 1, error: Box::new(error) };
        layer_size(line).map_err(in_line)
    });
    let sizes = sizes.collect::<Result<Vec<_>, _>>()?;
    if sizes.is_empty() { Err(SizesError::Empty(path)) } else { Ok(Sizes::Observed(sizes)) }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size} bytes"),
            Self::LogNormal { median, sigma, most } => {
                write!(f, "log-normal around {median} bytes, sigma {sigma}, at most {most} bytes")
            }
            Self::Observed(sizes) => write!(f, "drawn from {} sizes", sizes.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::layer;
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them_and_else_refused_with_how_to() {
        for (text, size) in [("4096", 4096), ("16KiB", 16 << 10), (" 64 MiB ", 64 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(parse_size(text).expect(text), size);
        }
        for text in ["", "MiB", "1.5MiB", "64MB", "-1", "99999999999999999999", "17179869184GiB"] {
            assert!(parse_size(text).expect_err(text).to_string().contains("64MiB"));
        }
        assert!(Sizes::fixed("1KiB").expect_err("too small").to_string().contains("at least 2048"));
    }

    #[test]
    fn a_log_normal_distribution_has_its_median_and_its_most() {
        let sizes: Sizes = "log-normal:2MiB:2.0:64MiB".parse().expect("valid");
        let mut random = layer::random(1, &[]);
        let mut drawn: Vec<u64> = (0..4001).map(|_| sizes.draw(&mut random)).collect();
        drawn.sort_unstable();
        let median = drawn[2000] as f64 / f64::from(2 << 20);
        assert!((0.8..1.25).contains(&median), "seed 1: {median} of the median that was asked for");
        assert_eq!(drawn[4000], 64 << 20);
        assert!(drawn[0] >= SMALLEST && drawn.iter().all(|size| size % 512 == 0));
    }

    #[test]
    fn a_distribution_that_is_none_is_refused_with_one_that_is() {
        for text in [
            "log-normal",
            "log-normal:2MiB",
            "log-normal:2MiB:x",
            "log-normal:2MiB:-1",
            "log-normal:2MiB:1:1MiB",
        ] {
            let error = text.parse::<Sizes>().expect_err(text).to_string();
            assert!(error.contains("log-normal:2MiB:2.0:1GiB"), "{text}: {error}");
        }
        let error = "no-such-file".parse::<Sizes>().expect_err("none").to_string();
        assert!(error.contains("no-such-file") && error.contains("log-normal"), "{error}");
    }

    #[test]
    fn sizes_of_a_file_are_all_drawn_and_a_wrong_line_is_named() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        writeln!(file, "4096\n\n1MiB").expect("space");
        let path = file.path().to_str().expect("text").to_owned();
        let sizes: Sizes = path.parse().expect("valid");
        let mut random = layer::random(1, &[]);
        let drawn: std::collections::BTreeSet<u64> = (0..64).map(|_| sizes.draw(&mut random)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [4096, 1 << 20]);
        writeln!(file, "12 apples").expect("space");
        let error = path.parse::<Sizes>().expect_err("apples").to_string();
        assert!(error.contains("line 4") && error.contains("12 apples"), "{error}");
    }
}
