//! What goes out in place of stand-ins: a node's cache, hyper, the turns and a socket of this machine, and a client that
//! looks at every byte.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use dataproxy_cache::conformance::pattern;
use dataproxy_cache::fakes::FakeOrigin;
use dataproxy_cache::fault::DiskCall;
use dataproxy_cache::{
    Algorithm, BlobKey, Cache, CacheConfig, Digest, DiskConfig, ObjectName, Outcome, Piece, Scope, Source,
    Wanted,
};
use futures_util::TryStreamExt;
use http::{Request, Response, header};
use hyper::body::Incoming;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::accept::{Acceptor, Speaks, bind};
use crate::account::{Account, End, Record};
use crate::body::Body;
use crate::connection::Bounds;
use crate::connections::Connections;
use crate::lifecycle::{Lifecycle, State};
use crate::respond::Payload;
use crate::sendfile::Sendfile;
use crate::stand_in::StandIns;
use crate::stream::{self, Taker};
use crate::turns::Turns;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 9 * MIB + 12_345;
const PATIENCE: Duration = Duration::from_secs(20);

/// A server of one blob, all of it on disk, checked and in the page cache.
struct Server {
    addr: SocketAddr,
    cache: Cache,
    origin: Arc<FakeOrigin>,
    key: BlobKey,
    source: Source,
    content: Bytes,
    records: mpsc::UnboundedReceiver<Record>,
    /// Requests whose connection could send from files.
    could: Arc<AtomicUsize>,
    dir: TempDir,
    table: Arc<Connections>,
    life: Lifecycle,
}

fn bounds(sendfile: bool) -> Bounds {
    Bounds {
        header_bytes: 16 << 10,
        header_count: 64,
        write_quantum_bytes: 1 << 20,
        sendfile,
        tls_buffer_bytes: 256 << 10,
        first_byte_timeout: PATIENCE,
        idle_timeout: PATIENCE,
    }
}

/// The bytes that a request's `Range` asks for, in the one form that these tests use.
fn wanted(request: &Request<Incoming>) -> Wanted {
    let Some(range) = request.headers().get(header::RANGE) else { return Wanted::Whole };
    let (first, last) = range.to_str().unwrap().strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let first = first.parse().unwrap();
    last.parse().map_or(Wanted::From(first), |last| Wanted::Closed { first, last })
}

impl Server {
    async fn new() -> Self {
        Self::with(bounds(true)).await
    }

