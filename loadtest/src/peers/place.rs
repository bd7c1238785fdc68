//! Where and how urgently processes run.

use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Cores for the servers and for the load.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Places {
    pub(super) server: usize,
    pub(super) client: usize,
}

impl Places {
    /// The first core that this process may use for the servers, the second for the load.
    pub(super) fn of_this_process() -> std::io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let server = cores.next().unwrap_or_default();
        Ok(Self { server, client: cores.next().unwrap_or(server) })
    }

    /// Whether servers and load have to share one core, which spoils every figure but the ratios of CPU.
    pub(super) fn shared(&self) -> bool {
        self.server == self.client
    }
}

/// Binds this thread, and what it starts, to one core.
pub(super) fn bind(core: usize) -> std::io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Puts this thread, and what it starts, before or after others: -20 (first) to 19. Below 0 needs CAP_SYS_NICE.
pub(super) fn nice(priority: i32) -> std::io::Result<()> {
    Ok(setpriority_process(None, priority)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_thread_may_use_its_one_core_and_another_thread_all_that_it_had() {
        let places = Places::of_this_process().expect("Linux");
        let before = sched_getaffinity(None).expect("Linux").count();
        std::thread::spawn(move || {
            bind(places.client).expect("allowed");
            let allowed = sched_getaffinity(None).expect("Linux");
            assert!(allowed.count() == 1 && allowed.is_set(places.client));
            nice(1).expect("less urgent is always allowed");
        })
        .join()
        .expect("no panic");
        assert_eq!(sched_getaffinity(None).expect("Linux").count(), before);
    }
}
