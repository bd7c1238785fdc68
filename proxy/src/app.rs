//! A whole node: every socket is bound before any work begins, pulls are served once all is open, and the
//! process ends when the last one has ended.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use dataproxy_cache::Cache;
use dataproxy_router_api::Role;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use crate::accept::{Acceptor, Speaks, bind};
use crate::admin::{Admin, Identity, View};
use crate::bindings::file::{self, BindingsFile};
use crate::body::Body;
use crate::config::{Account, BindingsSource, ClientAccess, Config, Listen};
use crate::connection::Bounds;
use crate::exit::{Exit, Failure};
use crate::fit;
use crate::front::Front;
use crate::holdings::Holdings;
use crate::identify::Tenancy;
use crate::layout::Laid;
use crate::lifecycle::{Lifecycle, State};
use crate::metrics::{self, Registry};
use crate::process;
use crate::pull::{Puller, PullerParts};
use crate::reach::{self, Reach};
use crate::redirect::{Keys, Redirects};
use crate::resolve::Stores;
use crate::store::Store;
use crate::store::guard::{self, Guard};
use crate::store::local::LocalFolder;
use crate::tls::Certificate;
use crate::upstream::Upstream;

/// How long a connection may take to end once it is cut.
const CUT_WINDOW: Duration = Duration::from_secs(5);
/// How long blocking work may go on once the node is empty: a stalled file system must not keep it alive.
const BLOCKING_WINDOW: Duration = Duration::from_millis(100);

/// Runs a node until SIGTERM or SIGINT, then lets running pulls end.
///
/// # Errors
/// [`Failure`]: what kept it from starting.
pub fn serve(config: Config) -> Result<Exit, Failure> {
    let max_fds = process::raise_descriptor_limit();
    let registry = metrics::install(max_fds).map_err(|error| Failure::new(Exit::System, error))?;
    metrics::show_zeroes();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.node.threads {
        runtime.worker_threads(threads);
    }
    let runtime = runtime.enable_all().thread_name("serve").build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::System, error))?;
    let done = runtime.block_on(run(config, registry));
    runtime.shutdown_timeout(BLOCKING_WINDOW);
    done
}

/// Reads all that a configuration names and says what a node would do with it. Opens no socket.
///
/// # Errors
/// [`Failure`]: what would keep the node from starting.
pub fn check(config: &Config) -> Result<String, Failure> {
    let BindingsSource::File { path } = &config.bindings;
    let table = file::load(path, &config.node.region).map_err(|error| Failure::new(Exit::Input, error))?;
    certificate(&config.listen)?;
    fit::check(&table, config.tenancy.default_registry.as_ref(), &accounts(config)?.stores)
        .map_err(|unfit| Failure::new(Exit::Input, unfit))?;
    redirects(config)?;
    let mut text = String::new();
    let node = &config.node;
    let place = match &node.stamp {
        Some(stamp) => format!("of stamp {stamp}"),
        None => "of no stamp: a front door".to_owned(),
    };
    let snapshot = table.snapshot();
    let _ = writeln!(text, "node {} {place}, in region {}, for *.{}", node.name, node.region, node.zone);
    for address in &config.listen.pull {
        let _ = writeln!(text, "pulls at http://{address}/");
    }
    for address in &config.listen.tls {
        let _ = writeln!(text, "pulls at https://{address}/");
    }
    let _ = writeln!(text, "admin at http://{}/", config.admin.listen);
    let (stamps, registries) = (snapshot.stamps.len(), snapshot.bindings.len());
    let _ = writeln!(
        text,
        "bindings {}: revision {}, {stamps} stamps, {registries} registries",
        path.display(),
        snapshot.revision
    );
    for (name, account) in &config.accounts {
        let _ = match account {
            Account::Local { path } => writeln!(text, "account {name}: {}", path.display()),
            Account::Registry(upstream) => writeln!(text, "account {name}: {}", upstream.url),
        };
    }
    match &config.cache.disk {
        Some(disk) => {
            let _ = writeln!(text, "cache {}: {} MiB", disk.dir.display(), disk.capacity_bytes >> 20);
        }
        None => text.push_str("no disk cache\n"),
    }
    let _ = writeln!(text, "memory cache: {} MiB", config.cache.memory_bytes >> 20);
    Ok(text)
}