    async fn with(bounds: Bounds) -> Self {
        // On a disk: what is in a file system in memory cannot leave the page cache.
        let built = std::env::current_exe().unwrap();
        let dir = tempfile::tempdir_in(built.parent().unwrap()).unwrap();
        // No block of it stays in memory.
        let disk = DiskConfig { scrub_bytes_per_second: 0, ..DiskConfig::in_dir(dir.path()) };
        let config = CacheConfig { memory_bytes: MIB, disk: Some(disk), ..CacheConfig::default() };
        let cache = Cache::open(config).await.unwrap();
        let (origin, object, content) = (FakeOrigin::new(), ObjectName::new("blob"), pattern(SIZE as usize));
        origin.put(&object, content.clone());
        let key = BlobKey { scope: Scope::new("contoso"), digest: Digest::of(Algorithm::Sha256, &content) };
        let source = origin.source(&object);
        let (told, records) = mpsc::unbounded_channel();
        let could = Arc::<AtomicUsize>::default();
        let handler = {
            let could = Arc::clone(&could);
            let (cache, key, source) = (cache.clone(), key.clone(), source.clone());
            move |request: Request<Incoming>| {
                could.fetch_add(usize::from(request.extensions().get::<StandIns>().is_some()), Relaxed);
                let (cache, key, source, told) = (cache.clone(), key.clone(), source.clone(), told.clone());
                async move {
                    let wanted = wanted(&request);
                    let (parts, _) = request.into_parts();
                    let observer = Arc::new(move |record: &Record| drop(told.send(record.clone())));
                    let mut account = Account::open(&parts, "n1".parse().unwrap(), Some(observer));
                    let reader = cache.read(&key, &source, wanted).await.unwrap();
                    let length = reader.range().end - reader.range().start;
                    account.answered(http::StatusCode::OK, length);
                    let body = stream::body(Payload::Blob(Box::new(reader)), Taker::of(&parts), account);
                    let body = if parts.method == http::Method::HEAD { Body::Empty } else { body };
                    Response::builder().header(header::CONTENT_LENGTH, length).body(body).unwrap()
                }
            }
        };
        let life = Lifecycle::default();
        life.advance(State::Ready);
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)), "listen.pull").unwrap();
        let addr = listener.local_addr().unwrap();
        // So that the kernel takes little of what a client has not read.
        rustix::net::sockopt::set_socket_send_buffer_size(&listener, 64 << 10).unwrap();
        let table = Arc::<Connections>::default();
        let acceptor = Acceptor::new(handler, bounds, 100, false, life.clone(), Arc::clone(&table));
        tokio::spawn(acceptor.accept(listener, Speaks::Plain));
        let server = Self { addr, cache, origin, key, source, content, records, could, dir, table, life };
        // What brings it checks nothing of it.
        server.read().await;
        let brought = async {
            while server.cache.stats().disk_complete == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, brought).await.expect("it is complete");
        server.read().await;
        server
    }

    /// Reads the blob past the connections.
    async fn read(&self) {
        let reader = self.cache.read(&self.key, &self.source, Wanted::Whole).await.unwrap();
        let read: Vec<Bytes> = reader.try_collect().await.unwrap();
        assert!(read.concat() == self.content);
    }

    /// How much of the blob the next reader is given as places in its file.
    async fn in_file(&self) -> u64 {
        let mut reader = self.cache.read(&self.key, &self.source, Wanted::Whole).await.unwrap();
        let mut bytes = 0;
        while let Some(piece) = std::future::poll_fn(|context| reader.poll_piece(context, MIB)).await {
            if let Piece::InFile(piece) = piece.unwrap() {
                bytes += piece.length() as u64;
            }
        }
        bytes
    }

    fn data_file(&self) -> Option<PathBuf> {
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else if entry.extension().is_some_and(|kind| kind == "data") {
                    return Some(entry);
                }
            }
        }
        None
    }

    async fn ask(&self, method: &str, range: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.addr).await.unwrap();
        ask(&mut client, method, range).await;
        client
    }
}

async fn ask(client: &mut TcpStream, method: &str, range: &str) {
    let range = if range.is_empty() { String::new() } else { format!("Range: bytes={range}\r\n") };
    client.write_all(format!("{method} / HTTP/1.1\r\nHost: x\r\n{range}\r\n").as_bytes()).await.unwrap();
}

/// The `Content-Length` of the next answer, which is read up to its body.
async fn head(client: &mut TcpStream) -> usize {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tokio::time::timeout(PATIENCE, client.read_u8()).await.expect("in time").unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap();
    length.parse().unwrap()
}

async fn answer(client: &mut TcpStream) -> Vec<u8> {
    let mut body = vec![0; head(client).await];
    tokio::time::timeout(PATIENCE, client.read_exact(&mut body)).await.expect("in time").unwrap();
    body
}

