//! Who may do what, by bearer token (RFC 6750).

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{StatusCode, header};
use dataproxy_router_api::{NodeName, NodeReport, StampName};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Context;
use super::answer::Failed;

/// What a token lets its bearer do. Each role may do what those before it may, but for nodes, which only follow and
/// report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Follow bindings, and report.
    Node,
    /// See everything but the audit.
    Viewer,
    /// Move registries, drain nodes, purge.
    Operator,
    /// Make and remove stamps and registries, forget nodes, read the audit, export.
    Admin,
}

impl Role {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    pub(super) fn may(self, needed: Self) -> bool {
        match (self, needed) {
            (Self::Admin, _) | (Self::Node, Self::Node) => true,
            (Self::Operator, needed) => matches!(needed, Self::Viewer | Self::Operator),
            (Self::Viewer, needed) => needed == Self::Viewer,
            (Self::Node, _) => false,
        }
    }
}

/// A token that is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its file cannot be read.
    #[error("{}: the token of {name} cannot be read: {error}", path.display())]
    Read {
        /// Whose.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is too short to be secret.
    #[error("{}: the token of {name} has {length} characters; a token has 16 and more, such as `openssl rand -hex 32` makes", path.display())]
    Short {
        /// Whose.
        name: String,
        /// The file.
        path: PathBuf,
        /// How many characters it has.
        length: usize,
    },
}

/// Who bears which token.
#[derive(Default)]
pub struct Tokens {
    /// By the hash of the token, so that neither memory nor the time of a look-up tells it.
    known: Vec<([u8; 32], Access)>,
}

/// Somebody who is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    /// Who, for the audit.
    pub(super) actor: String,
    /// What they may do.
    role: Role,
    /// Whom they may report for.
    only: Only,
}

/// Whom a token of the role `node` is for; any node, for what is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Only {
    /// The stamp.
    pub stamp: Option<StampName>,
    /// The node.
    pub node: Option<NodeName>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.known.iter().map(|(_, access)| access)).finish()
    }
}

