//! One node while its metrics are read, once a second.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::metrics;
use super::scrape::Source;
use crate::report::{Node, Point};

const EVERY: Duration = Duration::from_secs(1);
/// A read that takes longer counts as missed.
const LIMIT: Duration = Duration::from_millis(900);

#[derive(Debug)]
pub(super) struct Reader {
    tell: Sender<()>,
    thread: JoinHandle<Node>,
}

impl Reader {
    /// Begins to read, on a thread of its own.
    pub(super) fn start(source: Source, begun: Instant) -> std::io::Result<Self> {
        let (tell, told) = channel();
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || Series::new(&source).read(&source, begun, &told))?;
        Ok(Self { tell, thread })
    }

    /// What it used until now does not count. Does not wait for the reading.
    pub(super) fn mark(&self) {
        // A thread that has ended has nothing to be told.
        let _ = self.tell.send(());
    }

    /// Reads once more and ends; nothing if its thread has panicked.
    pub(super) fn stop(self) -> Option<Node> {
        drop(self.tell);
        self.thread.join().ok()
    }
}

/// A node's counter becomes a series. A counter that falls has begun anew, at 0.
#[derive(Debug)]
struct Series {
    node: Node,
    last: Option<(f64, f64)>,
    used: f64,
    marked: f64,
}

impl Series {
    fn new(source: &Source) -> Self {
        let node =
            Node { url: source.to_string(), cores: Vec::new(), utilisation: Vec::new(), cpu: 0.0, missed: 0 };
        Self { node, last: None, used: 0.0, marked: 0.0 }
    }

    fn read(mut self, source: &Source, begun: Instant, told: &Receiver<()>) -> Node {
        let mut next = Instant::now();
        loop {
            self.read_once(source, begun);
            // Reads that were too slow are not made up for.
            next = (next + EVERY).max(Instant::now());
            match told.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(()) => {
                    self.read_once(source, begun);
                    self.marked = self.used;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.read_once(source, begun);
        self.node.cpu = self.used - self.marked;
        self.node
    }

    fn read_once(&mut self, source: &Source, begun: Instant) {
        let found = source.fetch(LIMIT).ok().and_then(|text| metrics::node_cpu(&text));
        match found {
            Some(cpu) => self.take(begun.elapsed().as_secs_f64(), cpu),
            None => self.node.missed += 1,
        }
    }

    fn take(&mut self, at: f64, cpu: metrics::NodeCpu) {
        let Some((then, before)) = self.last.replace((at, cpu.seconds)) else { return };
        let used = if cpu.seconds >= before { cpu.seconds - before } else { cpu.seconds };
        self.used += used;
        // Two reads at once would say more of the clock's ticks than of the node.
        if at - then < 0.1 {
            return;
        }
        let cores = used / (at - then);
        self.node.cores.push(Point { at, value: cores });
        if let Some(had) = cpu.cores {
            self.node.utilisation.push(Point { at, value: cores / had });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_becomes_cores_and_goes_on_after_a_restart() {
        let source: Source = "http://127.0.0.1:1/metrics".parse().expect("valid");
        let mut series = Series::new(&source);
        for (at, seconds) in [(1.0, 10.0), (2.0, 10.5), (4.0, 12.5), (5.0, 0.25)] {
            series.take(at, metrics::NodeCpu { seconds, cores: Some(2.0) });
        }
        let values =
            |points: &[Point]| points.iter().map(|point| (point.at, point.value)).collect::<Vec<_>>();
        assert_eq!(values(&series.node.cores), [(2.0, 0.5), (4.0, 1.0), (5.0, 0.25)]);
        assert_eq!(values(&series.node.utilisation), [(2.0, 0.25), (4.0, 0.5), (5.0, 0.125)]);
        assert_eq!(series.used, 2.75);
    }

    #[test]
    fn reads_that_fail_are_counted_and_end_in_time() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let source = format!("http://{}/metrics", listener.local_addr().expect("bound"));
        drop(listener);
        let reader = Reader::start(source.parse().expect("valid"), Instant::now()).expect("a thread");
        reader.mark();
        let node = reader.stop().expect("no panic");
        assert!(node.missed >= 2, "{node:?}");
        assert_eq!((node.cpu, node.cores.len()), (0.0, 0));
    }
}