#[tokio::test]
async fn a_blob_that_is_sent_from_its_file_is_right_to_the_byte_whole_in_ranges_and_resumed() {
    let mut server = Server::new().await;
    assert_eq!(server.in_file().await, 9 * MIB, "it is sent from its file");
    // One connection for all, so that each answer begins where the one before ended.
    let mut client = server.ask("GET", "").await;
    assert!(answer(&mut client).await == server.content);
    let record = server.records.recv().await.unwrap();
    assert_eq!((record.end, record.sent, record.outcome), (End::Complete, SIZE, Some(Outcome::DiskHit)));
    assert!(record.first_byte.is_some());
    let ranges: &[(u64, u64)] = &[
        (0, SIZE - 1),
        (1, SIZE - 2),
        (4095, 4097),
        (MIB - 1, MIB),
        (MIB - 7, 3 * MIB + 11),
        (777, 777 + (128 << 10)),
        (5 * MIB + 3, SIZE - 1),
        (SIZE - 1, SIZE - 1),
        (9 * MIB, SIZE - 1),
    ];
    for (first, last) in ranges {
        ask(&mut client, "GET", &format!("{first}-{last}")).await;
        let body = answer(&mut client).await;
        assert!(body == server.content[*first as usize..=*last as usize], "{first}-{last}");
    }
    ask(&mut client, "HEAD", "").await;
    assert_eq!(head(&mut client).await as u64, SIZE);
    ask(&mut client, "GET", &format!("{}-", 2 * MIB + 5)).await;
    assert!(answer(&mut client).await == server.content[2 * MIB as usize + 5..], "after a HEAD");
}

#[tokio::test]
async fn requests_that_are_sent_ahead_are_answered_in_order_from_the_file() {
    let server = Server::new().await;
    let mut client = TcpStream::connect(server.addr).await.unwrap();
    for at in 0..8 {
        ask(&mut client, "GET", &format!("{}-{}", at * MIB + at, (at + 1) * MIB)).await;
    }
    for at in 0..8 {
        let right = &server.content[(at * MIB + at) as usize..=((at + 1) * MIB) as usize];
        assert!(answer(&mut client).await == right, "answer {at}");
    }
}

#[tokio::test]
async fn a_file_that_is_cut_short_after_its_piece_was_handed_over_ends_the_connection_there() {
    let server = Server::new().await;
    let mut reader = server.cache.read(&server.key, &server.source, Wanted::Whole).await.unwrap();
    let piece = std::future::poll_fn(|context| reader.poll_piece(context, MIB)).await.unwrap().unwrap();
    let Piece::InFile(piece) = piece else { panic!("it is in its file") };
    let stand_ins = StandIns::new(1 << 20).unwrap();
    let stood = stand_ins.put(piece, false).unwrap();
    let kept = 5000;
    File::options().write(true).open(server.data_file().unwrap()).unwrap().set_len(kept).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut connection = Sendfile::new(listener.accept().await.unwrap().0, Some(stand_ins));
    let error = connection.write_all(&stood).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    connection.shutdown().await.unwrap();
    let mut body = Vec::new();
    client.read_to_end(&mut body).await.expect("no reset");
    assert!(body == server.content[..kept as usize], "{} bytes", body.len());
}

#[tokio::test]
async fn a_file_that_is_cut_short_under_its_reader_gives_no_wrong_byte_and_no_loss_to_who_comes_next() {
    let server = Server::new().await;
    // A client that can take little, so that the most of the body is still to be sent.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut client = socket.connect(server.addr).await.unwrap();
    ask(&mut client, "GET", "").await;
    assert_eq!(head(&mut client).await as u64, SIZE);
    let file = File::options().write(true).open(server.data_file().unwrap()).unwrap();
    file.set_len(6 * MIB + 4321).unwrap();
    let mut body = Vec::new();
    let mut rest = client.take(SIZE);
    let read = rest.read_to_end(&mut body);
    tokio::time::timeout(PATIENCE, read).await.expect("in time").expect("no reset");
    assert!(body == server.content[..body.len()]);
    let mut client = server.ask("GET", "").await;
    assert!(answer(&mut client).await == server.content);
}

#[tokio::test]
async fn a_blob_that_is_dropped_while_it_is_sent_from_its_file_arrives_whole() {
    let server = Server::new().await;
    let mut client = server.ask("GET", "").await;
    assert_eq!(head(&mut client).await as u64, SIZE);
    server.cache.purge(&server.key.scope, None).await.unwrap();
    assert_eq!(server.data_file(), None, "its name is gone");
    let mut body = vec![0; SIZE as usize];
    tokio::time::timeout(PATIENCE, client.read_exact(&mut body)).await.expect("in time").unwrap();
    assert!(body == server.content);
}