impl Tokens {
    /// Reads a token from its file.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn add(&mut self, name: &str, role: Role, path: PathBuf) -> Result<(), TokenError> {
        self.add_for(name, role, Only::default(), path)
    }

    /// Reads a token of whoever may report for some nodes only.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn add_for(&mut self, name: &str, role: Role, only: Only, path: PathBuf) -> Result<(), TokenError> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => return Err(TokenError::Read { name: name.to_owned(), path, error }),
        };
        let token = text.trim();
        if token.len() < 16 {
            return Err(TokenError::Short { name: name.to_owned(), path, length: token.len() });
        }
        self.known.push((hash(token), Access { actor: name.to_owned(), role, only }));
        Ok(())
    }

    /// Whether everybody is let in, as an administrator.
    pub fn is_open(&self) -> bool {
        self.known.is_empty()
    }

    fn bearer(&self, token: &str) -> Option<&Access> {
        let hash = hash(token);
        self.known.iter().find(|(known, _)| *known == hash).map(|(_, access)| access)
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The header by which a caller says its name where there are no tokens.
const ACTOR: &str = "dataproxy-actor";

impl FromRequestParts<Context> for Access {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Failed> {
        if context.tokens.is_open() {
            from_here(parts)?;
            let named = parts.headers.get(ACTOR).and_then(|name| name.to_str().ok());
            let actor: String = named.unwrap_or("somebody").chars().take(64).collect();
            return Ok(Self { actor, role: Role::Admin, only: Only::default() });
        }
        let shown = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = shown
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((_, token)) = token else {
            return Err(Failed::new(
                StatusCode::UNAUTHORIZED,
                "token",
                "a token is needed: Authorization: Bearer TOKEN (stampctl --token-file FILE)",
            ));
        };
        context.tokens.bearer(token.trim()).cloned().ok_or_else(|| {
            Failed::new(
                StatusCode::UNAUTHORIZED,
                "token",
                "the token is not one of this router's; ask its administrator for one",
            )
        })
    }
}

/// Refuses what a web page makes its reader's browser send to a router that lets everybody on this machine in.
fn from_here(parts: &Parts) -> Result<(), Failed> {
    let is_here = |authority: &Authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    let text = |name| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let called = match (parts.uri.authority(), text(header::HOST)) {
        (Some(authority), _) => Some(authority.clone()),
        (None, Some(text)) => Some(text.parse().map_err(|_| foreign("Host"))?),
        (None, None) => None,
    };
    if called.as_ref().is_some_and(|authority| !is_here(authority)) {
        return Err(foreign("Host"));
    }
    let origin =
        text(header::ORIGIN).map(|text| text.split("://").nth(1).unwrap_or_default().parse::<Authority>());
    match origin {
        Some(Ok(authority)) if is_here(&authority) => Ok(()),
        Some(_) => Err(foreign("Origin")),
        None => Ok(()),
    }
}

fn foreign(name: &str) -> Failed {
    Failed::new(
        StatusCode::FORBIDDEN,
        "origin",
        format!(
            "{name} is not of this machine: a router without tokens is asked by localhost or a loopback address, and by no page from elsewhere"
        ),
    )
}

impl Access {
    /// Refuses a report that is not of a node that the token is for. `known` is the stamp that the node was of until now.
    pub(super) fn reports_for(&self, report: &NodeReport, known: Option<&StampName>) -> Result<(), Failed> {
        let refused = |what: String| {
            let actor = &self.actor;
            Err(Failed::new(
                StatusCode::FORBIDDEN,
                "token-node",
                format!("the token of {actor} is for {what}"),
            ))
        };
        if let Some(node) = self.only.node.as_ref().filter(|node| *node != report.name()) {
            return refused(format!("node {node}, and the report is of node {}", report.name()));
        }
        let Some(stamp) = &self.only.stamp else { return Ok(()) };
        if report.stamp != *stamp {
            return refused(format!("nodes of stamp {stamp}, and the report is of stamp {}", report.stamp));
        }
        match known.filter(|known| *known != stamp) {
            Some(known) => {
                refused(format!("nodes of stamp {stamp}, and node {} is of stamp {known}", report.name()))
            }
            None => Ok(()),
        }
    }

    /// Refuses who may not do what `needed` may.
    pub(super) fn needs(&self, needed: Role) -> Result<(), Failed> {
        if self.role.may(needed) {
            return Ok(());
        }
        let (actor, role, needed) = (&self.actor, self.role.as_str(), needed.as_str());
        Err(Failed::new(
            StatusCode::FORBIDDEN,
            "role",
            format!("{actor} has the role {role}, and this takes the role {needed}"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_is_its_own_and_no_more() {
        use Role::{Admin, Node, Operator, Viewer};
        let may = |role: Role| [Node, Viewer, Operator, Admin].map(|needed| role.may(needed));
        assert_eq!(may(Node), [true, false, false, false]);
        assert_eq!(may(Viewer), [false, true, false, false]);
        assert_eq!(may(Operator), [false, true, true, false]);
        assert_eq!(may(Admin), [true, true, true, true]);
    }

    #[test]
    fn a_token_is_read_from_its_file_and_shown_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "short\n").unwrap();
        let mut tokens = Tokens::default();
        let short = tokens.add("ada", Role::Admin, path.clone()).unwrap_err();
        assert!(short.to_string().contains("has 5 characters"), "{short}");
        let token = "0123456789abcdef0123";
        std::fs::write(&path, format!("{token}\n")).unwrap();
        tokens.add("ada", Role::Admin, path).unwrap();
        assert_eq!(tokens.bearer(token).map(|access| access.actor.as_str()), Some("ada"));
        assert_eq!(tokens.bearer("0123456789abcdef0124"), None);
        assert!(!format!("{tokens:?}").contains(token));
        let missing = tokens.add("bob", Role::Viewer, folder.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("the token of bob cannot be read"), "{missing}");
    }
}
