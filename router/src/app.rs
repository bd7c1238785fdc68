//! A whole router: its store is opened, its API listens, and it does what is due for as long as it leads.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Certificate, Context, Only, ServeError, TlsError, TokenError, Tokens};
use crate::backup::{self, Backup, RestoreError};
use crate::client::ClientError;
use crate::config::{Config, Store as StoreSettings};
use crate::control::{Control, OpenError};
use crate::dns::{Bounds, DnsServer, Zone};
use crate::fleet::Fleet;
use crate::leader::{Candidate, Term};
use crate::metrics;
use crate::migration::UnixMillis;
use crate::minutes::{FileError as MinutesError, Minutes};
use crate::naming;
use crate::planning;
use crate::push::push;
use crate::reconcile::{Guard, reconcile};
use crate::signals::Signals;
use crate::store::embedded::{EmbeddedStore, OpenError as FileError};
use crate::store::etcd::{EtcdOptionsError, EtcdStore};
use crate::store::measured::Measured;
use crate::store::{Store, StoreError};

/// How long blocking work may go on once the router ends.
const BLOCKING: Duration = Duration::from_millis(500);

/// Why a router does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its store's file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its store cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its etcd cluster is not told well.
    #[error(transparent)]
    Etcd(#[from] EtcdOptionsError),
    /// The file with what nodes used cannot be used.
    #[error(transparent)]
    Minutes(#[from] MinutesError),
    /// A token cannot be read.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The API's certificate cannot be used.
    #[error("api.tls: {0}")]
    Tls(#[from] TlsError),
    /// The authorities of the webhook cannot be read.
    #[error("dns.webhook: {0}")]
    Webhook(#[from] ClientError),
    /// The API cannot listen.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A backup cannot be read.
    #[error("{}: the backup cannot be read: {reason}", path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A backup cannot be restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// DNS cannot listen.
    #[error("{0}; `dns.listen` moves it")]
    Dns(std::io::Error),
    /// The system gives no thread or signal.
    #[error("the system refused: {0}")]
    System(#[from] std::io::Error),
}

impl StartError {
    /// The process's exit code, as BSD's `sysexits` number such ends.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Token(_) | Self::Tls(_) | Self::Webhook(_) => 66,
            Self::Etcd(_) => 78,
            Self::Serve(_) | Self::Dns(_) => 69,
            Self::System(_) => 71,
            Self::File(_)
            | Self::Minutes(_)
            | Self::Open(_)
            | Self::Store(_)
            | Self::Backup { .. }
            | Self::Restore(_) => 74,
        })
    }
}

/// Writes a backup into the store of `config`, which has to be empty. Blocks.
///
/// # Errors
/// [`StartError`]
pub fn restore(config: &Config, path: &Path) -> Result<usize, StartError> {
    let unreadable = |reason: String| StartError::Backup { path: path.to_owned(), reason };
    let text = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let backup: Backup = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = open(&config.store).await?;
        Ok(backup::restore(store.as_ref(), &backup, wall_clock()).await?)
    })
}

/// The wall's clock.
pub fn wall_clock() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Runs a router until SIGTERM or SIGINT.
///
/// # Errors
/// [`StartError`]
pub fn serve(config: Config) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("router").build()?;
    let done = runtime.block_on(run(config));
    runtime.shutdown_timeout(BLOCKING);
    done
}