#[test]
fn what_is_not_what_goes_out_next_stands_in_for_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::new().await;
        let stand_ins = StandIns::new(1 << 20).unwrap();
        let mut reader = server.cache.read(&server.key, &server.source, Wanted::Whole).await.unwrap();
        let mut stood = Vec::new();
        for _ in 0..2 {
            let piece =
                std::future::poll_fn(|context| reader.poll_piece(context, MIB)).await.unwrap().unwrap();
            let Piece::InFile(piece) = piece else { panic!("it is in its file") };
            stood.push(stand_ins.put(piece, true).unwrap());
        }
        assert!(!stand_ins.holds(b"memory"));
        assert!(stood.iter().all(|bytes| stand_ins.holds(bytes) && bytes.iter().all(|byte| *byte == 0)));
        assert_eq!(stand_ins.meaning(&stood[0]).unwrap().1, 0);
        assert!(stand_ins.meaning(&stood[1]).is_none(), "its turn is not yet");
        assert!(stand_ins.meaning(&stood[0][1..]).is_none(), "a byte would be left out");
        stand_ins.sent(1000);
        assert!(stand_ins.meaning(&stood[0]).is_none(), "that was sent");
        assert_eq!(stand_ins.meaning(&stood[0][1000..]).unwrap().1, 1000);
        stand_ins.sent(stood[0].len() - 1000);
        assert_eq!(stand_ins.meaning(&stood[1][..7]).unwrap().1, MIB);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut connection = Sendfile::new(listener.accept().await.unwrap().0, Some(stand_ins));
        connection.write_all(&stood[0]).await.expect_err("the connection ends before a wrong byte");
    });
}

#[tokio::test]
async fn what_the_page_cache_has_lost_is_read_and_not_sent_from_the_file() {
    let server = Server::new().await;
    let file = File::open(server.data_file().unwrap()).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    // Reading ahead brings back what comes after the first block.
    assert!(server.in_file().await <= SIZE - MIB, "to send the first block would wait for the disk");
    let mut client = server.ask("GET", "").await;
    assert!(answer(&mut client).await == server.content);
    assert_eq!(server.in_file().await, 9 * MIB, "and it is there again");
}

