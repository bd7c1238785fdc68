//! Ctrl-C: the first ends the run with a report of what was seen, the second ends the process.

use std::io;
use std::process::exit;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::drive::Stop;

/// What shells call a process that was ended by SIGINT.
const INTERRUPTED: i32 = 130;

/// Listens from now on until the process ends, on a thread of its own. SIGTERM counts as Ctrl-C.
///
/// # Errors
///
/// If there is no thread or no handler to be had.
pub(crate) fn listen(stop: Stop) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let inside = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(inside);
    let heard = AtomicU32::new(0);
    let body = move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if heard.fetch_add(1, Ordering::Relaxed) > 0 {
                    exit(INTERRUPTED);
                }
                stop.ask("it was interrupted; what was under way then is not counted");
            }
        });
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(body)?;
    Ok(())
}
