//! Congestion control of loopback. Where the machine's default is BBR, its pacing timers cost a sender on loopback several
//! times what the sending itself does: nginx took 0.35 to 0.40 s of CPU per GiB under BBR and 0.12 under cubic.

use std::process::Command;

use crate::machine::Congestion;

/// The two routes that traffic of 127.0.0.0/8 to itself may take.
const ROUTES: [&str; 2] = ["127.0.0.0/8", "127.0.0.1"];

/// What loopback uses; several where that depends on the address.
pub(super) fn of_loopback() -> String {
    Congestion::look().of_loopback().join(", ")
}

/// Whether figures taken under it are mostly timers.
pub(super) fn paces(control: &str) -> bool {
    control.contains("bbr")
}

/// What to say of it.
pub(super) fn advice(control: &str) -> String {
    let lines: Vec<String> =
        ROUTES.iter().map(|route| format!("  ip {}", arguments(route, true).join(" "))).collect();
    format!(
        "loopback uses {control}, whose pacing timers cost the sender about three times the CPU of the sending: figures would be of \
         the timers. As root, --set-congestion cubic changes it for this run and puts it back, or by hand:\n{}",
        lines.join("\n")
    )
}

/// Loopback under cubic; put back to what it was when dropped.
#[derive(Debug)]
pub(super) struct Cubic {
    before: Vec<Vec<String>>,
}

impl Cubic {
    /// # Errors
    /// If `ip` cannot be run or refuses; nothing has changed then.
    pub(super) fn set() -> std::io::Result<Self> {
        let text = routes()?;
        let before = ROUTES.iter().map(|route| restoring(&text, route)).collect();
        // Dropped on an error below, it puts back what was changed.
        let cubic = Self { before };
        for route in ROUTES {
            ip(&arguments(route, true))?;
        }
        Ok(cubic)
    }
}

impl Drop for Cubic {
    fn drop(&mut self) {
        for arguments in &self.before {
            if let Err(error) = ip(arguments) {
                eprintln!(
                    "loadtest peers: the route of loopback was not put back (ip {}): {error}",
                    arguments.join(" ")
                );
            }
        }
    }
}

fn arguments(route: &str, cubic: bool) -> Vec<String> {
    let text =
        format!("route replace table local local {route} dev lo proto kernel scope host src 127.0.0.1");
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    if cubic {
        words.extend(["congctl", "cubic"].map(str::to_owned));
    }
    words
}

/// The command that makes a route what it is in `text`, its congestion control included.
fn restoring(text: &str, route: &str) -> Vec<String> {
    let mut words = arguments(route, false);
    if let Some(control) = of_route(text, route) {
        words.extend(["congctl".to_owned(), control]);
    }
    words
}

fn of_route(text: &str, route: &str) -> Option<String> {
    let line = text.lines().find(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("local") && words.next() == Some(route)
    })?;
    let mut words = line.split_whitespace().skip_while(|word| *word != "congctl").skip(1);
    // `congctl lock cubic` says that sockets may not choose another.
    words.find(|word| *word != "lock").map(str::to_owned)
}

fn routes() -> std::io::Result<String> {
    ip(&["route", "show", "table", "local", "dev", "lo"].map(str::to_owned))
}

fn ip(arguments: &[String]) -> std::io::Result<String> {
    let output = Command::new("ip").args(arguments).output()?;
    if !output.status.success() {
        return Err(std::io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "local 127.0.0.0/8 proto kernel scope host src 127.0.0.1\n\
                          local 127.0.0.1 proto kernel scope host src 127.0.0.1\n";
    const AFTER: &str = "local 127.0.0.0/8 proto kernel scope host src 127.0.0.1 congctl cubic \n\
                         local 127.0.0.1 proto kernel scope host src 127.0.0.1 congctl lock reno \n";

    #[test]
    fn a_route_is_put_back_as_it_was() {
        assert_eq!(of_route(BEFORE, "127.0.0.1"), None);
        assert_eq!(of_route(AFTER, "127.0.0.1").as_deref(), Some("reno"));
        assert!(!restoring(BEFORE, "127.0.0.1").contains(&"congctl".to_owned()));
        let words = restoring(AFTER, "127.0.0.0/8");
        assert_eq!(words.last().map(String::as_str), Some("cubic"));
        assert!(paces("bbr") && paces("cubic, bbr") && !paces("cubic"));
        assert!(advice("bbr").contains("127.0.0.0/8 dev lo") && advice("bbr").contains("congctl cubic"));
    }
}
