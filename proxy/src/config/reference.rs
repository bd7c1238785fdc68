//! The reference of every setting: what `docs/configuration.md` shows and the types are checked against.

use std::fmt::Write;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its section, such as `cache`.
    pub section: &'static str,
    /// Its name in the section.
    pub name: &'static str,
    /// What may be written there.
    pub kind: &'static str,
    /// What holds if it is left out, as TOML; `None` where nothing does.
    pub default: Option<&'static str>,
    /// What it does.
    pub text: &'static str,
}

const fn setting(
    section: &'static str,
    name: &'static str,
    kind: &'static str,
    default: Option<&'static str>,
    text: &'static str,
) -> Setting {
    Setting { section, name, kind, default, text }
}

const NAME: &str = "name";
const ADDRESS: &str = "address:port";
const ADDRESSES: &str = "list of address:port";
const BYTES: &str = "bytes";
const TIME: &str = "duration";
const NUMBER: &str = "number";
const SWITCH: &str = "true, false";
const PATH: &str = "path";

/// Every setting, in the order of the file.
pub const SETTINGS: &[Setting] = &[
    setting("node", "name", NAME, None, "The node's name, unique in the region. **Required.**"),
    setting(
        "node",
        "stamp",
        NAME,
        None,
        "The stamp that the node belongs to. Left out: the node is a front door, which forwards to the ready nodes of each registry's home stamp",
    ),
    setting("node", "region", NAME, Some("\"local\""), "The region; the bindings must be of the same"),
    setting(
        "node",
        "zone",
        "DNS name",
        Some("\"registry.test\""),
        "The zone of the registries' names: `contoso` is served as `contoso.<zone>`",
    ),
    setting(
        "node",
        "role",
        "`all`, `registry`, `dataproxy`",
        Some("\"all\""),
        "What the node serves: all, manifests and tags, or blobs",
    ),
    setting("node", "threads", NUMBER, None, "Threads that serve pulls. Left out: one for each core"),
    setting(
        "listen",
        "pull",
        ADDRESSES,
        Some("[\"127.0.0.1:5000\"]"),
        "Where pulls are served by plain HTTP",
    ),
    setting("listen", "tls", ADDRESSES, Some("[]"), "Where pulls are served by TLS 1.2 and 1.3"),
    setting(
        "listen",
        "cert",
        PATH,
        None,
        "Certificate chain in PEM, leaf first. Needed with `tls`; read again within a second of a change, and on SIGHUP",
    ),
    setting("listen", "key", PATH, None, "The certificate's key in PEM"),
    setting(
        "listen",
        "http2",
        SWITCH,
        Some("false"),
        "Speak HTTP/2 too. Stock clients use HTTP/1.1, where a cut download can be resumed. An idle HTTP/2 connection is not closed: it is pinged once an `idle_timeout`, and closed if it does not answer",
    ),
    setting(
        "listen",
        "max_connections",
        NUMBER,
        Some("10000"),
        "Connections served at a time; of more, each address accepts one, which waits, and the rest wait in the kernel's queue",
    ),
    setting(
        "listen",
        "header_size",
        BYTES,
        Some("\"16 KiB\""),
        "Size of a request's line and headers; more is answered 431. A connection's write buffer has the same size",
    ),
    setting("listen", "header_count", NUMBER, Some("64"), "Headers of a request; more is answered 431"),
    setting(
        "listen",
        "write_quantum",
        BYTES,
        Some("\"1 MiB\""),
        "What a connection whose client keeps up may write before the others have their turn",
    ),
    setting(
        "listen",
        "sendfile",
        SWITCH,
        Some("true"),
        "Plain HTTP/1.1 connections send blocks that are on disk, checked and in the page cache from the file itself, without a copy. Needs Linux 6.5. Off, they are copied as for TLS",
    ),
    setting(
        "listen",
        "tls_buffer",
        BYTES,
        Some("\"256 KiB\""),
        "What a TLS connection encrypts before it writes. More costs less CPU per byte, and as much memory for each client that reads slowly",
    ),
    setting(
        "listen",
        "first_byte_timeout",
        TIME,
        Some("\"10s\""),
        "From a connection's start to its first byte, and for the TLS handshake",
    ),
    setting(
        "listen",
        "idle_timeout",
        TIME,
        Some("\"60s\""),
        "From one response's end to the end of the next request's headers. Keep it above 35 s: clients close after 30 s themselves",
    ),
    setting(
        "drain",
        "deadline",
        TIME,
        Some("\"30m\""),
        "How long running pulls may go on after SIGTERM or SIGINT; what still runs then is cut so that clients can resume it elsewhere. A second signal cuts at once",
    ),
    setting(
        "admin",
        "listen",
        ADDRESS,
        Some("\"127.0.0.1:9100\""),
        "Where `/livez`, `/readyz`, `/metrics`, `/v1/bindings` and `/v1/node` are answered",
    ),
    setting("bindings", "source", "`file`", None, "Where the bindings come from. **Required.**"),
    setting(
        "bindings",
        "path",
        PATH,
        None,
        "The bindings file; read again within a second of a change, and on SIGHUP. **Required.**",
    ),
    setting(
        "tenancy",
        "path",
        SWITCH,
        Some("false"),
        "Let a repository's first path segment name its registry: `127.0.0.1:5000/contoso/app:v1`",
    ),
    setting(
        "tenancy",
        "default_registry",
        NAME,
        None,
        "The registry that a request is for which names none by host, `?ns=`, prefix or path: what docker's `registry-mirrors` asks. With `path` on, a first path segment that is a bound registry goes before it, so give a mirror of foreign names an address without `path`",
    ),
    setting(
        "accounts.NAME",
        "kind",
        "`local`, `azure`, `s3`, `registry`",
        None,
        "What the account is: a folder, an account of Azure Blob or an S3-compatible server, each in the layout of CNCF distribution, or another registry that is pulled through. **Required.**",
    ),
    setting(
        "accounts.NAME",
        "path",
        PATH,
        None,
        "`local`: the folder; it holds one folder for each container. **Required.**",
    ),
    setting(
        "accounts.NAME",
        "account",
        NAME,
        None,
        "`azure`: the account's name in Azure. **Required** unless `endpoint` says it",
    ),
    setting(
        "accounts.NAME",
        "endpoint_suffix",
        "DNS name",
        None,
        "`azure`: the cloud's suffix. Left out: `blob.core.windows.net`; others are `blob.core.usgovcloudapi.net` and `blob.core.chinacloudapi.cn`",
    ),
    setting(
        "accounts.NAME",
        "endpoint",
        "URL",
        None,
        "`azure`: the account's whole address, for a custom domain or an emulator (`http://127.0.0.1:10000/devstoreaccount1`). `s3`: the server's address; left out: AWS's own of the region",
    ),
    setting(
        "accounts.NAME",
        "region",
        "text",
        None,
        "`s3`: the region that requests are signed for. **Required.**",
    ),
    setting(
        "accounts.NAME",
        "path_style",
        "`true`, `false`",
        None,
        "`s3`: whether the bucket is in the path and not in the host's name. Left out: yes where `endpoint` is set",
    ),
    setting(
        "accounts.NAME",
        "credential",
        "`sas`, `shared_key`, `managed_identity`, `workload_identity`; `key`, `environment`, `none`",
        None,
        "How the node shows the account who it is: the first four for `azure`, the others for `s3` (`environment`: the credentials that the `AWS_…` variables name, else the instance's role). **Required for both.**",
    ),
    setting(
        "accounts.NAME",
        "secret_file",
        PATH,
        None,
        "`azure`, `s3`: the file that holds the SAS, the shared key or the secret key, and nothing else. With `azure`, a new one counts from a second after it was put there; with `s3` it is read at the start",
    ),
    setting(
        "accounts.NAME",
        "secret_env",
        NAME,
        None,
        "`azure`, `s3`: the environment variable that holds it instead",
    ),
    setting(
        "accounts.NAME",
        "access_key_id",
        "text",
        None,
        "`s3`: the key's id, with `credential = \"key\"`",
    ),
    setting(
        "accounts.NAME",
        "client_id",
        "text",
        None,
        "`azure`: the identity's client id. Left out: the machine's own identity; with a workload identity, `AZURE_CLIENT_ID`",
    ),
    setting(
        "accounts.NAME",
        "tenant_id",
        "text",
        None,
        "`azure`: the workload identity's tenant. Left out: `AZURE_TENANT_ID`",
    ),
    setting(
        "accounts.NAME",
        "token_file",
        PATH,
        None,
        "`azure`: the workload identity's federated token. Left out: `AZURE_FEDERATED_TOKEN_FILE`",
    ),
    setting(
        "accounts.NAME",
        "authority",
        "URL",
        None,
        "`azure`: where a workload identity's tokens are issued. Left out: `AZURE_AUTHORITY_HOST`, else `https://login.microsoftonline.com`",
    ),
    setting(
        "accounts.NAME",
        "identity_endpoint",
        "URL",
        None,
        "`azure`: where a managed identity's tokens are issued. Left out: the machine's metadata service",
    ),
    setting(
        "accounts.NAME",
        "url",
        "URL",
        None,
        "`registry`: where it is, such as `https://registry-1.docker.io`: scheme, host and perhaps port. With `https` it leads to nothing but https. **Required.**",
    ),
    setting(
        "accounts.NAME",
        "username",
        "text",
        None,
        "`registry`: who this node is there. Left out: nobody, who may pull what is public. Shown to the token service that the registry names, or to the registry itself if it asks for a password",
    ),
    setting(
        "accounts.NAME",
        "password_file",
        PATH,
        None,
        "`registry`: file with the password or access token, read at the start; a line break at its end does not count",
    ),
    setting(
        "accounts.NAME",
        "password_env",
        "text",
        None,
        "`registry`: name of the environment's variable with the password, in place of `password_file`",
    ),
    setting(
        "accounts.NAME",
        "repository_prefix",
        "repository",
        None,
        "`registry`: what stands before every repository's name there: with `mirror/hub`, `library/app` is `mirror/hub/library/app`",
    ),
    setting(
        "accounts.NAME",
        "ca_file",
        PATH,
        None,
        "PEM certificates of authorities that are trusted beside the system's. Not for `local`",
    ),
    setting(
        "accounts.NAME",
        "clients",
        "`closed`, `open`",
        Some("\"closed\""),
        "Whether clients can reach the account themselves: blobs of a registry with `delivery` `redirect` are then answered by a redirect to it",
    ),
    setting(
        "accounts.NAME",
        "max_in_flight",
        NUMBER,
        Some("512"),
        "Requests under way at once, bodies included, at most; fewer while the account says that it has too many, never below 4",
    ),
    setting(
        "accounts.NAME",
        "egress_limit",
        BYTES,
        None,
        "Bytes a second that the account gives, for the headroom in `/metrics`. Azure's published default for a standard account is 50 Gbit/s (`\"5960 MiB\"`), in some regions 200",
    ),
    setting(
        "accounts.NAME",
        "request_limit",
        NUMBER,
        None,
        "Requests a second that the account answers, for the headroom in `/metrics`. Azure's published default for a standard account is 20000, in some regions 40000",
    ),
    setting("cache", "memory", BYTES, Some("\"256 MiB\""), "Budget of the memory tier"),
    setting(
        "cache",
        "dir",
        PATH,
        None,
        "Folder of the disk tier, made if absent; one node uses it at a time. Left out: nothing is kept on disk",
    ),
    setting("cache", "capacity", BYTES, Some("\"10 GiB\""), "Budget of the disk tier"),
    setting(
        "cache",
        "disk_patience",
        TIME,
        Some("\"2s\""),
        "How long a pull waits for the disk tier. After that it goes on from the account, and so does everybody until the disk answers; 10s at most",
    ),
    setting(
        "cache",
        "open_files",
        NUMBER,
        Some("256"),
        "Files of the disk tier that stay open after their last reader. Their blocks are not checked again, and can be sent by `listen.sendfile`",
    ),
    setting(
        "cache",
        "scrub",
        BYTES,
        Some("\"8 MiB\""),
        "Bytes a second at which all that is on disk is read and checked, over and over, but no oftener than every ten minutes; `\"0 B\"` is never",
    ),
    setting(
        "cache",
        "block",
        BYTES,
        Some("\"1 MiB\""),
        "Unit of checksums, of the block map and of hold-back: a power of two from 4 KiB to 16 MiB",
    ),
    setting(
        "cache",
        "fetch_range",
        BYTES,
        Some("\"4 MiB\""),
        "Size of one ranged read from an account; a multiple of `block`",
    ),
    setting("cache", "fetch_parallel", NUMBER, Some("8"), "Ranged reads in flight for one fill"),
    setting(
        "cache",
        "fill_memory",
        BYTES,
        Some("\"32 MiB\""),
        "Bytes in memory for one fill that storage has sent and the tiers have not yet taken; two reads more while other nodes of the stamp wait for them",
    ),
    setting(
        "cache",
        "small_blob",
        BYTES,
        Some("\"128 KiB\""),
        "Blobs up to this size are kept whole in memory",
    ),
    setting(
        "cache",
        "origin_idle_timeout",
        TIME,
        Some("\"10s\""),
        "How long an account may be silent before a read of it is given up",
    ),
    setting("cache", "origin_attempts", NUMBER, Some("8"), "Tries of one ranged read, the first included"),
    setting(
        "cache",
        "finish",
        BYTES,
        Some("\"64 MiB\""),
        "A fill that its last reader left goes on if at most this much is missing",
    ),
    setting("freshness", "tag_ttl", TIME, Some("\"5s\""), "Age of a tag's digest"),
    setting(
        "freshness",
        "link_ttl",
        TIME,
        Some("\"60s\""),
        "Age of a repository's link to a blob or manifest",
    ),
    setting("freshness", "negative_ttl", TIME, Some("\"2s\""), "Age of an absence"),
    setting(
        "freshness",
        "stale_tag",
        TIME,
        Some("\"1h\""),
        "Age of a tag's digest, and of the repository's link to that manifest, while the account does not answer; such an answer carries a `Warning`",
    ),
    setting(
        "freshness",
        "stale_link",
        TIME,
        Some("\"10m\""),
        "Age of a repository's link to a blob or manifest that is asked for by digest, while the account does not answer",
    ),
    setting(
        "delivery",
        "data_endpoint",
        "URL",
        None,
        "Where a node of role `registry` sends clients for blobs of registries whose binding has `delivery` `redirect`, by a 307 to a signed URL that any node of the region accepts: a URL without a path, with `{registry}`, `{stamp}`, `{region}` and `{zone}` where they are put in, such as `\"https://{registry}.{region}.data.{zone}\"`. Left out: it streams them. Needs `key`",
    ),
    setting(
        "delivery",
        "key",
        PATH,
        None,
        "File of the key that nodes sign such URLs with, the same on all nodes of the region: 32 bytes or more, such as those of `openssl rand -hex 32`. Needed by whoever signs or accepts; read again within a second of a change, and on SIGHUP",
    ),
    setting(
        "delivery",
        "other_key",
        PATH,
        None,
        "File of another key that is accepted. To change keys with no pull lost: the next key goes here on all nodes, then the two change places on all nodes, then, `url_valid` later, this one goes",
    ),
    setting(
        "delivery",
        "url_valid",
        TIME,
        Some("\"20m\""),
        "How long a signed URL is good, of a node or of a storage account: 10 s to 24 h. Longer than the time in which clients come back to it",
    ),
    setting(
        "stamp",
        "share",
        SWITCH,
        Some("true"),
        "Whether the nodes of the stamp are one cache: what a node lacks it asks of the node of its stamp that owns that part of the blob, before it asks storage. In force where there is a `key`",
    ),
    setting(
        "stamp",
        "key",
        PATH,
        None,
        "File of the key that the stamp's nodes show each other that they know, the same on all of them: 32 bytes or more, such as those of `openssl rand -hex 32`. Read again within a second of a change, and on SIGHUP. Left out: each node asks storage itself",
    ),
    setting(
        "stamp",
        "other_key",
        PATH,
        None,
        "File of another key that is accepted. Keys change as those of `delivery` do",
    ),
    setting(
        "stamp",
        "patience",
        TIME,
        Some("\"2s\""),
        "How long another node may say nothing, before or inside an answer, until storage is asked in its place; a whole read may take five times that. 100 ms to 5 s",
    ),
    setting(
        "stamp",
        "max_reads",
        NUMBER,
        Some("512"),
        "Reads served to other nodes at once; who asks for more asks storage",
    ),
    setting("log", "format", "`text`, `json`", Some("\"text\""), "How a line is written, on standard error"),
    setting(
        "log",
        "level",
        "text",
        Some("\"info\""),
        "A level (`error` to `trace`, `off`), or directives such as `info,access=off`",
    ),
    setting("front", "probe_interval", TIME, Some("\"1s\""), "Between two looks at a node's `/readyz`"),
    setting("front", "connect_timeout", TIME, Some("\"2s\""), "For a node to accept a connection"),
    setting(
        "front",
        "try_timeout",
        TIME,
        Some("\"15s\""),
        "For one node to send a response's headers, before the next one is asked. More than the 12 s that a node gives storage, so that the node's own answer arrives",
    ),
    setting(
        "front",
        "headers_timeout",
        TIME,
        Some("\"25s\""),
        "For a response's headers in all, waiting for a ready node included. More than `try_timeout`; containerd waits 30 s",
    ),
    setting(
        "front",
        "body_idle_timeout",
        TIME,
        Some("\"30s\""),
        "How long a node may be silent inside a body before another one goes on with it",
    ),
    setting("front", "attempts", NUMBER, Some("4"), "Nodes asked for one response's headers"),
    setting(
        "front",
        "resumes",
        NUMBER,
        Some("4"),
        "Times in a row that one body may lose its node without having got further",
    ),
];

/// The reference as Markdown: one table for each section.
pub fn markdown() -> String {
    let mut out = String::new();
    let mut section = "";
    for setting in SETTINGS {
        if setting.section != section {
            section = setting.section;
            let gap = if out.is_empty() { "" } else { "\n" };
            let _ = write!(
                out,
                "{gap}### `[{section}]`\n\n| key | value | default | what it does |\n|---|---|---|---|\n"
            );
        }
        let default = setting.default.map_or("–".to_owned(), |default| format!("`{default}`"));
        let _ = writeln!(out, "| `{}` | {} | {default} | {} |", setting.name, setting.kind, setting.text);
    }
    out
}