#[tokio::test]
async fn what_the_page_cache_loses_inside_a_piece_is_read_again_and_no_thread_of_the_runtime_waits_for_it() {
    let server = Server::new().await;
    let mut reader = server.cache.read(&server.key, &server.source, Wanted::Whole).await.unwrap();
    let piece = std::future::poll_fn(|context| reader.poll_piece(context, MIB)).await.unwrap().unwrap();
    let Piece::InFile(piece) = piece else { panic!("it is in its file") };
    let stand_ins = StandIns::new(1 << 20).unwrap();
    let mut rest = stand_ins.put(piece, false).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut connection = Sendfile::new(listener.accept().await.unwrap().0, Some(stand_ins));
    let file = File::open(server.data_file().unwrap()).unwrap();
    file.sync_all().unwrap();
    let mut got = Vec::new();
    for lost in [false, true, false] {
        // The client takes its time, and all that it was sent.
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::time::resume();
        if lost {
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
        let part = rest.split_to(32 << 10);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let first = Pin::new(&mut connection).poll_write(&mut context, &part);
        assert_eq!(first.is_pending(), lost, "{first:?}: what is not at hand is waited for elsewhere");
        if lost {
            connection.write_all(&part).await.unwrap();
        }
        let mut taken = vec![0; part.len()];
        tokio::time::timeout(PATIENCE, client.read_exact(&mut taken)).await.expect("in time").unwrap();
        got.extend(taken);
    }
    assert!(got == server.content[..got.len()]);
}

#[tokio::test]
async fn a_disk_that_fails_costs_a_file_that_is_open_nothing_but_its_use() {
    let server = Server::new().await;
    server.cache.fail_disk(DiskCall::Read, Some(std::io::ErrorKind::Other));
    let requests = server.origin.requests();
    let mut client = server.ask("GET", "").await;
    assert!(answer(&mut client).await == server.content);
    assert!(server.origin.requests() > requests, "it came from storage");
    server.cache.fail_disk(DiskCall::Read, None);
}

#[tokio::test]
async fn a_client_that_stops_in_the_last_piece_from_a_file_is_in_flight_and_its_record_has_what_it_got() {
    let mut server = Server::new().await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut client = socket.connect(server.addr).await.unwrap();
    ask(&mut client, "GET", "").await;
    assert_eq!(head(&mut client).await as u64, SIZE);
    let mut body = vec![0; (SIZE - MIB / 2) as usize];
    tokio::time::timeout(PATIENCE, client.read_exact(&mut body)).await.expect("in time").unwrap();
    let counts = server.table.count();
    assert!(counts.responses == 1 && counts.bytes_left > 0, "{counts:?}");
    assert!(server.records.try_recv().is_err(), "it has not ended");
    server.life.advance(State::Cutting);
    let cut = async {
        while server.table.count().responses > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, cut).await.expect("it is cut");
    tokio::time::timeout(PATIENCE, client.read_to_end(&mut body)).await.expect("in time").expect("FIN");
    assert!(body == server.content[..body.len()]);
    let record = server.records.recv().await.unwrap();
    assert_eq!((record.end, record.sent), (End::Cut, body.len() as u64));
}

#[tokio::test]
async fn switched_off_no_byte_is_sent_from_a_file_and_all_of_them_are_right() {
    let server = Server::with(bounds(false)).await;
    let mut client = server.ask("GET", "").await;
    assert!(answer(&mut client).await == server.content);
    assert_eq!(server.could.load(Relaxed), 0);
}

#[tokio::test]
async fn clients_that_read_nothing_hold_up_nobody_and_one_thread_serves_all() {
    // A runtime of one thread: whoever held it would be seen.
    let server = Server::new().await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut client = server.ask("GET", "").await;
        assert_eq!(head(&mut client).await as u64, SIZE);
        slow.push(client);
    }
    let mut quick = server.ask("GET", "").await;
    assert!(answer(&mut quick).await == server.content);
    for client in &mut slow {
        let mut body = vec![0; SIZE as usize];
        tokio::time::timeout(PATIENCE, client.read_exact(&mut body)).await.expect("in time").unwrap();
        assert!(body == server.content, "late, and right");
    }
}

#[tokio::test]
async fn a_connection_that_sends_from_a_file_lets_others_have_their_turn_after_a_quantum() {
    let server = Server::new().await;
    let stand_ins = StandIns::new(1 << 20).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let connection = Sendfile::new(listener.accept().await.unwrap().0, Some(stand_ins.clone()));
    // It takes what comes as fast as it can.
    let client = std::thread::spawn(move || std::io::copy(&mut client, &mut std::io::sink()).unwrap());
    let table = Arc::<Connections>::default();
    let meter = Arc::clone(&table.enter(([127, 0, 0, 1], 1).into()).connection);
    let mut connection = Turns::new(connection, 1 << 20, meter, Arc::default());
    let mut reader = server.cache.read(&server.key, &server.source, Wanted::Whole).await.unwrap();
    let (mut sent, mut in_turn) = (0, 0);
    while let Some(piece) = std::future::poll_fn(|context| reader.poll_piece(context, MIB)).await {
        let Piece::InFile(piece) = piece.unwrap() else { break };
        let mut rest = stand_ins.put(piece, true).unwrap();
        while !rest.is_empty() {
            let bytes = std::future::poll_fn(|context| {
                let written = Pin::new(&mut connection).poll_write(context, &rest);
                in_turn = if written.is_pending() { 0 } else { in_turn };
                written
            });
            let bytes = bytes.await.unwrap();
            in_turn += bytes as u64;
            sent += bytes as u64;
            rest = rest.slice(bytes..);
            assert!(in_turn <= 2 * MIB, "{in_turn} bytes in one turn");
        }
    }
    drop(connection);
    assert_eq!((sent, client.join().unwrap()), (9 * MIB, 9 * MIB));
}