/// Tries every place that a registry's content lies in, and says what came of it; [`Exit::Unreached`] if a registry
/// could not be served.
///
/// # Errors
/// [`Failure`]: what would keep the node from starting.
pub fn reach(config: &Config) -> Result<(String, Exit), Failure> {
    let BindingsSource::File { path } = &config.bindings;
    let table = file::load(path, &config.node.region).map_err(|error| Failure::new(Exit::Input, error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::System, error))?;
    let looked = runtime.block_on(async {
        let Accounts { stores, .. } = accounts(config)?;
        let mut reach = Reach::default();
        reach.look(table.snapshot(), &stores).await;
        let is_whole = reach.unserved(table.snapshot()).is_empty();
        Ok((reach.table(table.snapshot()), if is_whole { Exit::Done } else { Exit::Unreached }))
    });
    runtime.shutdown_timeout(BLOCKING_WINDOW);
    looked
}

/// Who answers requests.
#[derive(Clone)]
enum Serving {
    Stamp(Arc<Puller>),
    Front(Arc<Front>),
}

impl Serving {
    fn answer(self, request: Request<Incoming>) -> BoxFuture<'static, Response<Body>> {
        match self {
            Self::Stamp(puller) => Box::pin(puller.serve(request)),
            Self::Front(front) => Box::pin(front.serve(request)),
        }
    }
}

async fn run(config: Config, registry: Registry) -> Result<Exit, Failure> {
    let life = Lifecycle::default();
    let mut end = Signals::listen(&life)?;
    let sockets = Sockets::bind(&config)?;
    let mut background = JoinSet::new();
    // A large cache takes its time to open, and so may nodes to be looked at; nothing is served yet that could be cut.
    let started = tokio::select! {
        started = start(&config, &life, registry, sockets, &mut background) => started?,
        () = end.next() => {
            tracing::info!("asked to end while starting");
            return Ok(Exit::Done);
        }
    };
    let Started { admin, acceptor, mut accepting } = started;
    life.advance(State::Ready);
    tracing::info!(
        node = %config.node.name,
        pull = ?config.listen.pull,
        tls = ?config.listen.tls,
        admin = %config.admin.listen,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );

    end.next().await;
    life.advance(State::Draining);
    let exit = tokio::select! {
        () = acceptor.empty() => Exit::Done,
        () = tokio::time::sleep(config.drain.deadline) => Exit::Cut,
        () = end.next() => Exit::Cut,
    };
    if exit == Exit::Cut {
        life.advance(State::Cutting);
        // What does not end by then ends with the process.
        let _ = tokio::time::timeout(CUT_WINDOW, acceptor.empty()).await;
    }
    accepting.shutdown().await;
    background.shutdown().await;
    drop(admin);
    Ok(exit)
}

type Handler = Box<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// A node that is ready to serve.
struct Started {
    admin: Admin,
    acceptor: Arc<Acceptor<Handler>>,
    accepting: JoinSet<()>,
}

