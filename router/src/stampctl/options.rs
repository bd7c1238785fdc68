//! The command line.

mod plans;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dataproxy_router_api::{AccountName, NodeName, RegistryName, StampName};
use serde_json::{Map, Value};

pub(super) use plans::{Explain, Freeze, MakePlan, Plan, Policy};

/// Asks the router of a region: shows stamps, nodes, registries and moves, and changes them.
#[derive(Debug, Parser)]
#[command(name = "stampctl", version, after_help = AFTER)]
pub(super) struct Options {
    /// The router's API.
    #[arg(
        long,
        global = true,
        env = "STAMPCTL_ROUTER",
        value_name = "URL",
        default_value = "http://127.0.0.1:7000"
    )]
    pub(super) router: String,
    /// File with the token to show, where the router asks for one.
    #[arg(long, global = true, env = "STAMPCTL_TOKEN_FILE", value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// File with the certificates of the authorities to believe, in PEM, instead of the system's.
    #[arg(long = "ca", alias = "ca-file", global = true, env = "STAMPCTL_CA_FILE", value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// How to show things.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
    /// Why a change is made. It is kept in the audit.
    #[arg(long, global = true, value_name = "TEXT", default_value = "")]
    pub(super) reason: String,
    /// Say what a change would do, and do nothing.
    #[arg(long, global = true)]
    pub(super) dry_run: bool,
    /// Change a registry only if its epoch is still this one.
    #[arg(long, global = true, value_name = "EPOCH")]
    pub(super) if_epoch: Option<u64>,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

const AFTER: &str = "\
Exit codes: 0 done, 1 the router could not be asked or failed, 2 wrong command line, 3 a rule is against it (the message
names the rule and what would be right; of several registries the others were moved), or a move that was watched is off.";

/// How to show things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show the router: region, revision, whether it leads.
    Status,
    /// Show which pools are hot: hot-node P95 with its interval, the hottest node, and who causes it.
    Top {
        /// Only pools of this role.
        #[arg(long, value_name = "ROLE", value_parser = ["all", "registry", "dataproxy"])]
        pool: Option<String>,
    },
    /// Stamps.
    #[command(subcommand)]
    Stamp(Stamp),
    /// Nodes.
    #[command(subcommand)]
    Node(Node),
    /// Registries.
    #[command(subcommand)]
    Registry(Registry),
    /// Moves of registries.
    #[command(subcommand)]
    Migration(Migration),
    /// Plans: moves in phases, reviewed before they are carried out.
    #[command(subcommand)]
    Plan(Plan),
    /// Explain why a stamp is hot, or why a registry would be moved or not.
    #[command(subcommand)]
    Explain(Explain),
    /// Carry out a plan that is approved.
    Apply {
        /// Its id.
        id: String,
        /// Its hash, as you have read it; asked of the router if absent.
        #[arg(long)]
        hash: Option<String>,
        /// Pause after this phase, counted from 1.
        #[arg(long, value_name = "PHASE")]
        until_phase: Option<usize>,
    },
    /// Let no move begin, or let them begin again.
    #[command(subcommand)]
    Freeze(Freeze),
    /// The rules of planning and of carrying out.
    #[command(subcommand)]
    Policy(Policy),
    /// Show who changed what on a day, and why.
    Audit {
        /// Any time of the day, in milliseconds since 1970 (UTC); today if absent.
        #[arg(long, value_name = "MILLISECONDS")]
        at: Option<u64>,
        #[command(subcommand)]
        verb: Option<Audit>,
    },
    /// Write everything that the router keeps, as a backup for `router restore`.
    Export,
    /// Play the planner against a model of regions whose truth is known, and judge it. Asks no router; takes minutes.
    Simulate(dataproxy_simulate::SimulateArgs),
}

/// The audit.
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Follow the chain from its end to its first line: whether every line is there and as it was.
    Verify,
}

/// Stamps.
#[derive(Debug, Subcommand)]
pub(super) enum Stamp {
    /// List them.
    Ls,
    /// Make one, or give it storage accounts.
    Create {
        /// Its name.
        name: StampName,
        /// Its storage accounts, all of them.
        #[arg(long = "account", value_name = "ACCOUNT")]
        accounts: Vec<AccountName>,
    },
    /// Let it get no more registries.
    Cordon {
        /// Its name.
        name: StampName,
    },
    /// Let it get registries again.
    Uncordon {
        /// Its name.
        name: StampName,
    },
    /// Move all its registries to another stamp, at once. It need not be alive for that.
    Evacuate {
        /// Its name.
        name: StampName,
        /// Where to.
        #[arg(long, value_name = "STAMP")]
        to: StampName,
        #[command(flatten)]
        terms: Terms,
    },
    /// Restart its nodes in turn, under its traffic: each drains and ends, and its supervisor starts it again. With
    /// `--watch` alone where one runs already: show how that goes on.
    Restart {
        /// Its name.
        name: StampName,
        /// Nodes that may be out of rotation at a time, for whatever reason [default: 1].
        #[arg(long, value_name = "NODES")]
        max_unavailable: Option<u32>,
        /// How long a node's running pulls may take before they are cut [default: 30m].
        #[arg(long, value_name = "TIME", value_parser = time)]
        deadline: Option<Duration>,
        /// How long a node may take to serve again, from its end on, before the restart pauses [default: 5m].
        #[arg(long, value_name = "TIME", value_parser = time)]
        back: Option<Duration>,
        /// How long a node serves again before the next one drains; no less than the TTL of DNS [default: 10s].
        #[arg(long, value_name = "TIME", value_parser = time)]
        settle: Option<Duration>,
        /// Show how it goes on, to its end.
        #[arg(long)]
        watch: bool,
        /// Pause the one that runs: no further node is asked to drain.
        #[arg(long, group = "steer", conflicts_with = "watch")]
        pause: bool,
        /// Let one that is paused go on; a node that was late has its whole time again.
        #[arg(long, group = "steer")]
        resume: bool,
        /// Give the one that runs up. A node that drains comes back; no other is asked.
        #[arg(long, group = "steer", conflicts_with = "watch")]
        abort: bool,
    },
    /// Show its last restart: what had its turn, what is awaited, what came about.
    ShowRestart {
        /// Its name.
        name: StampName,
    },
    /// End an empty stamp for good.
    Retire {
        /// Its name.
        name: StampName,
    },
}

