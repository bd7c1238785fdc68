//! What etcd's refusals mean.

use std::error::Error;

use tonic::{Code, ConnectError, Status};

use super::super::{StoreError, StoreErrorKind};

/// What a failed try says of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It has not happened. Another member, or the same one later, may take it.
    NotTaken,
    /// It may have happened.
    Lost,
    /// The cluster does not know us any more: log in again.
    LoginAgain,
    /// It has not happened and will not.
    Refused(StoreErrorKind),
}

/// What a status means.
pub(super) fn meaning(status: &Status) -> Meaning {
    let says = |text: &str| status.message().contains(text);
    match status.code() {
        _ if was_never_sent(status) => Meaning::NotTaken,
        Code::NotFound if says("lease not found") => Meaning::Refused(StoreErrorKind::LeaseGone),
        Code::OutOfRange if says("has been compacted") => Meaning::Refused(StoreErrorKind::Compacted),
        Code::ResourceExhausted if says("database space exceeded") => Meaning::Refused(StoreErrorKind::Full),
        Code::ResourceExhausted if says("too many requests") => Meaning::NotTaken,
        Code::Unauthenticated => Meaning::LoginAgain,
        // A cluster whose users were switched on asks a client without a token for its name.
        Code::InvalidArgument if says("user name is empty") || says("authentication failed") => {
            Meaning::Refused(StoreErrorKind::Denied)
        }
        Code::PermissionDenied | Code::FailedPrecondition if says("auth") || says("permission") => {
            Meaning::Refused(StoreErrorKind::Denied)
        }
        Code::PermissionDenied => Meaning::Refused(StoreErrorKind::Denied),
        Code::InvalidArgument => Meaning::Refused(StoreErrorKind::Invalid),
        Code::Unimplemented | Code::DataLoss => Meaning::Refused(StoreErrorKind::Corrupt),
        _ => Meaning::Lost,
    }
}

fn was_never_sent(status: &Status) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The status and what lies under it, in words.
pub(super) fn words(status: &Status) -> String {
    let mut words = format!("etcd says {:?}: {}", status.code(), status.message());
    let mut cause: Option<&(dyn Error + 'static)> = status.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        cause = error.source();
    }
    words
}

pub(super) fn error(kind: StoreErrorKind, status: &Status) -> StoreError {
    StoreError::new(kind, words(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_have_happened_is_said_not_to_have() {
        for (code, message, expected) in [
            (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to connection lost",
                Meaning::Lost,
            ),
            (Code::Unavailable, "etcdserver: leader changed", Meaning::Lost),
            (Code::Unavailable, "etcdserver: no leader", Meaning::Lost),
            (Code::Cancelled, "operation was canceled", Meaning::Lost),
            (Code::DeadlineExceeded, "", Meaning::Lost),
            (Code::Unknown, "h2 protocol error", Meaning::Lost),
            (Code::ResourceExhausted, "etcdserver: too many requests", Meaning::NotTaken),
            (Code::Unauthenticated, "etcdserver: invalid auth token", Meaning::LoginAgain),
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
                Meaning::Refused(StoreErrorKind::Full),
            ),
            (
                Code::NotFound,
                "etcdserver: requested lease not found",
                Meaning::Refused(StoreErrorKind::LeaseGone),
            ),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
                Meaning::Refused(StoreErrorKind::Compacted),
            ),
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                Meaning::Refused(StoreErrorKind::Denied),
            ),
            (
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password",
                Meaning::Refused(StoreErrorKind::Denied),
            ),
            (
                Code::InvalidArgument,
                "etcdserver: request is too large",
                Meaning::Refused(StoreErrorKind::Invalid),
            ),
        ] {
            assert_eq!(meaning(&Status::new(code, message)), expected, "{code:?} {message}");
        }
    }
}
