//! Calls to a cluster: one member at a time, the next when it fails, within one limit.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::super::{LeaseId, StoreError, StoreErrorKind};
use super::errors::{self, Meaning};
use super::messages::{
    Answer, AuthenticateRequest, AuthenticateResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
};
use super::options::{self, EtcdOptions, EtcdOptionsError, EtcdUser};

const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
/// A read that one member has not answered by then is asked of the next.
const READ_TRY: Duration = Duration::from_secs(2);
/// Between two rounds through all members.
const PAUSE: Duration = Duration::from_millis(100);
/// A page of a listing may be that large; etcd bounds what it sends.
const LARGEST_ANSWER: usize = 512 << 20;

/// The members, and whom we are to them.
#[derive(Debug)]
pub(super) struct Cluster {
    members: Vec<Channel>,
    /// Which member is asked, modulo their number.
    turn: AtomicUsize,
    limit: Duration,
    user: Option<EtcdUser>,
    token: Mutex<Option<MetadataValue<Ascii>>>,
    /// The cluster that answered first; 0 before.
    id: AtomicU64,
}

/// A try that failed, and at whom.
pub(super) struct Failed {
    pub(super) status: Status,
    turn: usize,
}

impl Cluster {
    pub(super) fn new(options: &EtcdOptions) -> Result<Self, EtcdOptionsError> {
        let members = options::endpoints(options)?.iter().map(|endpoint| endpoint.connect_lazy()).collect();
        Ok(Self {
            members,
            // Not every router at the same member.
            turn: AtomicUsize::new(rand::random_range(0..options.endpoints.len())),
            limit: options.limit,
            user: options.user.clone(),
            token: Mutex::default(),
            id: AtomicU64::new(0),
        })
    }

