//! HTTP → a typed pull: what is asked for, and which words of the request say of which registry.
//!
//! Paths are taken literally. Nothing in a valid path needs a percent-escape, so none is decoded and `%2e%2e` or
//! `%00` is simply not a name. Names have slashes in them, so a path is split at the *last* route word.

use std::fmt;

use dataproxy_cache::Digest;
use http::{Method, Version, header, request, uri::Authority};

use crate::name::{Reference, ReferenceError, Repository, Tag};
use crate::redirect::{Claim, EXPIRES, SIGNATURE};
use crate::refusal::{Refusal, excerpt};

/// Longest path and query taken, in bytes.
const ADDRESS_MAX: usize = 4096;
/// Longest `artifactType` taken, in bytes: the longest media type (RFC 6838, 4.2) and some.
const ARTIFACT_TYPE_MAX: usize = 255;

/// How it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Headers and content.
    Get,
    /// Headers alone.
    Head,
}

impl Verb {
    /// The method's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
        }
    }
}

/// What is asked for. Under path tenancy `name` still begins with the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Whether this is a registry at all.
    Ping,
    /// A manifest.
    Manifest {
        /// The name in the path.
        name: Repository,
        /// Which one.
        reference: Reference,
    },
    /// A blob.
    Blob {
        /// The name in the path.
        name: Repository,
        /// Which one.
        digest: Digest,
    },
    /// The repository's tags, a page of them.
    Tags {
        /// The name in the path.
        name: Repository,
        /// How many at most.
        n: Option<usize>,
        /// Only tags after this one.
        last: Option<Tag>,
    },
    /// The manifests that refer to a digest, a page of them.
    Referrers {
        /// The name in the path.
        name: Repository,
        /// The digest referred to.
        digest: Digest,
        /// Only those of this type.
        artifact_type: Option<String>,
        /// Only those after this one.
        last: Option<Digest>,
    },
}

impl Target {
    /// The name in the path, if there is one.
    pub fn name(&self) -> Option<&Repository> {
        match self {
            Self::Ping => None,
            Self::Manifest { name, .. }
            | Self::Blob { name, .. }
            | Self::Tags { name, .. }
            | Self::Referrers { name, .. } => Some(name),
        }
    }

    /// The stable word for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Manifest { .. } => "manifest",
            Self::Blob { .. } => "blob",
            Self::Tags { .. } => "tags",
            Self::Referrers { .. } => "referrers",
        }
    }
}

/// The path of the target, as it was read.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ping => f.write_str("/v2/"),
            Self::Manifest { name, reference } => write!(f, "/v2/{name}/manifests/{reference}"),
            Self::Blob { name, digest } => write!(f, "/v2/{name}/blobs/{digest}"),
            Self::Tags { name, .. } => write!(f, "/v2/{name}/tags/list"),
            Self::Referrers { name, digest, .. } => write!(f, "/v2/{name}/referrers/{digest}"),
        }
    }
}

/// One pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// How it is asked for.
    pub verb: Verb,
    /// What is asked for.
    pub target: Target,
    /// The host that the client believes to speak to: lower case, no port, no final dot.
    pub host: Option<String>,
    /// The port beside the host.
    pub port: Option<u16>,
    /// `?ns=` as it was sent, decoded.
    pub namespace: Option<String>,
    /// The `<tenant>` of a path that begins with `/t/<tenant>/v2/`: what an operator has written into a mirror's URL.
    pub tenant: Option<String>,
    /// What the query claims of a signature, in a request for a blob.
    pub claim: Option<Claim>,
}

impl Request {
    /// Reads a request. `has_content` says whether a body comes with it.
    ///
    /// # Errors
    /// A [`Refusal`] that says what is wrong and what would be right.
    pub fn parse(parts: &request::Parts, has_content: bool) -> Result<Self, Refusal> {
        let verb = match parts.method {
            Method::GET => Verb::Get,
            Method::HEAD => Verb::Head,
            _ => return Err(Refusal::MethodUnsupported),
        };
        if has_content {
            return Err(Refusal::ContentUnsupported);
        }
        let length = parts.uri.path_and_query().map_or(0, |address| address.as_str().len());
        if length > ADDRESS_MAX {
            return Err(Refusal::AddressTooLong(ADDRESS_MAX));
        }
        let query = Query::parse(parts.uri.query().unwrap_or_default())?;
        let (tenant, path) = tenant(parts.uri.path());
        let (namespace, claim) = (query.namespace.clone(), query.claim());
        let target = target(path, query)?;
        let claim = claim.filter(|_| matches!(target, Target::Blob { .. }));
        let (host, port) = match host(parts)? {
            Some(authority) => (Some(canonical_host(authority.host())), authority.port_u16()),
            None => (None, None),
        };
        Ok(Self { verb, target, host, port, namespace, tenant: tenant.map(str::to_owned), claim })
    }
}

/// RFC 9112, 3.2: an absolute-form target (or `:authority`) wins; HTTP/1.1 must have exactly one `Host`.
fn host(parts: &request::Parts) -> Result<Option<Authority>, Refusal> {
    const MALFORMED: Refusal = Refusal::HostInvalid("the Host header is not a host");
    let mut headers = parts.headers.get_all(header::HOST).iter();
    let (sent, more) = (headers.next(), headers.next());
    if more.is_some() {
        return Err(Refusal::HostInvalid("there are two Host headers"));
    }
    let authority = match (parts.uri.authority(), sent) {
        (Some(authority), _) => authority.clone(),
        (None, Some(sent)) => Authority::try_from(sent.as_bytes()).map_err(|_| MALFORMED)?,
        (None, None) if parts.version == Version::HTTP_11 => {
            return Err(Refusal::HostInvalid("there is no Host header"));
        }
        (None, None) => return Ok(None),
    };
    if authority.as_str().contains('@') {
        return Err(MALFORMED);
    }
    Ok(Some(authority))
}

