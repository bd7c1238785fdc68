//! What can be asked of the control plane, and what each request writes. Pure: a decision is made from a state and
//! says on which records it rests; whoever commits it has the store compare those.

mod moves;
mod names;
mod nodes;
mod plans;
mod registries;
mod restarts;
mod rules;
mod stamps;
mod sweep;

use dataproxy_router_api::{
    AccountName, Delivery, Epoch, NodeName, NodeReport, Placement, PullPolicy, RegistryHost, RegistryName,
    StampName, StampState,
};
use serde::{Deserialize, Serialize};

use crate::migration::{Terms, UnixMillis};
use crate::record::{PolicyRecord, Record, SentRecord};
use crate::restart::{RestartTerms, Step};
use crate::state::State;

pub use plans::{MOVES_OF_A_PHASE, PlanVerb, Proposal, ProposedPhase, changes_since};

/// What an operator wants of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do", deny_unknown_fields)]
pub enum Wish {
    /// To serve.
    Uncordon,
    /// To serve what comes, without being sent anything.
    Cordon,
    /// To end its pulls, then itself.
    Drain {
        /// How long running pulls may take, in seconds.
        #[serde(default = "half_an_hour")]
        deadline_seconds: u32,
    },
}

fn half_an_hour() -> u32 {
    1800
}

/// A registry as an operator describes it: all but where it is bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrySpec {
    /// The stamp that a new registry is bound to. One that is bound moves by a move.
    pub home_stamp: StampName,
    /// Where its bytes lie.
    pub placement: Placement,
    /// Who may pull without a token.
    #[serde(default)]
    pub pull: PullPolicy,
    /// How its blobs reach clients.
    #[serde(default)]
    pub delivery: Delivery,
    /// Further names of it.
    #[serde(default)]
    pub hosts: Vec<RegistryHost>,
}

/// A request that changes something.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Make a stamp, or change what it has and takes on.
    PutStamp {
        /// Its name.
        name: StampName,
        /// Its storage accounts; those that it has, if absent.
        accounts: Option<Vec<AccountName>>,
        /// What it takes on; what it does, if absent.
        state: Option<StampState>,
    },
    /// Bind a new registry, or change all of it but its home.
    PutRegistry {
        /// Its name.
        registry: RegistryName,
        /// What it is.
        spec: RegistrySpec,
        /// The epoch that the caller has seen; any if absent.
        if_epoch: Option<Epoch>,
    },
    /// Forget a registry. Its bytes stay where they are.
    RemoveRegistry {
        /// Its name.
        registry: RegistryName,
        /// The epoch that the caller has seen; any if absent.
        if_epoch: Option<Epoch>,
    },
    /// Move a registry to another stamp.
    Move {
        /// Its name.
        registry: RegistryName,
        /// Where to.
        to: StampName,
        /// The epoch that the caller has seen; any if absent.
        if_epoch: Option<Epoch>,
        /// Its times.
        terms: Terms,
    },
    /// Do something with a move.
    Steer {
        /// Its id.
        id: String,
        /// What.
        verb: Verb,
    },
    /// Restart a stamp, node after node.
    Restart {
        /// Its name.
        stamp: StampName,
        /// How.
        terms: RestartTerms,
    },
    /// Do something with the restart of a stamp.
    SteerRestart {
        /// Its name.
        stamp: StampName,
        /// What.
        verb: RestartVerb,
    },
    /// Ask something of a node.
    Node {
        /// Its name.
        name: NodeName,
        /// What.
        wish: Wish,
    },
    /// Forget a node that is gone.
    ForgetNode {
        /// Its name.
        name: NodeName,
    },
    /// Take in what a node says of itself.
    Reported(Box<NodeReport>),
    /// A node has been silent for too long.
    Silent {
        /// Its name.
        name: NodeName,
    },
    /// Have nodes forget something.
    Purge {
        /// The registry.
        registry: RegistryName,
        /// The repository, if not all.
        repository: Option<String>,
        /// The digest, if not all.
        digest: Option<String>,
    },
    /// Hand a plan in for review.
    Propose(Box<Proposal>),
    /// Do something with a plan.
    Plan {
        /// Its id.
        id: String,
        /// What.
        verb: PlanVerb,
    },
    /// Have a registry stay where it is, or not any more.
    Pin {
        /// The registry.
        registry: RegistryName,
        /// Whether it stays.
        stays: bool,
    },
    /// Let no move begin, or let them begin again.
    Freeze {
        /// Whether it holds.
        holds: bool,
        /// Until when; until it is lifted, if absent.
        until: Option<UnixMillis>,
    },
    /// Set the rules of planning and carrying out.
    PutPolicy(Box<PolicyRecord>),
    /// Write to the outbox of names, as the leader does.
    Names {
        /// What was sent, or is to be.
        records: Vec<SentRecord>,
    },
    /// Let go of what has had its time.
    Sweep,
}

