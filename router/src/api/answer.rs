//! Answers: what was done, and every error as JSON with the rule that it follows from.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use dataproxy_router_api::Revision;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::command::RefusalKind;
use crate::control::ControlError;
use crate::store::{StoreError, StoreErrorKind};

/// A change, as it was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// What was done, in words.
    pub done: String,
    /// Whether anything had to be changed for it.
    pub changed: bool,
    /// The revision at which it is so.
    pub revision: Revision,
    /// The migration that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<String>,
    /// What the change means, where it was only tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
}

/// An error as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong, and what would be right.
    pub error: String,
    /// The rule, as a stable word.
    pub rule: String,
}

/// A request that is answered with an error.
#[derive(Debug)]
pub(super) struct Failed {
    status: StatusCode,
    body: ErrorBody,
}

impl Failed {
    pub(super) fn new(status: StatusCode, rule: &str, error: impl Into<String>) -> Self {
        Self { status, body: ErrorBody { error: error.into(), rule: rule.to_owned() } }
    }

    pub(super) fn not_found(rule: &str, error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, rule, error)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<ControlError> for Failed {
    fn from(error: ControlError) -> Self {
        let (status, rule) = match &error {
            ControlError::Refused(refusal) => {
                let status = match refusal.kind {
                    RefusalKind::NotFound => StatusCode::NOT_FOUND,
                    RefusalKind::Conflict => StatusCode::CONFLICT,
                    RefusalKind::Invalid => StatusCode::BAD_REQUEST,
                };
                (status, refusal.rule)
            }
            ControlError::Store(error) => return error.clone().into(),
            ControlError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            ControlError::Behind => (StatusCode::SERVICE_UNAVAILABLE, "behind"),
            ControlError::NotLeading => (StatusCode::SERVICE_UNAVAILABLE, "leader"),
            ControlError::Record(_) => (StatusCode::INTERNAL_SERVER_ERROR, "record"),
        };
        Self::new(status, rule, error.to_string())
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        let status = match error.kind {
            StoreErrorKind::Invalid => StatusCode::BAD_REQUEST,
            StoreErrorKind::Full => StatusCode::INSUFFICIENT_STORAGE,
            StoreErrorKind::Corrupt => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.kind.as_str(), error.to_string())
    }
}

pub(super) async fn nothing_here() -> Failed {
    Failed::not_found("path", "there is nothing here; /openapi.json lists what there is")
}

pub(super) async fn other_method() -> Failed {
    Failed::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "this path does not take the method; /openapi.json says which it takes",
    )
}

/// A JSON body. An error is JSON like all others.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failed;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failed> {
        let read: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        match read {
            Ok(Json(value)) => Ok(Self(value)),
            Err(error) => Err(Failed::new(StatusCode::BAD_REQUEST, "body", error.body_text())),
        }
    }
}

/// What a path names.
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failed> {
        let read: Result<_, PathRejection> = axum::extract::Path::from_request_parts(parts, state).await;
        match read {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(error) => Err(Failed::new(StatusCode::BAD_REQUEST, "path", error.body_text())),
        }
    }
}

/// The query of a request.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failed> {
        let read: Result<_, QueryRejection> = axum::extract::Query::from_request_parts(parts, state).await;
        match read {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(error) => Err(Failed::new(StatusCode::BAD_REQUEST, "query", error.body_text())),
        }
    }
}