/// The tenant that a path is prefixed with, and the path without it.
fn tenant(path: &str) -> (Option<&str>, &str) {
    let prefixed = path.strip_prefix("/t/").and_then(|rest| {
        let (tenant, _) = rest.split_once('/')?;
        Some((tenant, rest.strip_prefix(tenant)?))
    });
    prefixed.map_or((None, path), |(tenant, rest)| (Some(tenant), rest))
}

/// A host as names are compared: lower case, without the root's dot.
pub(crate) fn canonical_host(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

fn target(path: &str, query: Query) -> Result<Target, Refusal> {
    // The slash before the name stays, so that an absent name is found empty.
    let rest = match path {
        "/v2" | "/v2/" => return Ok(Target::Ping),
        "/v2/_catalog" => return Err(Refusal::CatalogUnsupported),
        _ => path.strip_prefix("/v2").filter(|rest| rest.starts_with('/')).ok_or(Refusal::RouteUnknown)?,
    };
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return Ok(Target::Tags { name: repository(name)?, n: query.page_size()?, last: query.last_tag()? });
    }
    let (at, word) = last_word(rest).ok_or(Refusal::RouteUnknown)?;
    let (name, reference) = rest.split_at(at);
    let reference = reference.get(word.len()..).unwrap_or_default();
    if word == "/blobs/" && (reference == "uploads" || reference.starts_with("uploads/")) {
        return Err(Refusal::MethodUnsupported);
    }
    let name = repository(name)?;
    Ok(match word {
        "/manifests/" => Target::Manifest { name, reference: manifest_reference(reference)? },
        "/blobs/" => Target::Blob { name, digest: digest(reference)? },
        _ => Target::Referrers {
            name,
            digest: digest(reference)?,
            last: query.last_digest()?,
            artifact_type: query.artifact_type,
        },
    })
}

/// The last route word of a path, and where it begins.
fn last_word(path: &str) -> Option<(usize, &'static str)> {
    path.rmatch_indices('/').find_map(|(at, _)| {
        let rest = path.get(at..)?;
        let word =
            ["/blobs/", "/manifests/", "/referrers/"].into_iter().find(|word| rest.starts_with(word))?;
        Some((at, word))
    })
}

fn repository(text: &str) -> Result<Repository, Refusal> {
    let name = text.strip_prefix('/').unwrap_or(text);
    name.parse().map_err(|_| Refusal::NameInvalid(excerpt(name)))
}

fn manifest_reference(text: &str) -> Result<Reference, Refusal> {
    text.parse().map_err(|error| match error {
        ReferenceError::Tag(_) => Refusal::TagInvalid(excerpt(text)),
        ReferenceError::Digest(error) => Refusal::DigestInvalid { found: excerpt(text), error },
    })
}

fn digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|error| Refusal::DigestInvalid { found: excerpt(text), error })
}

/// The parameters that mean something here, decoded; all others are ignored.
#[derive(Default)]
struct Query {
    namespace: Option<String>,
    n: Option<String>,
    last: Option<String>,
    artifact_type: Option<String>,
    expires: Option<String>,
    signature: Option<String>,
}

impl Query {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let mut query = Self::default();
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            let slot = match key.as_ref() {
                "ns" => &mut query.namespace,
                "n" => &mut query.n,
                "last" => &mut query.last,
                "artifactType" => &mut query.artifact_type,
                EXPIRES => &mut query.expires,
                SIGNATURE => &mut query.signature,
                _ => continue,
            };
            match slot {
                // Which one counts differs between servers: a request for two registries is for none.
                Some(earlier) if key == "ns" && *earlier != value => return Err(Refusal::NamespaceTwice),
                Some(_) => {}
                None => *slot = Some(value.into_owned()),
            }
        }
        for optional in [&mut query.namespace, &mut query.last, &mut query.artifact_type] {
            optional.take_if(|value| value.is_empty());
        }
        // A media type has no space in it: a raw `+`, as in `…+json`, was meant as one.
        query.artifact_type = query
            .artifact_type
            .map(|kind| kind.replace(' ', "+"))
            .filter(|kind| kind.len() <= ARTIFACT_TYPE_MAX);
        Ok(query)
    }

    fn claim(&self) -> Option<Claim> {
        let claim = Claim { expires: self.expires.clone(), signature: self.signature.clone() };
        (claim.expires.is_some() || claim.signature.is_some()).then_some(claim)
    }

    fn page_size(&self) -> Result<Option<usize>, Refusal> {
        let Some(text) = &self.n else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(n) if digits => Ok(Some(n)),
            _ => Err(Refusal::PageSizeInvalid(excerpt(text))),
        }
    }

    fn last_tag(&self) -> Result<Option<Tag>, Refusal> {
        let invalid = |text: &String| Refusal::TagInvalid(excerpt(text));
        self.last.as_ref().map(|text| text.parse().map_err(|_| invalid(text))).transpose()
    }

    fn last_digest(&self) -> Result<Option<Digest>, Refusal> {
        self.last.as_deref().map(digest).transpose()
    }
}

#[cfg(test)]
mod tests;
