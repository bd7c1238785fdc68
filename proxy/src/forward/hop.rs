//! One request to one node: the client's own, less what belongs to a single connection.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, Uri, request};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::account::FORWARDED_FOR;
use crate::peer::Peer;
use crate::respond::REQUEST_ID;

/// Headers that belong to one connection (RFC 9110, 7.6.1), besides those that `Connection` names.
const HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// How long an idle connection to a node is kept: less than the node keeps it.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// Idle connections kept to one node.
const POOL_SIZE: usize = 64;
/// Largest piece read from a node at once, in bytes.
const READ: usize = 1 << 20;

/// Why a node gave no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// It took no connection.
    Refused,
    /// It broke the connection before the headers were complete.
    Broke,
    /// It sent no headers in time.
    Timeout,
    /// It would have to forward it again.
    Loops,
}

impl Failed {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Broke => "failed",
            Self::Timeout => "timeout",
            Self::Loops => "loops",
        }
    }
}

/// The way to the nodes: one pool of connections.
#[derive(Debug)]
pub(super) struct Hop {
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Hop {
    pub(super) fn new(connect_timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect_timeout));
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_SIZE)
            .http1_max_buf_size(READ)
            .build(connector);
        Self { client }
    }

    /// Sends the request to `node`. With `range`, those headers replace the client's own conditions.
    pub(super) async fn send(
        &self,
        node: SocketAddr,
        parts: &request::Parts,
        range: Option<&HeaderMap>,
    ) -> Result<Response<Incoming>, Failed> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri: Uri = format!("http://{node}{path}").parse().map_err(|_| Failed::Broke)?;
        let mut request = Request::new(Empty::new());
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = parts.headers.clone();
        if let Some(range) = range {
            for name in [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE] {
                request.headers_mut().remove(name);
            }
            for (name, value) in range {
                request.headers_mut().insert(name, value.clone());
            }
        }
        self.client.request(request).await.map_err(|error| {
            tracing::debug!(%node, %error, "request to node failed");
            if error.is_connect() { Failed::Refused } else { Failed::Broke }
        })
    }
}

/// Makes a client's request one that may be sent to a node: identified, without what belongs to the
/// client's own connection.
///
/// The node's account of it then has the same `request_id`.
pub(crate) fn mark(parts: &mut request::Parts, request_id: &str) {
    // HTTP/2 has the host in the target, HTTP/1.1 in a header. It names the registry, so it is put back whatever
    // `Connection` names.
    let host = match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => parts.headers.get(header::HOST).cloned(),
    };
    drop_hop_headers(&mut parts.headers);
    if let Some(host) = host {
        parts.headers.insert(header::HOST, host);
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        parts.headers.insert(REQUEST_ID, id);
    }
    if let Some(Peer { addr, .. }) = parts.extensions.get()
        && let Ok(client) = HeaderValue::from_str(&addr.ip().to_string())
    {
        parts.headers.append(FORWARDED_FOR, client);
    }
}

/// Removes what belongs to the connection that a message came on.
pub(super) fn drop_hop_headers(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_one_connection_is_not_forwarded() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Once"),
            ("x-once", "1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("range", "bytes=1-"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        drop_hop_headers(&mut headers);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["range"], "bytes=1-");
    }

    #[tokio::test]
    async fn a_forwarded_request_keeps_its_own_host() {
        let request = Request::get("/v2/").header("host", "contoso.registry.test");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(Peer { addr: "192.0.2.7:1234".parse().unwrap(), tls: false, resumed: false });
        mark(&mut parts, "mine");
        for (name, value) in
            [("host", "contoso.registry.test"), ("x-forwarded-for", "192.0.2.7"), ("x-request-id", "mine")]
        {
            assert_eq!(parts.headers[name], value);
        }
    }

    #[tokio::test]
    async fn a_client_cannot_have_the_host_or_the_id_dropped() {
        let request = Request::get("/v2/app/tags/list?ns=fabrikam.registry.test")
            .header("host", "contoso.registry.test")
            .header("x-request-id", "theirs")
            .header("connection", "host, x-request-id, dataproxy-front");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        mark(&mut parts, "mine");
        for (name, value) in [("host", "contoso.registry.test"), ("x-request-id", "mine")] {
            assert_eq!(parts.headers[name], value);
        }
    }
}
