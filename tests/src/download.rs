//! A download over a bare socket, hashed as it comes, at the pace that the test sets.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::raw_http::{Exchange, Head, request};

/// A download that has begun.
#[derive(Debug)]
pub struct Download {
    exchange: Exchange,
    hash: Sha256,
    bytes: u64,
    begun: Instant,
    first_byte: Option<Duration>,
}

/// What a whole download brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// Its digest, as `sha256:HEX`.
    pub digest: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// From before the connection was made to the first byte of the body.
    pub first_byte: Option<Duration>,
}

impl Download {
    /// Asks for `target`, and has the head of the answer. `headers` are whole lines.
    ///
    /// # Errors
    /// If there is no answer within 30 s.
    pub async fn open(address: SocketAddr, target: &str, headers: &[&str]) -> io::Result<Self> {
        let begun = Instant::now();
        let request = request("GET", target, &address.to_string(), headers);
        let exchange = Exchange::open(address, &request).await?;
        Ok(Self { exchange, hash: Sha256::new(), bytes: 0, begun, first_byte: None })
    }

    /// The head of the answer.
    pub fn head(&self) -> &Head {
        &self.exchange.head
    }

    /// Reads until `bytes` of the body have come, or it has ended.
    ///
    /// # Errors
    /// If the connection fails or is silent for 30 s.
    pub async fn read_to(&mut self, bytes: u64) -> io::Result<u64> {
        while self.bytes < bytes {
            let part = self.exchange.next().await?;
            if part.is_empty() {
                break;
            }
            self.first_byte.get_or_insert_with(|| self.begun.elapsed());
            self.bytes += part.len() as u64;
            self.hash.update(&part);
        }
        Ok(self.bytes)
    }

    /// Reads the rest without hashing it; gives how many bytes the body had.
    ///
    /// # Errors
    /// If the connection fails or is silent for 30 s.
    pub async fn skip_to_end(&mut self) -> io::Result<u64> {
        loop {
            match self.exchange.next().await?.len() {
                0 => return Ok(self.bytes),
                read => self.bytes += read as u64,
            }
        }
    }

    /// Reads the rest.
    ///
    /// # Errors
    /// If the connection fails, is silent for 30 s or ends short of `Content-Length`.
    pub async fn finish(mut self) -> io::Result<Downloaded> {
        self.read_to(u64::MAX).await?;
        let expected = self.exchange.head.content_length();
        if expected != Some(self.bytes) {
            return Err(io::Error::other(format!("{} bytes of {expected:?} came", self.bytes)));
        }
        let hash = self.hash.finalize();
        let digest = hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"));
        Ok(Downloaded { digest, bytes: self.bytes, first_byte: self.first_byte })
    }
}

/// Downloads all of `target`.
///
/// # Errors
/// If it does not answer 200 or 206, or as [`Download::finish`].
pub async fn download(address: SocketAddr, target: &str) -> io::Result<Downloaded> {
    let download = Download::open(address, target, &[]).await?;
    match download.head().status {
        200 | 206 => download.finish().await,
        status => {
            Err(io::Error::other(format!("answered {status}: {:?}", download.exchange.finish().await?)))
        }
    }
}
