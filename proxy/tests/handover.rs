//! A node whose sockets were bound by somebody else ends, another takes its place, and no client is refused.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;

mod harness;

use harness::{PATIENCE, Running, Setup, eventually, get};

/// Starts a node that listens on `socket`, as a service manager does.
fn start(setup: &Setup, socket: &TcpListener) -> Running {
    let log = std::fs::File::create(setup.path("log")).unwrap();
    let mut command = setup.command("serve");
    command
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDS_FIRST_FD", socket.as_raw_fd().to_string())
        .env("LISTEN_FDNAMES", "pull");
    let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let running = Running { child, log: setup.path("log") };
    eventually(&running.log, "ready", || {
        get(setup.admin, "/readyz").is_some_and(|ready| ready.status == 200)
    });
    running
}

/// One pull on a connection of its own.
fn pull_manifest(pull: SocketAddr) -> Result<(), String> {
    let mut stream = TcpStream::connect(pull).map_err(|error| format!("connect: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let text = "GET /v2/contoso/app/manifests/v1 HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n";
    stream.write_all(text.as_bytes()).map_err(|error| format!("write: {error}"))?;
    let mut got = Vec::new();
    stream.read_to_end(&mut got).map_err(|error| format!("read: {error} after {} bytes", got.len()))?;
    let text = String::from_utf8_lossy(&got).into_owned();
    if text.starts_with("HTTP/1.1 200 ") { Ok(()) } else { Err(format!("answered {text:?}")) }
}

#[test]
fn a_node_takes_the_place_of_another_on_the_same_socket_and_no_connect_is_refused() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    fcntl_setfd(socket.as_fd(), FdFlags::empty()).unwrap();
    let pull = socket.local_addr().unwrap();
    let (old, new) = (Setup::new(), Setup::new());
    let mut first = start(&old, &socket);
    let (stop, answered, failed) =
        (AtomicBool::new(false), AtomicUsize::new(0), Mutex::<Vec<String>>::default());
    // The last one outlives the clients.
    let _third = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    match pull_manifest(pull) {
                        Ok(()) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        Err(why) => failed.lock().unwrap().push(why),
                    }
                }
            });
        }
        let reaches = |count: usize| {
            eventually(&old.path("log"), "connects", || {
                std::thread::park_timeout(Duration::from_millis(5));
                answered.load(Ordering::Relaxed) >= count
            });
        };
        reaches(700);
        let mut second = start(&new, &socket);
        first.signal(Signal::TERM);
        let code = first.code();
        let at = answered.load(Ordering::Relaxed);
        reaches(at + 700);
        // And a gap in which nobody accepts: who connects waits.
        second.signal(Signal::TERM);
        let last = second.code();
        let third = start(&old, &socket);
        let at = answered.load(Ordering::Relaxed);
        reaches(at + 700);
        stop.store(true, Ordering::Relaxed);
        assert_eq!((code, last), (Some(0), Some(0)));
        third
    });
    let (answered, failed) = (answered.into_inner(), failed.into_inner().unwrap());
    println!("{answered} answered, {} failed", failed.len());
    assert!(answered >= 2_000, "{answered}");
    assert!(failed.is_empty(), "{failed:?}");
}
