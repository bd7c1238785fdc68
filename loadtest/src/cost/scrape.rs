//! Fetching `/metrics`, in bounded time and size.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// More than any node says; an endless answer is cut here.
const MOST: usize = 16 << 20;

/// The address of a node's metrics, such as `http://127.0.1.1:9100/metrics`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    authority: String,
    host: String,
    port: u16,
    path: String,
}

/// Why metrics were not read.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// The text is no address of metrics.
    #[error("{text:?} is no address of metrics: {problem}; give one such as http://127.0.1.1:9100/metrics")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No connection, or it broke.
    #[error("{url} does not answer: {error}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What happened.
        error: io::Error,
    },
    /// It answered with something else.
    #[error("{url} answered {what}, and not with metrics")]
    Answer {
        /// What was asked.
        url: String,
        /// What came.
        what: String,
    },
}

impl FromStr for Source {
    type Err = ScrapeError;

    fn from_str(text: &str) -> Result<Self, ScrapeError> {
        let wrong = |problem| ScrapeError::Address { text: text.to_owned(), problem };
        let uri: http::Uri = text.parse().map_err(|_| wrong("it is no URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("it is not plain http"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("it holds a user name, which is not supported"));
        }
        Ok(Self {
            authority: authority.to_string(),
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(80),
            path: uri.path_and_query().map_or("/metrics", |path| path.as_str()).to_owned(),
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

impl Source {
    /// The text of the metrics; blocks for at most `limit`, name resolution apart.
    ///
    /// # Errors
    /// If nothing comes in time, or something else.
    pub fn fetch(&self, limit: Duration) -> Result<String, ScrapeError> {
        let until = Instant::now() + limit;
        let answer = self
            .exchange(until)
            .map_err(|error| ScrapeError::Unreachable { url: self.to_string(), error })?;
        let wrong = |what: &str| ScrapeError::Answer { url: self.to_string(), what: what.to_owned() };
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) =
            head.parse(&answer).map_err(|error| wrong(&format!("no HTTP ({error})")))?
        else {
            return Err(wrong("half an HTTP head"));
        };
        if head.code != Some(200) {
            return Err(wrong(&format!("status {}", head.code.unwrap_or_default())));
        }
        let announced = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let announced = announced
            .and_then(|header| std::str::from_utf8(header.value).ok())
            .and_then(|text| text.trim().parse::<usize>().ok());
        let body = answer.get(length..).unwrap_or_default();
        if announced.is_some_and(|announced| announced != body.len()) {
            return Err(wrong("a body that was cut"));
        }
        String::from_utf8(body.to_vec()).map_err(|_| wrong("bytes that are no text"))
    }

    fn exchange(&self, until: Instant) -> io::Result<Vec<u8>> {
        let left = || {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok::<_, io::Error>(left) }
        };
        let addresses: Vec<SocketAddr> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        let mut stream = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        for address in addresses {
            stream = TcpStream::connect_timeout(&address, left()?);
            if stream.is_ok() {
                break;
            }
        }
        let mut stream = stream?;
        // HTTP/1.0, so that the body is neither chunked nor followed by anything.
        let request = format!(
            "GET {} HTTP/1.0\r\nHost: {}\r\nAccept: text/plain;version=0.0.4\r\nConnection: close\r\n\r\n",
            self.path, self.authority
        );
        stream.set_write_timeout(Some(left()?))?;
        stream.write_all(request.as_bytes())?;
        let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        while answer.len() < MOST {
            stream.set_read_timeout(Some(left()?))?;
            let count = match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => return Err(error),
            };
            answer.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one question with `answer`, then holds the connection if `hold`.
    fn server(answer: &'static str, hold: bool) -> (Source, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let source =
            format!("http://{}/metrics", listener.local_addr().expect("bound")).parse().expect("valid");
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut question = Vec::new();
            while !question.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a question");
                question.push(byte[0]);
            }
            assert!(question.starts_with(b"GET /metrics HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).expect("it reads");
            if hold {
                // Ends when the other side gives up.
                let _ = stream.read(&mut [0]);
            }
        });
        (source, thread)
    }

    #[test]
    fn metrics_are_fetched_whole_or_not_at_all() {
        for (answer, hold, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nup 1\n", false, Ok("up 1\n")),
            ("HTTP/1.1 200 OK\r\n\r\nup 1\n", false, Ok("up 1\n")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nup 1\n", false, Err("a body that was cut")),
            ("HTTP/1.1 503 No\r\n\r\n", false, Err("status 503")),
            ("SSH-2.0-x\r\n", false, Err("no HTTP")),
            ("HTTP/1.1 200 OK\r\n\r\nup", true, Err("timed out")),
        ] {
            let (source, thread) = server(answer, hold);
            let got = source.fetch(if hold { Duration::from_millis(100) } else { Duration::from_secs(10) });
            thread.join().expect("the server");
            match (got, expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (got, _) => panic!("{answer:?} gave {got:?}"),
            }
        }
    }

    #[test]
    fn an_address_that_cannot_be_is_refused_with_one_that_can() {
        for text in ["127.0.0.1:9100", "https://h/metrics", "http://user:pw@h/metrics", "http:///x"] {
            let error = text.parse::<Source>().expect_err(text).to_string();
            assert!(error.contains("http://127.0.1.1:9100/metrics"), "{error}");
        }
        let source: Source = "http://[::1]:9100/metrics?x=1".parse().expect("valid");
        assert_eq!(source.to_string(), "http://[::1]:9100/metrics?x=1");
        assert_eq!((source.host.as_str(), source.port), ("::1", 9100));
    }
}
