//! What a stamp's nodes do for a registry. It follows from the binding alone, so that all nodes of a stamp agree.

use serde::{Deserialize, Serialize};

use crate::{Binding, Phase, StampName};

/// What a node does for one registry. A node that has a binding never refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServingState {
    /// Nothing has moved here or from here: a pull is served through if the placement can be read, else forwarded.
    Absent,
    /// The registry is to move here: pulls are served, and what was hot may be fetched ahead.
    Warming,
    /// This is the home stamp.
    Bound,
    /// The registry has moved away: what runs ends by itself, and connections end with their response.
    Draining,
    /// Who still comes has old DNS: served from what is held and what can be read.
    Late,
    /// The move was final a day ago and more: who still comes is passed on to the home stamp.
    Forwarding,
}

impl ServingState {
    /// What the nodes of `stamp` do under `binding`.
    pub fn of(binding: &Binding, stamp: &StampName) -> Self {
        if binding.home_stamp == *stamp {
            return Self::Bound;
        }
        if binding.destination.as_ref() == Some(stamp) {
            return Self::Warming;
        }
        match (&binding.source, binding.phase) {
            (Some(source), Phase::Draining) if source == stamp => Self::Draining,
            (Some(source), _) if source == stamp => Self::Late,
            _ => Self::Absent,
        }
    }

    /// The stable word for metrics and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Warming => "warming",
            Self::Bound => "bound",
            Self::Draining => "draining",
            Self::Late => "late",
            Self::Forwarding => "forwarding",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Placement;

    #[test]
    fn each_stamp_of_a_move_has_its_own_part() {
        let stamp = |name: &str| name.parse::<StampName>().unwrap();
        let placement = Placement::new("a1".parse().unwrap(), "contoso");
        let stable = Binding::new("contoso".parse().unwrap(), stamp("a"), placement);
        let preparing = Binding { phase: Phase::Preparing, destination: Some(stamp("b")), ..stable.clone() };
        let switched =
            |phase| Binding { home_stamp: stamp("b"), source: Some(stamp("a")), phase, ..stable.clone() };
        for (binding, at_a, at_b, at_c) in [
            (&stable, ServingState::Bound, ServingState::Absent, ServingState::Absent),
            (&preparing, ServingState::Bound, ServingState::Warming, ServingState::Absent),
            (&switched(Phase::Draining), ServingState::Draining, ServingState::Bound, ServingState::Absent),
            (&switched(Phase::Observing), ServingState::Late, ServingState::Bound, ServingState::Absent),
            (&switched(Phase::Stable), ServingState::Late, ServingState::Bound, ServingState::Absent),
        ] {
            let seen = ["a", "b", "c"].map(|name| ServingState::of(binding, &stamp(name)));
            assert_eq!(seen, [at_a, at_b, at_c], "{binding:?}");
        }
    }
}
