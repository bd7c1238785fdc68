//! What is asked of a node: to serve, to stay out of rotation, or to end; and by whom.

use std::time::Duration;

use dataproxy_router_api::{Incarnation, Intent};

/// What is asked of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// To serve and to be sent pulls.
    #[default]
    Serve,
    /// To serve without being sent pulls, until it is asked to serve again.
    Cordon,
    /// To end its pulls, then itself.
    Drain(Drain),
}

/// A drain as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long running pulls may go on, from now.
    pub deadline: Duration,
    /// How long the node goes on as before while routers notice that it is not ready; its own setting if `None`. No time at
    /// all is right where they know already.
    pub lame_duck: Option<Duration>,
}

impl Wish {
    /// What `intent`, as a router publishes it for this node, asks of the process of this `incarnation`: a drain that was
    /// meant for a process before it asks nothing.
    pub fn of(intent: &Intent, incarnation: Incarnation) -> Self {
        match *intent {
            Intent::Cordon => Self::Cordon,
            Intent::Drain { incarnation: meant, deadline_seconds } if meant == incarnation => {
                // The router has stopped sending traffic before it publishes the intent.
                let deadline = Duration::from_secs(deadline_seconds.into());
                Self::Drain(Drain { deadline, lame_duck: Some(Duration::ZERO) })
            }
            Intent::Serve | Intent::Drain { .. } => Self::Serve,
        }
    }

    /// The stable word for answers and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Cordon => "cordon",
            Self::Drain(_) => "drain",
        }
    }

    /// Of two wishes the one that asks for more: a drain before a cordon, and of two drains the shorter one.
    fn stronger(self, other: Self) -> Self {
        match (self, other) {
            (Self::Drain(one), Self::Drain(two)) if two.deadline < one.deadline => other,
            (Self::Drain(_), _) | (_, Self::Serve) => self,
            (_, Self::Drain(_)) | (Self::Serve, _) => other,
            (Self::Cordon, Self::Cordon) => self,
        }
    }
}

/// Who asks. Each has one standing wish; the strongest of them is in force, so that none undoes another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A signal or the control listener.
    Operator,
    /// The drain file.
    File,
    /// The router.
    Router,
}

impl Source {
    /// The stable word for answers and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::File => "file",
            Self::Router => "router",
        }
    }
}

/// The standing wishes of all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wishes([Wish; 3]);

impl Wishes {
    /// These, with `source`'s replaced.
    pub(super) fn with(mut self, source: Source, wish: Wish) -> Self {
        if let Some(of) = self.0.get_mut(source as usize) {
            *of = wish;
        }
        self
    }

    /// What `source` asks.
    pub(super) fn of(&self, source: Source) -> Wish {
        self.0.get(source as usize).copied().unwrap_or_default()
    }

    /// What is asked in sum.
    pub(super) fn strongest(&self) -> Wish {
        self.0.into_iter().fold(Wish::Serve, Wish::stronger)
    }

    /// Who else but `source` asks for more than to serve.
    pub(super) fn others(&self, source: Source) -> Option<Source> {
        [Source::Operator, Source::File, Source::Router]
            .into_iter()
            .find(|other| *other != source && self.0.get(*other as usize).is_some_and(|w| *w != Wish::Serve))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(seconds: u64) -> Wish {
        Wish::Drain(Drain { deadline: Duration::from_secs(seconds), lame_duck: None })
    }

    #[test]
    fn of_all_that_is_asked_the_strongest_is_in_force_and_taking_one_back_leaves_the_others() {
        let wishes = Wishes::default().with(Source::Router, Wish::Cordon).with(Source::Operator, drain(1800));
        assert_eq!(wishes.strongest(), drain(1800));
        let evicted = wishes.with(Source::File, drain(60));
        assert_eq!(evicted.strongest(), drain(60));
        let back = wishes.with(Source::Operator, Wish::Serve);
        assert_eq!((back.strongest(), back.others(Source::Operator)), (Wish::Cordon, Some(Source::Router)));
        assert_eq!(back.with(Source::Router, Wish::Serve).strongest(), Wish::Serve);
    }

    #[test]
    fn an_intent_asks_only_of_the_process_that_it_means() {
        let mine = Incarnation(7);
        let intent = |incarnation| Intent::Drain { incarnation, deadline_seconds: 60 };
        let moved = Drain { deadline: Duration::from_secs(60), lame_duck: Some(Duration::ZERO) };
        assert_eq!(Wish::of(&intent(mine), mine), Wish::Drain(moved));
        assert_eq!(Wish::of(&intent(Incarnation(6)), mine), Wish::Serve);
        assert_eq!(Wish::of(&Intent::Cordon, mine), Wish::Cordon);
        assert_eq!(Wish::of(&Intent::Serve, mine), Wish::Serve);
    }
}
