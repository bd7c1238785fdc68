//! Whether a client has acknowledged all that was sent to it, FIN included: read from the kernel's table of connections.
//!
//! `TCP_INFO` and `SIOCOUTQ` would tell the same of one socket, but no library offers either without `unsafe`. The table is
//! read for all who ask at a time, and only while a node ends.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// How old what was read may be. A large table, which takes longer to read, is read less often.
const AGE: Duration = Duration::from_millis(40);
const AGE_OF_READING: u32 = 10;

/// States in which our FIN has not been sent or not been acknowledged: ESTABLISHED, FIN_WAIT1, CLOSE_WAIT, LAST_ACK, CLOSING
/// (`include/net/tcp_states.h`).
const PENDING: [&str; 5] = ["01", "04", "08", "09", "0B"];

struct Table {
    read: Instant,
    good_for: Duration,
    /// The far ends of connections on which something is pending.
    pending: Arc<HashSet<SocketAddr>>,
}

static LAST: Mutex<Option<Table>> = Mutex::const_new(None);

/// Whether nothing is pending towards `peer`.
pub(super) async fn is_delivered(peer: SocketAddr) -> bool {
    let asked = Instant::now();
    let mut last = LAST.lock().await;
    let fresh = last.as_ref().filter(|table| asked < table.read + table.good_for);
    let pending = match fresh {
        Some(table) => Arc::clone(&table.pending),
        None => {
            let began = Instant::now();
            let Ok(pending) = tokio::task::spawn_blocking(read).await else { return false };
            let pending = Arc::new(pending);
            let good_for = AGE.max(began.elapsed() * AGE_OF_READING);
            *last = Some(Table { read: began, good_for, pending: Arc::clone(&pending) });
            pending
        }
    };
    drop(last);
    !pending.contains(&canonical(peer))
}

fn read() -> HashSet<SocketAddr> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    // A table that is not there has no connections.
    let text = tables.map(|table| std::fs::read_to_string(table).unwrap_or_default());
    text.iter().flat_map(|text| text.lines().filter_map(pending)).collect()
}

/// The far end of a connection on which something is pending, from its line: `sl local remote state …`, see proc(5).
fn pending(line: &str) -> Option<SocketAddr> {
    let mut fields = line.split_whitespace().skip(2);
    let (remote, state) = (fields.next()?, fields.next()?);
    if !PENDING.contains(&state) {
        return None;
    }
    let (ip, port) = remote.split_once(':')?;
    Some(canonical(SocketAddr::new(address(ip)?, u16::from_str_radix(port, 16).ok()?)))
}

/// An address as the kernel prints it: words of 32 bits, each in the machine's own order.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (at, octets) in octets.chunks_exact_mut(4).enumerate() {
                octets.copy_from_slice(&word(at * 8)?);
            }
            Some(IpAddr::from(Ipv6Addr::from(octets)))
        }
        _ => None,
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_line_of_the_kernels_table_names_whom_something_is_pending_for() {
        let v4 =
            "   1: 0101007F:1388 0100007F:D431 04 00000400:00000000 00:00000000 00000000     0        0 0 1";
        assert_eq!(pending(v4), Some("127.0.0.1:54321".parse().unwrap()));
        assert_eq!(pending(&v4.replace(" 04 ", " 05 ")), None, "FIN_WAIT2: all has arrived");
        let v6 = "   1: 00000000000000000000000001000000:1388 0000000000000000FFFF00000100007F:D431 01 0:0";
        assert_eq!(pending(v6), Some("127.0.0.1:54321".parse().unwrap()));
        let real =
            "   1: 00000000000000000000000001000000:1388 B80D01200000000000000000 01000000:D431 01 0:0";
        assert_eq!(pending(real), None, "no address");
        assert_eq!(pending("  sl  local_address rem_address   st tx_queue rx_queue"), None);
    }

    #[tokio::test]
    async fn what_a_client_has_not_read_is_pending_until_it_has() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, peer) = listener.accept().await.unwrap();
        let mut sent = 0;
        // Until neither side's buffer takes more.
        while let Ok(written) =
            tokio::time::timeout(Duration::from_millis(300), server.write(&[7; 64 << 10])).await
        {
            sent += written.unwrap();
        }
        server.shutdown().await.unwrap();
        assert!(!is_delivered(peer).await, "the client has read nothing of {sent} bytes");
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got.len(), sent);
        tokio::time::timeout(Duration::from_secs(10), async {
            while !is_delivered(peer).await {
                tokio::time::sleep(AGE).await;
            }
        })
        .await
        .expect("all of it has arrived");
    }
}