async fn run(config: Config) -> Result<(), StartError> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut tokens = Tokens::default();
    for token in &config.tokens {
        let only = Only { stamp: token.stamp.clone(), node: token.node.clone() };
        tokens.add_for(&token.name, token.role, only, token.file.clone())?;
    }
    let address = config.api.listen;
    let certificate = match &config.api.tls {
        Some(tls) => Some(Certificate::open(tls.cert.clone(), tls.key.clone())?),
        None => None,
    };
    let acceptor = certificate.as_ref().map(|certificate| certificate.acceptor()).transpose();
    let acceptor = acceptor.map_err(std::io::Error::other)?;
    let listener = TcpListener::bind(address).await.map_err(|error| ServeError { address, error })?;
    let dns = match &config.dns {
        Some(dns) => Some(DnsServer::bind(&dns.listen, Bounds::default()).await.map_err(StartError::Dns)?),
        None => None,
    };
    let metrics = metrics::install().map_err(std::io::Error::other)?;
    let store: Arc<dyn Store> = Arc::new(Measured(open(&config.store).await?));
    let control = Control::open(Arc::clone(&store), config.region.clone()).await?;
    let signals = signals(&config).await?;
    let fleet = Arc::<Fleet>::default();
    let end = CancellationToken::new();
    let mut parts = JoinSet::new();
    let following = Arc::clone(&control);
    parts.spawn(async move { following.follow().await });
    let candidate = Candidate::stand(Arc::clone(&store), config.name.clone(), Term::default());
    let lead = candidate.standing();
    let guard: Arc<dyn Guard> = Arc::new(planning::Measured::new(signals.clone(), wall_clock));
    parts.spawn(reconcile(
        Arc::clone(&control),
        Arc::clone(&fleet),
        Arc::clone(&guard),
        lead.clone(),
        wall_clock,
    ));
    let naming = config.dns.as_ref().and_then(|dns| Some((dns, Zone::new(&dns.zone).ok()?)));
    let zone = naming.as_ref().map(|(_, zone)| zone.clone());
    if let Some((settings, zone)) = naming
        && let Some(webhook) = settings.webhook.clone()
    {
        parts.spawn(push(Arc::clone(&control), zone, webhook, lead.clone(), wall_clock)?);
    }
    if let Some((settings, server)) = config.dns.clone().zip(dns) {
        parts.spawn(naming::name(Arc::clone(&control), settings, server));
    }
    parts.spawn(metrics::upkeep(metrics.clone()));
    if let Some(certificate) = certificate {
        parts.spawn(certificate.follow());
    }
    let context = Context {
        control: Arc::clone(&control),
        fleet,
        signals,
        tokens: Arc::new(tokens),
        lead,
        guard,
        clock: wall_clock,
        store: config.store.to_string().into(),
        metrics: metrics.clone(),
        zone: zone.map(Arc::new),
    };
    let serving = tokio::spawn(api::serve(listener, acceptor, api::router(context), end.clone()));
    tracing::info!(
        region = %config.region,
        api = %address,
        dns = ?config.dns.as_ref().map(|dns| &dns.listen),
        store = %config.store,
        revision = %control.state().revision(),
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending; nodes go on with what they have");
    end.cancel();
    let _ = serving.await;
    parts.shutdown().await;
    candidate.resign().await;
    Ok(())
}

/// What nodes used, where the settings have it.
async fn signals(config: &Config) -> Result<Signals, StartError> {
    let beside = match &config.store {
        StoreSettings::Embedded { path } => {
            let mut beside = path.clone().into_os_string();
            beside.push(".minutes");
            Some(PathBuf::from(beside))
        }
        StoreSettings::Etcd(_) => None,
    };
    let path = config.signals.path.clone().or(beside);
    if path.is_none() {
        tracing::warn!("what nodes used is kept in memory alone; signals.path names a file for it");
    }
    let opened = tokio::task::spawn_blocking(move || match path {
        Some(path) => Minutes::open(&path),
        None => Minutes::in_memory(),
    });
    let minutes = opened.await.map_err(std::io::Error::other)??;
    Ok(Signals { minutes: Arc::new(minutes), terms: config.signals.terms() })
}

async fn open(settings: &StoreSettings) -> Result<Arc<dyn Store>, StartError> {
    match settings {
        StoreSettings::Embedded { path } => {
            let path = path.clone();
            let opened = tokio::task::spawn_blocking(move || EmbeddedStore::open(&path)).await;
            Ok(Arc::new(opened.map_err(std::io::Error::other)??))
        }
        StoreSettings::Etcd(etcd) => {
            // The settings were checked when they were read.
            let options = etcd.options().map_err(std::io::Error::other)?;
            Ok(Arc::new(EtcdStore::new(&options)?))
        }
    }
}