/// Opens all that a node needs. Dropping it leaves nothing behind but what the process's end takes along.
async fn start(
    config: &Config,
    life: &Lifecycle,
    registry: Registry,
    sockets: Sockets,
    background: &mut JoinSet<()>,
) -> Result<Started, Failure> {
    let certificate = certificate(&config.listen)?;
    let BindingsSource::File { path } = &config.bindings;
    let bindings = BindingsFile::open(path.clone(), config.node.region.clone());
    let bindings = Arc::new(bindings.map_err(|error| Failure::new(Exit::Input, error))?);
    let Accounts { stores, guards } = accounts(config)?;
    guards.iter().for_each(|guard| guard::show_zeroes(guard));
    let cache = open_cache(config).await?;
    let node = &config.node;
    let view = View {
        identity: Identity {
            name: node.name.clone(),
            stamp: node.stamp.clone(),
            region: node.region.clone(),
            role: node.role,
        },
        life: life.clone(),
        bindings: Arc::clone(&bindings),
        certificate: certificate.clone(),
        metrics: registry,
        refresh: refresh(cache.as_ref(), &guards),
    };
    let admin = Admin::start(sockets.admin, view).map_err(|error| Failure::new(Exit::System, error))?;

    let (followed, reloads) = (Arc::clone(&bindings), life.clone());
    background.spawn(async move { followed.follow(&reloads).await });
    if let Some(certificate) = certificate.clone() {
        let reloads = life.clone();
        background.spawn(async move { certificate.follow(&reloads).await });
    }
    if !config.is_front() {
        background.spawn(reach::follow(Arc::clone(bindings.bindings()), stores.clone()));
    }
    let redirects = redirects(config)?;
    if let Some(keys) = redirects.keys.clone() {
        let reloads = life.clone();
        background.spawn(async move { keys.follow(&reloads).await });
    }
    let serving = match cache {
        Some(cache) => Serving::Stamp(puller(config, redirects, &bindings, stores, cache)?),
        None => Serving::Front(front(config, &bindings, life, background).await?),
    };
    let handler: Handler = Box::new(move |request| serving.clone().answer(request));
    let listen = &config.listen;
    let acceptor = Acceptor::new(handler, bounds(listen), listen.max_connections, listen.http2, life.clone());
    let tls = match &certificate {
        Some(certificate) => {
            let config = certificate.server_config(listen.http2);
            Some(Arc::new(config.map_err(|error| Failure::new(Exit::Input, error))?))
        }
        None => None,
    };
    let mut accepting = JoinSet::new();
    for listener in sockets.plain {
        accepting.spawn(Arc::clone(&acceptor).accept(listener, Speaks::Plain));
    }
    for (listener, config) in sockets.tls.into_iter().zip(tls.iter().cycle()) {
        accepting.spawn(Arc::clone(&acceptor).accept(listener, Speaks::Tls(Arc::clone(config))));
    }
    Ok(Started { admin, acceptor, accepting })
}

/// Every socket of a node, bound.
struct Sockets {
    plain: Vec<TcpListener>,
    tls: Vec<TcpListener>,
    admin: std::net::TcpListener,
}

impl Sockets {
    fn bind(config: &Config) -> Result<Self, Failure> {
        let one =
            |address, setting| bind(address, setting).map_err(|error| Failure::new(Exit::Listen, error));
        let all = |addresses: &[_], setting| {
            addresses.iter().map(|address| one(*address, setting)).collect::<Result<Vec<_>, _>>()
        };
        let admin = one(config.admin.listen, "admin.listen")?.into_std();
        Ok(Self {
            plain: all(&config.listen.pull, "listen.pull")?,
            tls: all(&config.listen.tls, "listen.tls")?,
            admin: admin.map_err(|error| Failure::new(Exit::System, error))?,
        })
    }
}

/// The signals that end a node; one that reloads is handled on the way.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen(life: &Lifecycle) -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::new(Exit::System, error));
        let mut hangup = listen(SignalKind::hangup())?;
        let life = life.clone();
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                life.reload();
            }
        });
        let (terminate, interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt })
    }

    /// Resolves with the next signal that asks the node to end.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn bounds(listen: &Listen) -> Bounds {
    Bounds {
        header_bytes: usize::try_from(listen.header_bytes).unwrap_or(usize::MAX),
        header_count: listen.header_count,
        first_byte_timeout: listen.first_byte_timeout,
        idle_timeout: listen.idle_timeout,
    }
}

fn certificate(listen: &Listen) -> Result<Option<Arc<Certificate>>, Failure> {
    let (Some(cert), Some(key)) = (&listen.cert, &listen.key) else { return Ok(None) };
    let certificate = Certificate::open(cert.clone(), key.clone());
    Ok(Some(Arc::new(certificate.map_err(|error| Failure::new(Exit::Input, error))?)))
}

/// The accounts of a node; those of storage each behind its guard.
struct Accounts {
    stores: Stores,
    guards: Vec<Arc<Guard>>,
}

