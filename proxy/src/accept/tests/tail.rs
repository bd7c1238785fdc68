//! The last bytes of a response: hyper has them long before a slow client's socket does.

use http::header;
use tokio::io::AsyncRead;
use tokio::net::TcpSocket;

use super::tls::{Pair, wait};
use super::*;
use crate::account::{Account, End as Ended, Record};
use crate::respond::Payload;
use crate::stream::{self, Taker};
use crate::tls::Certificate;

/// A body that hyper takes in one piece, of which half a mebibyte is left when a client of [`Server::get`] stops reading.
const SIZE: usize = 3 << 19;
const LEFT: usize = 1 << 19;

struct Server {
    addr: SocketAddr,
    life: Lifecycle,
    table: Arc<Connections>,
    records: mpsc::UnboundedReceiver<Record>,
}

fn content() -> Bytes {
    (0..SIZE).map(|at| (at % 251) as u8).collect()
}

fn serve(speaks: Speaks) -> Server {
    let (told, records) = mpsc::unbounded_channel();
    let handler = move |request: Request<Incoming>| {
        let told = told.clone();
        async move {
            let (parts, _) = request.into_parts();
            let observer = Arc::new(move |record: &Record| drop(told.send(record.clone())));
            let mut account = Account::open(&parts, "n1".parse().unwrap(), Some(observer));
            account.answered(http::StatusCode::OK, SIZE as u64);
            let body = stream::body(Payload::Bytes(content()), Taker::of(&parts), account);
            Response::builder().header(header::CONTENT_LENGTH, SIZE).body(body).unwrap()
        }
    };
    let life = Lifecycle::new(Timers { cut_window: Duration::from_millis(100), ..Timers::default() });
    life.advance(State::Ready);
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)), "listen.pull").unwrap();
    // Its connections have it too: else the kernel would take all that is left.
    rustix::net::sockopt::set_socket_send_buffer_size(&listener, 16 << 10).unwrap();
    let addr = listener.local_addr().unwrap();
    let table = Arc::<Connections>::default();
    let acceptor = Acceptor::new(handler, bounds(), 100, false, life.clone(), Arc::clone(&table));
    tokio::spawn(acceptor.accept(listener, speaks));
    Server { addr, life, table, records }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        socket.connect(self.addr).await.unwrap()
    }

    /// Asks and reads all but [`LEFT`] of the body.
    async fn get(&self, client: &mut (impl AsyncRead + AsyncWriteExt + Unpin)) {
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        let mut body = vec![0; SIZE - LEFT];
        tokio::time::timeout(PATIENCE, client.read_exact(&mut body)).await.expect("in time").unwrap();
        assert!(body == content()[..SIZE - LEFT]);
    }

    /// A client stops in its last half mebibyte: it is in flight until it goes on, and then it is not.
    async fn stops_and_goes_on(mut self, client: &mut (impl AsyncRead + AsyncWriteExt + Unpin)) {
        self.get(client).await;
        let counts = self.table.count();
        assert_eq!((counts.busy, counts.responses, counts.idle), (1, 1, 0));
        let left = counts.bytes_left as usize;
        assert!(left > LEFT / 4 && left <= LEFT, "{left} bytes are left of {LEFT}");
        assert!(self.records.try_recv().is_err(), "it has not ended");
        let mut body = vec![0; LEFT];
        tokio::time::timeout(PATIENCE, client.read_exact(&mut body)).await.expect("in time").unwrap();
        assert!(body == content()[SIZE - LEFT..]);
        let record = self.records.recv().await.unwrap();
        assert_eq!((record.end, record.sent), (Ended::Complete, SIZE as u64));
        assert_eq!((self.table.count().responses, self.table.count().idle), (0, 1));
        self.get(client).await;
    }

    /// A client stops in its last half mebibyte and is cut: what it has got, and what its record says of that.
    async fn stops_and_is_cut(mut self, client: &mut (impl AsyncRead + AsyncWriteExt + Unpin)) -> (u64, u64) {
        self.get(client).await;
        self.life.advance(State::Cutting);
        wait("it is cut", || self.table.count().responses == 0).await;
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, client.read_to_end(&mut rest)).await.expect("in time").expect("FIN");
        assert!(rest.len() < LEFT && rest == content()[SIZE - LEFT..][..rest.len()], "{}", rest.len());
        let record = tokio::time::timeout(PATIENCE, self.records.recv()).await.expect("in time").unwrap();
        assert_eq!(record.end, Ended::Cut);
        ((SIZE - LEFT + rest.len()) as u64, record.sent)
    }
}

async fn tls() -> (Server, tokio_rustls::client::TlsStream<TcpStream>) {
    let pair = Pair::new();
    let trust = pair.issue();
    let (cert, key) = pair.paths();
    let config = Arc::new(Certificate::open(cert, key).unwrap()).server_config(false).unwrap();
    let server = serve(Speaks::Tls(Arc::new(config)));
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(trust));
    let client = connector.connect(name, server.connect().await).await.unwrap();
    (server, client)
}

#[tokio::test]
async fn a_client_that_stops_in_its_last_half_mebibyte_is_in_flight() {
    let server = serve(Speaks::Plain);
    let mut client = server.connect().await;
    server.stops_and_goes_on(&mut client).await;
    let (server, mut client) = tls().await;
    server.stops_and_goes_on(&mut client).await;
}

#[tokio::test]
async fn a_client_that_stops_in_its_last_half_mebibyte_is_cut_with_fin_and_its_record_has_what_it_got() {
    let server = serve(Speaks::Plain);
    let mut client = server.connect().await;
    let (got, told) = server.stops_and_is_cut(&mut client).await;
    assert_eq!(got, told);
    let (server, mut client) = tls().await;
    let (got, told) = server.stops_and_is_cut(&mut client).await;
    // Of records that are not full, and of tickets, more is told than got.
    assert!(told >= got && told - got <= got / 500 + 2048, "{got} bytes got and {told} told");
}