    /// A call that changes nothing.
    pub(super) async fn read<Q: Message + Clone + 'static, A: Answer>(
        &self,
        path: &'static str,
        question: &Q,
    ) -> Result<A, StoreError> {
        self.until_answered(|by| self.unary(path, question.clone(), by)).await
    }

    /// Lets a lease live on. The answer comes on a stream of its own, which ends with it.
    pub(super) async fn keep_alive(&self, lease: LeaseId) -> Result<(), StoreError> {
        let question = LeaseKeepAliveRequest { id: lease.0.cast_signed() };
        let answer: LeaseKeepAliveResponse =
            self.until_answered(|by| self.ask_once(KEEP_ALIVE, question.clone(), by)).await?;
        let gone = || StoreError::new(StoreErrorKind::LeaseGone, format!("lease {lease} has ended"));
        if answer.ttl > 0 { Ok(()) } else { Err(gone()) }
    }

    /// What does no harm twice is tried at member after member, until the limit.
    async fn until_answered<A, F: Future<Output = Result<A, Failed>>>(
        &self,
        ask: impl Fn(Instant) -> F,
    ) -> Result<A, StoreError> {
        let ends = Instant::now() + self.limit;
        let mut last = format!("etcd did not answer within {:?}", self.limit);
        let (mut tries, mut logins) = (0, 0);
        while Instant::now() < ends {
            let failed = match ask(ends.min(Instant::now() + READ_TRY)).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            match errors::meaning(&failed.status) {
                Meaning::Refused(kind) => return Err(errors::error(kind, &failed.status)),
                Meaning::LoginAgain => self.after_a_refused_login(&mut logins, &failed.status)?,
                Meaning::NotTaken | Meaning::Lost => {
                    last = errors::words(&failed.status);
                    self.pass_on(&failed, &mut tries).await;
                }
            }
        }
        Err(StoreError::new(StoreErrorKind::Unavailable, last))
    }

    /// A call that changes something: sent once. Tried again only where it was not taken for certain.
    pub(super) async fn write<Q: Message + Clone + 'static, A: Answer>(
        &self,
        path: &'static str,
        question: &Q,
    ) -> Result<A, StoreError> {
        let ends = Instant::now() + self.limit;
        let (mut tries, mut logins) = (0, 0);
        loop {
            let failed = match self.unary(path, question.clone(), ends).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            match errors::meaning(&failed.status) {
                Meaning::Refused(kind) => return Err(errors::error(kind, &failed.status)),
                Meaning::LoginAgain => self.after_a_refused_login(&mut logins, &failed.status)?,
                Meaning::Lost => {
                    self.pass_on(&failed, &mut tries).await;
                    return Err(errors::error(StoreErrorKind::Unknown, &failed.status));
                }
                Meaning::NotTaken => {
                    self.pass_on(&failed, &mut tries).await;
                    if Instant::now() >= ends {
                        return Err(errors::error(StoreErrorKind::Unavailable, &failed.status));
                    }
                }
            }
        }
    }

    async fn unary<Q: Message + 'static, A: Answer>(
        &self,
        path: &'static str,
        question: Q,
        by: Instant,
    ) -> Result<A, Failed> {
        let (turn, mut member) = self.member();
        let asking = async {
            let request = self.request(question, by).await?;
            ready(&mut member).await?;
            let codec = ProstCodec::<Q, A>::default();
            let answer = member.unary(request, PathAndQuery::from_static(path), codec).await?.into_inner();
            self.is_the_same_cluster(&answer)?;
            Ok(answer)
        };
        within(by, asking).await.map_err(|status| Failed { status, turn })
    }

    async fn ask_once<Q: Message + 'static, A: Answer>(
        &self,
        path: &'static str,
        question: Q,
        by: Instant,
    ) -> Result<A, Failed> {
        let (turn, mut answers) = self.open(path, stream::once(std::future::ready(question)), by).await?;
        let next = async {
            answers
                .message()
                .await?
                .ok_or_else(|| Status::unavailable("etcd ended the stream without an answer"))
        };
        within(by, next).await.map_err(|status| Failed { status, turn })
    }

    /// Begins a stream of questions and answers at one member, which must have a leader.
    pub(super) async fn open<Q: Message + 'static, A: Answer>(
        &self,
        path: &'static str,
        questions: impl futures_util::Stream<Item = Q> + Send + 'static,
        by: Instant,
    ) -> Result<(usize, Streaming<A>), Failed> {
        let (turn, mut member) = self.member();
        let asking = async {
            let mut request = self.request(questions, by).await?;
            request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
            ready(&mut member).await?;
            let codec = ProstCodec::<Q, A>::default();
            Ok(member.streaming(request, PathAndQuery::from_static(path), codec).await?.into_inner())
        };
        match within(by, asking).await {
            Ok(answers) => Ok((turn, answers)),
            Err(status) => Err(Failed { status, turn }),
        }
    }

    fn member(&self) -> (usize, Grpc<Channel>) {
        let turn = self.turn.load(Ordering::Relaxed);
        let member = self.members[turn % self.members.len()].clone();
        let member = Grpc::new(member).max_decoding_message_size(LARGEST_ANSWER);
        (turn, member)
    }

    /// Turns to the next member, unless somebody has turned already; after a whole round, waits a little.
    pub(super) async fn pass_on(&self, failed: &Failed, tries: &mut usize) {
        self.pass_on_from(failed.turn);
        *tries += 1;
        if tries.is_multiple_of(self.members.len()) {
            sleep(PAUSE).await;
        }
    }

    pub(super) fn pass_on_from(&self, turn: usize) {
        let next = turn.wrapping_add(1);
        let _ = self.turn.compare_exchange(turn, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    async fn request<T>(&self, message: T, by: Instant) -> Result<Request<T>, Status> {
        let mut request = Request::new(message);
        if let Some(token) = self.token(by).await? {
            request.metadata_mut().insert("token", token);
        }
        Ok(request)
    }

    async fn token(&self, by: Instant) -> Result<Option<MetadataValue<Ascii>>, Status> {
        let Some(user) = &self.user else { return Ok(None) };
        let held = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if held.is_some() {
            return Ok(held);
        }
        let password = std::fs::read_to_string(&user.password_file).map_err(|error| {
            Status::permission_denied(format!("the password in {}: {error}", user.password_file.display()))
        })?;
        let password = password.trim_end_matches(['\r', '\n']).to_owned();
        let question = AuthenticateRequest { name: user.name.clone(), password };
        let (_, mut member) = self.member();
        let login = async {
            ready(&mut member).await?;
            let codec = ProstCodec::<_, AuthenticateResponse>::default();
            member.unary(Request::new(question), PathAndQuery::from_static(AUTHENTICATE), codec).await
        };
        let token = within(by, login).await?.into_inner().token;
        let token = token.parse().map_err(|_| Status::permission_denied("etcd's token is no text"))?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(MetadataValue::clone(&token));
        Ok(Some(token))
    }

    /// Forgets the token, so that the next try logs in; a second refusal is the last word.
    pub(super) fn after_a_refused_login(&self, logins: &mut u32, status: &Status) -> Result<(), StoreError> {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *logins += 1;
        if self.user.is_none() || *logins > 1 {
            return Err(errors::error(StoreErrorKind::Denied, status));
        }
        Ok(())
    }

    /// Behind an endpoint there is the cluster that there was: revisions of another would mean other things.
    pub(super) fn is_the_same_cluster(&self, answer: &impl Answer) -> Result<(), Status> {
        let Some(header) = answer.header() else {
            return Err(Status::data_loss("etcd's answer has no header"));
        };
        match self.id.compare_exchange(0, header.cluster_id, Ordering::Relaxed, Ordering::Relaxed) {
            Err(first) if first != header.cluster_id => Err(Status::data_loss(format!(
                "cluster {:x} answers where cluster {first:x} did; restart the router if it is to use that one",
                header.cluster_id
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }
}

async fn ready(member: &mut Grpc<Channel>) -> Result<(), Status> {
    member.ready().await.map_err(|error| Status::from_error(error.into()))
}

async fn within<T>(by: Instant, asking: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    match timeout_at(by, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(Status::deadline_exceeded("no answer within the limit")),
    }
}