fn accounts(config: &Config) -> Result<Accounts, Failure> {
    let (mut stores, mut guards) = (Stores::default(), Vec::new());
    for (name, account) in &config.accounts {
        let holdings: Arc<dyn Holdings> = match account {
            Account::Local { path } => {
                let folder = LocalFolder::open(path)
                    .map_err(|error| Failure::new(Exit::Folder, format!("accounts.{name}.path: {error}")))?;
                let bounds = config.terms.get(name).copied().unwrap_or_default().bounds;
                let guard = Guard::new(name.clone(), Arc::new(folder), bounds);
                guards.push(Arc::clone(&guard));
                Laid::over(guard as Arc<dyn Store>)
            }
            Account::Registry(settings) => {
                let upstream = Upstream::open(name, settings)
                    .map_err(|error| Failure::new(Exit::Input, format!("accounts.{name}.{error}")))?;
                Arc::new(upstream)
            }
        };
        stores.insert(name.clone(), holdings);
    }
    Ok(Accounts { stores, guards })
}

/// The cache of a stamp's node; a front door has none.
async fn open_cache(config: &Config) -> Result<Option<Cache>, Failure> {
    if config.is_front() {
        return Ok(None);
    }
    let cache = Cache::open(config.cache.clone()).await;
    Ok(Some(cache.map_err(|error| Failure::new(Exit::Folder, format!("cache.dir: {error}")))?))
}

/// Brings up to date what is only read off at a scrape.
fn refresh(cache: Option<&Cache>, guards: &[Arc<Guard>]) -> Arc<dyn Fn() + Send + Sync> {
    let (cache, guards) = (cache.cloned(), guards.to_vec());
    Arc::new(move || {
        if let Some(cache) = &cache {
            metrics::show_cache(&cache.stats());
        }
        guards.iter().for_each(|guard| guard.show());
    })
}

fn tenancy(config: &Config) -> Result<Tenancy, Failure> {
    let zone = config.node.zone.parse().map_err(|error| Failure::new(Exit::Config, error))?;
    Ok(Tenancy {
        zone,
        path_tenancy: config.tenancy.path,
        default_registry: config.tenancy.default_registry.clone(),
    })
}

/// Which blobs this node answers by a redirect.
fn redirects(config: &Config) -> Result<Redirects, Failure> {
    let open = config.terms.iter().filter(|(_, terms)| terms.clients == ClientAccess::Open);
    let keys = match &config.delivery.key {
        Some(key) => {
            let keys = Keys::open(key.clone(), config.delivery.other_key.clone());
            Some(Arc::new(keys.map_err(|error| Failure::new(Exit::Input, error))?))
        }
        None => None,
    };
    Ok(Redirects {
        open: open.map(|(name, _)| name.clone()).collect(),
        data_endpoint: config.delivery.data_endpoint.clone().filter(|_| config.node.role == Role::Registry),
        keys,
        valid: config.delivery.url_valid,
    })
}

fn puller(
    config: &Config,
    redirects: Redirects,
    bindings: &BindingsFile,
    stores: Stores,
    cache: Cache,
) -> Result<Arc<Puller>, Failure> {
    Ok(Arc::new(Puller::new(PullerParts {
        bindings: Arc::clone(bindings.bindings()),
        cache,
        stores,
        tenancy: tenancy(config)?,
        stamp: config.node.stamp.clone(),
        node: config.node.name.clone(),
        freshness: config.freshness,
        redirects,
        observer: None,
    })))
}

async fn front(
    config: &Config,
    bindings: &BindingsFile,
    life: &Lifecycle,
    background: &mut JoinSet<()>,
) -> Result<Arc<Front>, Failure> {
    let bindings = Arc::clone(bindings.bindings());
    let front = Front::new(config.node.name.clone(), tenancy(config)?, bindings, config.front);
    let (watching, life) = (Arc::clone(&front), life.clone());
    background.spawn(async move { watching.watch_nodes(&life).await });
    front.looked().await;
    Ok(front)
}
