//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use dataproxy_router_api::RegistryName;

use crate::topology::OFFSET_MAX;

/// Runs a whole region on this machine: a router, two stamps of two nodes each and a front door, over local storage
/// accounts with images to pull. Ctrl-C ends all of it.
#[derive(Debug, Parser)]
#[command(name = "region", version, args_conflicts_with_subcommands = true, after_help = AFTER)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: Run,
}

const AFTER: &str = "\
Which stamp serves a registry is the router's to say: `region stampctl registry move contoso --to b --watch` moves \
one while it is pulled from. DIR/bindings.json shows what the router last said.

Exit codes: 0 ended as asked, 1 failed, 2 wrong command line or a name that does not exist.";

/// Where the region lives.
#[derive(Args, Clone, Debug)]
pub(crate) struct DataDir {
    /// Folder of the region: accounts, bindings, caches, logs. Made by the first start.
    #[arg(long, value_name = "DIR", default_value = "./region-data")]
    pub(crate) data: PathBuf,
}

/// Options of a run.
#[derive(Args, Clone, Debug)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) dir: DataDir,
    /// DNS zone of the registries: contoso is also served under the host name contoso.ZONE.
    #[arg(long, default_value = "registry.test", value_parser = zone)]
    pub(crate) zone: String,
    /// Put no images into the registries.
    #[arg(long)]
    pub(crate) no_seed: bool,
    /// Hold the storage accounts in Azurite, the emulator of Azure Blob, instead of plain folders. It has to be on the
    /// PATH (`npm install -g azurite`) and listens on port 10000 of 127.0.0.1.
    #[arg(long)]
    pub(crate) azurite: bool,
    /// Length of a bin of CPU in seconds. With 1, hot-node P95 and plans are shown in minutes, over windows of
    /// 60 bins; anything but 60 is labelled scaled.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) bin_seconds: u32,
    /// Number that is added to every port: 5000 (pulls) and 9100 (readiness, metrics) of each address, 7000 (router),
    /// 5353 (DNS), 10000 (Azurite).
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=i64::from(OFFSET_MAX)))]
    pub(crate) port_offset: u16,
}

/// What else the binary does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put an image into a registry of the region, running or not.
    Import(Import),
    /// Run one node's own command line: `region dataproxy --help`.
    #[command(disable_help_flag = true)]
    Dataproxy {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Measure pulls, from this region or any other registry: `region loadtest --help`.
    #[command(disable_help_flag = true)]
    Loadtest {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Run a router's own command line: `region router --help`.
    #[command(disable_help_flag = true)]
    Router {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Ask the region's router, or another: `region stampctl --help`.
    #[command(disable_help_flag = true)]
    Stampctl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Be the router of a region, and end when the region does.
    #[command(hide = true)]
    Control {
        #[arg(long)]
        config: PathBuf,
    },
    /// Be a node of a region, and end when the region does.
    #[command(hide = true)]
    Node {
        #[arg(long)]
        config: PathBuf,
    },
}

/// Options of an import.
#[derive(Args, Clone, Debug)]
pub(crate) struct Import {
    /// An OCI layout folder, or a tar archive (plain or gzip) of an OCI layout or from `docker save`.
    pub(crate) path: PathBuf,
    /// Where the image goes, such as contoso/team/app:v1.
    #[arg(value_name = "REGISTRY/REPOSITORY:TAG")]
    pub(crate) reference: String,
    /// The image to take, where the source holds several: its name, tag or digest.
    #[arg(long, value_name = "NAME")]
    pub(crate) image: Option<String>,
    #[command(flatten)]
    pub(crate) dir: DataDir,
}

fn zone(text: &str) -> Result<String, String> {
    let is_label = |label: &str| label.parse::<RegistryName>().is_ok();
    if text.len() <= 253 && text.split('.').all(is_label) {
        return Ok(text.to_owned());
    }
    Err("labels of a-z, 0-9 and '-' joined by '.' are allowed, such as registry.test".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn a_bare_start_runs_the_region_with_its_defaults() {
        let options = parse("region").expect("valid");
        assert!(options.command.is_none());
        assert_eq!(options.run.dir.data, PathBuf::from("./region-data"));
        assert_eq!((options.run.zone.as_str(), options.run.port_offset), ("registry.test", 0));
    }

    #[test]
    fn what_follows_dataproxy_or_loadtest_is_passed_on_untouched() {
        let options = parse("region dataproxy serve --config x --help").expect("valid");
        let Some(Command::Dataproxy { arguments }) = options.command else { panic!("{options:?}") };
        assert_eq!(arguments, ["serve", "--config", "x", "--help"]);
        let options = parse("region dataproxy --version").expect("valid");
        let Some(Command::Dataproxy { arguments }) = options.command else { panic!("{options:?}") };
        assert_eq!(arguments, ["--version"]);
        let options = parse("region loadtest pull --help x").expect("valid");
        let Some(Command::Loadtest { arguments }) = options.command else { panic!("{options:?}") };
        assert_eq!(arguments, ["pull", "--help", "x"]);
    }

    #[test]
    fn values_that_cannot_be_are_refused_with_what_can() {
        for (line, reason) in [
            ("region --port-offset 55536", "0..=55535"),
            ("region --zone Registry_Test", "such as registry.test"),
            ("region --zone a..b", "joined by '.'"),
            ("region import x", "REGISTRY/REPOSITORY:TAG"),
        ] {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }
}
