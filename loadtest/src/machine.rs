//! The machine that the load comes from, as the kernel describes it.

use std::fs;
use std::process::Command;

use crate::report::Machine;

/// Looks at this machine. What cannot be read is left empty.
pub(crate) fn look() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let kernel = [read("/proc/sys/kernel/ostype"), read("/proc/sys/kernel/osrelease")];
    Machine {
        cpu: cpu_model(&read("/proc/cpuinfo")).unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        cores: std::thread::available_parallelism().map_or(0, |cores| cores.get() as u32),
        memory: memory(&read("/proc/meminfo")).unwrap_or_default(),
        kernel: kernel.map(|part| part.trim().to_owned()).join(" ").trim().to_owned(),
        congestion_control: Congestion::look().to_string(),
        system: system(&read("/etc/os-release")).unwrap_or_default(),
    }
}

/// Which congestion control TCP has here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Congestion {
    /// Where a route does not say otherwise.
    default: String,
    /// What the routes to 127.0.0.0/8 and to 127.0.0.1 say, each.
    loopback: [Option<String>; 2],
}

impl Congestion {
    /// Looks at the setting and at the routes.
    pub(crate) fn look() -> Self {
        let default = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
        // Only netlink tells it, and ip speaks that. Without ip the default is all that is known.
        let routes = Command::new("ip").args(["-4", "route", "show", "table", "local"]).output();
        let routes = routes.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        Self::of(default.trim(), &routes.unwrap_or_default())
    }

    fn of(default: &str, routes: &str) -> Self {
        let loopback = ["local 127.0.0.0/8 ", "local 127.0.0.1 "].map(|route| congestion(routes, route));
        Self { default: default.to_owned(), loopback }
    }

    /// What connections over the loopback have, one after the other where that depends on the address.
    pub(crate) fn of_loopback(&self) -> Vec<&str> {
        let mut each: Vec<&str> =
            self.loopback.iter().map(|route| route.as_deref().unwrap_or(&self.default)).collect();
        each.dedup();
        each
    }
}

impl std::fmt::Display for Congestion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.default)?;
        let loopback = self.of_loopback();
        if loopback != [&self.default] {
            write!(f, " (loopback: {})", loopback.join(", 127.0.0.1: "))?;
        }
        Ok(())
    }
}

/// The `congctl` of one route, in what `ip route show table local` prints.
fn congestion(routes: &str, route: &str) -> Option<String> {
    let mut words = routes.lines().find(|line| line.starts_with(route))?.split_whitespace();
    // `congctl lock cubic` where the route does not let a socket choose another.
    words.by_ref().find(|word| *word == "congctl")?;
    words.find(|word| *word != "lock").map(str::to_owned)
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
}

fn system(os_release: &str) -> Option<String> {
    let line = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(line.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_congestion_control_of_the_loopback_is_that_of_its_routes() {
        let route =
            |range: &str, rest: &str| format!("local {range} dev lo proto kernel scope host {rest}\n");
        let check = |whole: &str, one: &str, loopback: &[&str], shown: &str| {
            let routes = format!("{}{}", route("127.0.0.0/8", whole), route("127.0.0.1", one));
            let congestion = Congestion::of("bbr", &routes);
            assert_eq!(congestion.of_loopback(), loopback, "{routes}");
            assert_eq!(congestion.to_string(), shown, "{routes}");
        };
        check("src 127.0.0.1", "src 127.0.0.1", &["bbr"], "bbr");
        check("congctl cubic", "congctl cubic", &["cubic"], "bbr (loopback: cubic)");
        check("congctl cubic", "", &["cubic", "bbr"], "bbr (loopback: cubic, 127.0.0.1: bbr)");
        check("", "congctl lock reno", &["bbr", "reno"], "bbr (loopback: bbr, 127.0.0.1: reno)");
    }

    #[test]
    fn a_machine_is_described_from_what_the_kernel_says() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: Fast CPU\n").as_deref(), Some("Fast CPU"));
        assert_eq!(memory("MemTotal:       2048 kB\n"), Some(2_097_152));
        assert_eq!(system("ID=debian\nPRETTY_NAME=\"Debian 12\"\n").as_deref(), Some("Debian 12"));
        let here = look();
        assert!(here.cores > 0 && here.memory > 0 && here.kernel.starts_with("Linux "), "{here:?}");
    }
}
