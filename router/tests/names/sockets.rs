//! What bad clients can do to the sockets, which is nothing to the others.

use std::time::{Duration, Instant};

use dataproxy_router::dns::Bounds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::region::{Served, snapshot};

/// Asks for the addresses of contoso.registry.test.
const QUESTION: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\
    \x07contoso\x08registry\x04test\x00\x00\x01\x00\x01";
const LIMIT: Duration = Duration::from_secs(10);

async fn by_udp(served: &Served, message: &[u8], wait: Duration) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    socket.send_to(message, served.address).await.expect("sent");
    let mut answer = vec![0; 4096];
    let (length, _) = timeout(wait, socket.recv_from(&mut answer)).await.ok()?.expect("received");
    answer.truncate(length);
    Some(answer)
}

async fn connect(served: &Served) -> TcpStream {
    let stream = TcpStream::connect(served.address).await.expect("connected");
    stream.set_nodelay(true).expect("set");
    stream
}

async fn by_tcp(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    stream.write_u16(QUESTION.len() as u16).await?;
    stream.write_all(QUESTION).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn is_right(answer: &[u8]) -> bool {
    // The id, a response, no error, two answers.
    answer[..2] == [0x12, 0x34] && answer[2] & 0x80 != 0 && answer[3] & 0x0f == 0 && answer[7] == 2
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_datagrams_do_not_keep_others_from_their_answers() {
    let served = Served::start(&snapshot(1, "a", 2), Bounds::default()).await;
    let malformed: [&[u8]; 5] = [
        b"",
        b"x",
        &QUESTION[..20],
        &[0xff; 600],
        b"\x12\x34\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xc0\x0c",
    ];
    for message in malformed {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
        socket.send_to(message, served.address).await.expect("sent");
        let answer = by_udp(&served, QUESTION, LIMIT).await.expect("an answer");
        assert!(is_right(&answer), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_serves_many_questions_and_ends_after_an_answer_that_is_asked() {
    let served = Served::start(&snapshot(1, "a", 2), Bounds::default()).await;
    let mut stream = connect(&served).await;
    for _ in 0..100 {
        let answer = timeout(LIMIT, by_tcp(&mut stream)).await.expect("in time").expect("an answer");
        assert!(is_right(&answer));
    }
    // Two questions in pieces, before either is answered.
    let framed = [&(QUESTION.len() as u16).to_be_bytes()[..], QUESTION].concat();
    for byte in [&framed[..], &framed].concat() {
        stream.write_all(&[byte]).await.expect("written");
    }
    for _ in 0..2 {
        let mut answer = vec![0; stream.read_u16().await.expect("an answer").into()];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert!(is_right(&answer));
    }
    let mut response = framed;
    response[4] |= 0x80;
    stream.write_all(&response).await.expect("written");
    let end = timeout(LIMIT, stream.read(&mut [0])).await.expect("in time");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_bounded_in_number_and_time_and_udp_does_not_mind() {
    let bounds = Bounds { connections: 2, idle: Duration::from_millis(500) };
    let served = Served::start(&snapshot(1, "a", 2), bounds).await;
    let begun = Instant::now();
    let mut idle = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(&served).await;
        // Half a length, and then nothing.
        stream.write_all(&[0]).await.expect("written");
        idle.push(stream);
    }
    let mut next = connect(&served).await;
    assert!(is_right(&by_udp(&served, QUESTION, LIMIT).await.expect("an answer")));
    let answer = timeout(LIMIT, by_tcp(&mut next)).await.expect("in time").expect("an answer");
    assert!(is_right(&answer));
    assert!(begun.elapsed() >= bounds.idle, "it had to wait for a place: {:?}", begun.elapsed());
    for mut stream in idle {
        let end = timeout(LIMIT, stream.read(&mut [0])).await.expect("cut in time");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}
