//! How each pull reads, as options.

use std::time::Duration;

use clap::Args;

use super::CLIENT;
use crate::plan::text::size;
use crate::plan::{Client, Ranges, Reading};

/// How each pull asks and reads.
#[derive(Debug, Args)]
#[command(next_help_heading = "How each pull reads")]
pub(super) struct ReadingOptions {
    /// The client whose requests, connections and retries are made
    #[arg(long, value_enum, default_value_t = CLIENT)]
    pub(super) client: Client,
    /// Do not hash bodies nor compare digests; plain HTTP bodies are dropped inside the kernel
    #[arg(long)]
    no_hash: bool,
    /// Read each body no faster than so many bytes a second, such as 1MiB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    read_rate: Option<u64>,
    /// Layers asked for at once [default: what the client does]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    layers: Option<u16>,
    /// Read each layer in chunks of so many bytes, several at once, as containerd from 2.1 on can
    #[arg(long, value_name = "SIZE", value_parser = bytes, conflicts_with = "ranges")]
    chunk: Option<u64>,
    /// Read of each layer only so many ranges of a size at random places, such as 16x64KiB, as lazy pulls do
    #[arg(long, value_name = "COUNTxSIZE", value_parser = ranges)]
    ranges: Option<Ranges>,
    /// A pull that takes longer has failed [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

impl ReadingOptions {
    pub(super) fn reading(&self) -> Reading {
        let default = Reading::default();
        Reading {
            hash: !self.no_hash,
            rate: self.read_rate,
            layers_at_once: self.layers,
            chunk: self.chunk,
            ranges: self.ranges,
            timeout: self.timeout.unwrap_or(default.timeout),
        }
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let bytes = size(text).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| format!("{text:?} is no size; one is a number of bytes such as 65536, 64KiB or 1MiB"))
}

fn ranges(text: &str) -> Result<Ranges, String> {
    let wanted = || format!("{text:?} is not COUNTxSIZE, such as 16x64KiB");
    let (count, size) = text.split_once(['x', 'X', '×', '*']).ok_or_else(wanted)?;
    let count = count.trim().parse().ok().filter(|count| *count > 0).ok_or_else(wanted)?;
    Ok(Ranges { count, size: bytes(size.trim()).map_err(|_| wanted())? })
}