/// Nodes.
#[derive(Debug, Subcommand)]
pub(super) enum Node {
    /// List them.
    Ls,
    /// Show one.
    Show {
        /// Its name.
        name: NodeName,
    },
    /// Let it serve what comes, and send it nothing new.
    Cordon {
        /// Its name.
        name: NodeName,
    },
    /// Send it traffic again.
    Uncordon {
        /// Its name.
        name: NodeName,
    },
    /// Let its pulls end, then itself.
    Drain {
        /// Its name.
        name: NodeName,
        /// How long pulls that run may take before they are cut, so that clients resume them elsewhere.
        #[arg(long, value_name = "TIME", default_value = "30m", value_parser = time)]
        deadline: Duration,
    },
    /// Take a node that is gone off the list.
    Forget {
        /// Its name.
        name: NodeName,
    },
}

/// Registries.
#[derive(Debug, Subcommand)]
pub(super) enum Registry {
    /// List them.
    Ls,
    /// Show one.
    Show {
        /// Its name.
        name: RegistryName,
    },
    /// Bind a new one to a stamp, or change where its content lies and who may pull.
    Bind {
        /// Its name.
        name: RegistryName,
        /// The stamp that serves it.
        #[arg(long, value_name = "STAMP")]
        to: StampName,
        /// The storage account that holds its content.
        #[arg(long)]
        account: AccountName,
        /// The container in it; as it is if absent, and named like the registry for a new one.
        #[arg(long)]
        container: Option<String>,
        /// What the names of its objects begin with; as it is if absent.
        #[arg(long)]
        prefix: Option<String>,
        /// Let anybody pull without a token.
        #[arg(long)]
        anonymous: bool,
    },
    /// Forget one. Its content stays where it is.
    Remove {
        /// Its name.
        name: RegistryName,
    },
    /// Move one to another stamp, while it is pulled from. Its content stays where it is.
    Move {
        /// Its name.
        name: RegistryName,
        /// Where to.
        #[arg(long, value_name = "STAMP")]
        to: StampName,
        #[command(flatten)]
        terms: Terms,
        /// Show how it goes on, to its end.
        #[arg(long)]
        watch: bool,
    },
    /// Let one stay where it is: no move and no plan takes it.
    Pin {
        /// Its name.
        name: RegistryName,
    },
    /// Let it be moved again.
    Unpin {
        /// Its name.
        name: RegistryName,
    },
    /// Have every node forget a registry, a repository or a digest within a second, so that storage is read anew.
    Purge {
        /// Its name.
        name: RegistryName,
        /// The repository; all of them if absent.
        #[arg(long)]
        repository: Option<String>,
        /// The digest; all of them if absent.
        #[arg(long)]
        digest: Option<String>,
    },
}

/// Moves.
#[derive(Debug, Subcommand)]
pub(super) enum Migration {
    /// List them, the newest first.
    Ls,
    /// Show one, with what it waits for.
    Show {
        /// Its id.
        id: String,
    },
    /// Show how one goes on, to its end.
    Watch {
        /// Its id.
        id: String,
    },
    /// Let it take no step until it is resumed.
    Pause {
        /// Its id.
        id: String,
    },
    /// Let it go on.
    Resume {
        /// Its id.
        id: String,
    },
    /// Give it up, before the switch.
    Abort {
        /// Its id.
        id: String,
    },
    /// Take the registry back, before the move is final.
    Rollback {
        /// Its id.
        id: String,
    },
    /// Make it final now.
    Finish {
        /// Its id.
        id: String,
    },
}

/// The times of a move.
#[derive(Args, Clone, Debug)]
pub(super) struct Terms {
    /// How long the destination may take to get ready before the move is given up [default: 2m].
    #[arg(long, value_name = "TIME", value_parser = time)]
    prepare: Option<Duration>,
    /// How long no pull may have begun at the source for it to count as quiet [default: 30s].
    #[arg(long, value_name = "TIME", value_parser = time)]
    quiet: Option<Duration>,
    /// How long the source may take to get quiet before the move goes on; nothing is cut then either [default: 15m].
    #[arg(long, value_name = "TIME", value_parser = time)]
    drain: Option<Duration>,
    /// How long the source can take the registry back [default: 24h].
    #[arg(long, value_name = "TIME", value_parser = time)]
    observe: Option<Duration>,
}

impl Terms {
    /// As the API takes them; what is not said is the router's to say.
    pub(super) fn json(&self) -> Value {
        let said = [
            ("prepare_seconds", self.prepare),
            ("quiet_seconds", self.quiet),
            ("drain_seconds", self.drain),
            ("observe_seconds", self.observe),
        ];
        let said =
            said.into_iter().filter_map(|(name, time)| Some((name.to_owned(), time?.as_secs().into())));
        Value::Object(said.collect::<Map<String, Value>>())
    }
}

/// A whole number of seconds, minutes or hours, as `30s`, `15m`, `24h`.
fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .ok()
        .filter(|time| time.subsec_nanos() == 0)
        .ok_or_else(|| format!("{text:?} is no time in whole seconds; 30s, 15m and 24h are"))
}
