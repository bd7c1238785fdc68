//! One process as `/proc/PID/stat` shows it (proc_pid_stat(5)).

use std::io;

/// A process, told from a later one that was given the same number by when it started.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Identity {
    pub(super) pid: u32,
    /// Clock ticks after the boot.
    pub(super) started: u64,
}

/// User and system time, in clock ticks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Ticks {
    pub(super) user: u64,
    pub(super) system: u64,
}

/// What is read of a process at one time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stat {
    pub(super) identity: Identity,
    pub(super) parent: u32,
    /// Of all its threads, those that ended included.
    pub(super) own: Ticks,
    /// Of children that have ended and that it has waited for, and of theirs.
    pub(super) waited: Ticks,
    pub(super) resident_pages: u64,
}

impl Ticks {
    pub(super) fn plus(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }

    pub(super) fn less(self, other: Self) -> Self {
        Self { user: self.user.saturating_sub(other.user), system: self.system.saturating_sub(other.system) }
    }
}

impl Stat {
    /// Its own time and that of its ended children.
    pub(super) fn total(&self) -> Ticks {
        self.own.plus(self.waited)
    }
}

/// One process, or nothing if there is none of that number.
pub(super) fn read(pid: u32) -> io::Result<Option<Stat>> {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // A process may end between the opening of the file and its reading: ESRCH.
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(3) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Every process of the machine.
pub(super) fn all() -> io::Result<Vec<Stat>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        found.extend(read(pid)?);
    }
    Ok(found)
}

/// The fields after the name, which may hold blanks and brackets of its own.
fn parse(text: &str) -> Option<Stat> {
    let (head, tail) = text.rsplit_once(')')?;
    let pid = head.split_once(' ')?.0.parse().ok()?;
    // The first of them is the third of the manual page.
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        identity: Identity { pid, started: number(22)? },
        parent: fields.get(1)?.parse().ok()?,
        own: Ticks { user: number(14)?, system: number(15)? },
        waited: Ticks { user: number(16)?, system: number(17)? },
        resident_pages: number(24)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_name_has_blanks_and_brackets_is_read() {
        let text = "4211 (a) b (c)) S 17 4211 4211 0 -1 4194560 1 2 3 4 50 60 70 80 20 0 3 0 912345 1000 256 18446744073709551615 1\n";
        let stat = parse(text).expect("a process");
        assert_eq!(stat.identity, Identity { pid: 4211, started: 912_345 });
        assert_eq!((stat.parent, stat.resident_pages), (17, 256));
        assert_eq!(stat.own, Ticks { user: 50, system: 60 });
        assert_eq!(stat.waited, Ticks { user: 70, system: 80 });
        assert_eq!(parse("4211 (cut"), None);
        assert_eq!(parse("4211 (short) S 17"), None);
    }

    #[test]
    fn this_process_is_found_and_one_that_cannot_be_is_not() {
        let own = read(std::process::id()).expect("readable").expect("it runs");
        assert!(own.resident_pages > 0);
        assert!(all().expect("readable").iter().any(|stat| stat.identity == own.identity));
        assert_eq!(read(u32::MAX).expect("readable"), None);
    }
}