/// What can be done with a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Take no step until it is resumed.
    Pause,
    /// Go on.
    Resume,
    /// Give it up, before the switch.
    Abort,
    /// Take the registry back, before the end.
    Rollback,
    /// Make it final now.
    Finish,
    /// Take the step that is due: the leader alone does.
    Step(crate::migration::Progress),
}

/// What can be done with the restart of a stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestartVerb {
    /// Take no step until it is resumed.
    Pause,
    /// Go on.
    Resume,
    /// Give it up. Nodes that drain come back; no other is asked.
    Abort,
    /// Take the step that is due: the leader alone does.
    Step(Step),
}

/// Who asks, why, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occasion {
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When.
    pub now: UnixMillis,
}

/// What a request comes to.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Decision {
    /// What is written. Nothing, if all is as it was asked to be.
    pub puts: Vec<Record>,
    /// Keys that are deleted.
    pub deletes: Vec<String>,
    /// Keys that it rests on beside those it writes: none of them may have changed meanwhile.
    pub rests_on: Vec<String>,
    /// What was done, for the audit: a verb and what it was done to.
    pub done: String,
    /// The migration that it is about.
    pub migration: Option<String>,
}

/// Why a request is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind.
    pub kind: RefusalKind,
    /// The rule, as a stable word.
    pub rule: &'static str,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// The kinds of refusals, by what the caller can do about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// There is no such thing.
    NotFound,
    /// It does not go together with what is there now.
    Conflict,
    /// It makes no sense, whatever is there.
    Invalid,
}

impl Refusal {
    fn not_found(rule: &'static str, message: String) -> Self {
        Self { kind: RefusalKind::NotFound, rule, message }
    }

    fn conflict(rule: &'static str, message: String) -> Self {
        Self { kind: RefusalKind::Conflict, rule, message }
    }

    fn invalid(rule: &'static str, message: String) -> Self {
        Self { kind: RefusalKind::Invalid, rule, message }
    }
}

impl Decision {
    /// All is as it was asked to be.
    fn nothing(done: impl Into<String>) -> Self {
        Self { done: done.into(), ..Self::default() }
    }

    fn put(record: Record, done: impl Into<String>) -> Self {
        Self { puts: vec![record], done: done.into(), ..Self::default() }
    }

    fn resting_on(mut self, key: String) -> Self {
        self.rests_on.push(key);
        self
    }

    fn about(mut self, migration: impl Into<String>) -> Self {
        self.migration = Some(migration.into());
        self
    }

    /// Whether it changes nothing.
    pub fn is_nothing(&self) -> bool {
        self.puts.is_empty() && self.deletes.is_empty()
    }
}

/// What a request comes to in a state.
///
/// # Errors
/// [`Refusal`]; nothing is to be written then.
pub fn decide(state: &State, command: &Command, occasion: &Occasion) -> Result<Decision, Refusal> {
    match command {
        Command::PutStamp { name, accounts, state: wanted } => {
            stamps::put(state, name, accounts.as_deref(), *wanted)
        }
        Command::PutRegistry { registry, spec, if_epoch } => {
            registries::put(state, registry, spec, *if_epoch)
        }
        Command::RemoveRegistry { registry, if_epoch } => registries::remove(state, registry, *if_epoch),
        Command::Purge { registry, repository, digest } => {
            registries::purge(state, registry, repository.as_deref(), digest.as_deref(), occasion.now)
        }
        Command::Move { registry, to, if_epoch, terms } => {
            moves::begin(state, registry, to, *if_epoch, *terms, occasion)
        }
        Command::Steer { id, verb } => moves::steer(state, id, verb, occasion),
        Command::Restart { stamp, terms } => restarts::begin(state, stamp, *terms, occasion),
        Command::SteerRestart { stamp, verb } => restarts::steer(state, stamp, verb, occasion),
        Command::Node { name, wish } => nodes::wish(state, name, *wish),
        Command::ForgetNode { name } => nodes::forget(state, name),
        Command::Reported(report) => nodes::reported(state, report),
        Command::Silent { name } => nodes::silent(state, name),
        Command::Propose(proposal) => plans::propose(state, proposal, occasion),
        Command::Plan { id, verb } => plans::steer(state, id, verb, occasion),
        Command::Pin { registry, stays } => rules::pin(state, registry, *stays, occasion),
        Command::Freeze { holds, until } => rules::freeze(state, *holds, *until, occasion),
        Command::PutPolicy(policy) => rules::put_policy(state, policy),
        Command::Names { records } => names::put(state, records),
        Command::Sweep => Ok(sweep::sweep(state, occasion.now)),
    }
}

/// Refuses a caller that has seen another epoch than there is.
fn fenced(registry: &RegistryName, seen: Option<Epoch>, is: Epoch) -> Result<(), Refusal> {
    match seen {
        Some(seen) if seen != is => Err(Refusal::conflict(
            "epoch",
            format!(
                "registry {registry} has epoch {is}, and the request is for epoch {seen}; look again, and ask for what is there"
            ),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
