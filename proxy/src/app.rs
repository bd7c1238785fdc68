//! A whole node: every socket is bound before any work begins, pulls are served once all is open, and the
//! process ends when the last one has ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dataproxy_cache::Cache;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::accept::{Acceptor, Speaks, bind};
use crate::admin::{Admin, Identity, Listener, View};
use crate::bindings::feed::Feed;
use crate::body::Body;
use crate::config::{Config, Listen};
use crate::connection::Bounds;
use crate::connections::Connections;
use crate::control::{self, Controlled};
use crate::drain_file::DrainFile;
use crate::exit::{Exit, Failure};
use crate::front::Front;
use crate::late::Late;
use crate::lifecycle::Lifecycle;
use crate::metrics::{self, Registry};
use crate::minutes::{self, Minutes};
use crate::passed::{self, Passed};
use crate::process;
use crate::pull::{Puller, PullerParts};
use crate::reach;
use crate::redirect::Redirects;
use crate::resolve::Stores;
use crate::stamp::{self, StampCache, StampParts};
use crate::store::guard::{self, Guard};

mod check;
mod live;
mod open;
mod routed;

pub use check::{check, reach};
use live::{Signals, leave, live, lulls};

/// Tasks that run before sockets are looked at again. Each may write a quantum first, so that the runtime's own default of
/// 61 makes new requests wait for as many MiB.
const EVENT_INTERVAL: u32 = 16;
/// How long blocking work may go on once the node is empty: a stalled file system must not keep it alive.
const BLOCKING_WINDOW: Duration = Duration::from_millis(100);

/// Runs a node until it is asked to end, then lets running pulls end as `docs/operations.md` says.
///
/// # Errors
/// [`Failure`]: what kept it from starting.
pub fn serve(config: Config) -> Result<Exit, Failure> {
    // Before there is a second thread: it changes the environment.
    let passed = Passed::from_env(&config).map_err(|error| Failure::new(Exit::Listen, error))?;
    let max_fds = process::raise_descriptor_limit();
    let registry = metrics::install(max_fds).map_err(|error| Failure::new(Exit::System, error))?;
    metrics::show_zeroes();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.event_interval(EVENT_INTERVAL);
    if let Some(threads) = config.node.threads {
        runtime.worker_threads(threads);
    }
    let runtime = runtime.enable_all().thread_name("serve").build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::System, error))?;
    let done = runtime.block_on(run(config, registry, passed));
    runtime.shutdown_timeout(BLOCKING_WINDOW);
    done
}

/// Who answers requests.
#[derive(Clone)]
enum Serving {
    Stamp(Arc<Puller>, Option<Arc<StampCache>>),
    Front(Arc<Front>),
}

impl Serving {
    fn answer(self, request: Request<Incoming>) -> BoxFuture<'static, Response<Body>> {
        match self {
            Self::Stamp(_, Some(stamp)) if request.uri().path().starts_with(stamp::PATH) => {
                Box::pin(stamp.serve(request))
            }
            Self::Stamp(puller, _) => Box::pin(puller.serve(request)),
            Self::Front(front) => Box::pin(front.serve(request)),
        }
    }
}

async fn run(config: Config, registry: Registry, passed: Passed) -> Result<Exit, Failure> {
    let life = Lifecycle::new(config.drain.timers());
    let mut signals = Signals::listen(&life, config.drain.deadline)?;
    let is_shared = passed.serves_pulls();
    let sockets = Sockets::bind(&config, passed)?;
    let mut background = JoinSet::new();
    // A large cache takes its time to open, and so may nodes to be looked at; nothing is served yet that could be cut.
    let started = tokio::select! {
        started = start(&config, &life, registry, sockets, &mut background) => started?,
        () = signals.end(&life) => {
            tracing::info!("asked to end while starting");
            return Ok(Exit::Done);
        }
    };
    let Started { admin, measuring, acceptor, mut accepting } = started;
    life.opened();
    tracing::info!(
        node = %config.node.name,
        pull = ?config.listen.pull,
        tls = ?config.listen.tls,
        admin = %config.admin.listen,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    if is_shared {
        let (life, acceptor) = (life.clone(), Arc::clone(&acceptor));
        background.spawn(async move { lulls(&life, &acceptor).await });
    }
    let ending = live(&life, &acceptor, &mut signals).await;
    accepting.shutdown().await;
    leave(&acceptor, ending).await;
    background.shutdown().await;
    drop((admin, measuring));
    Ok(ending.into())
}

type Handler = Box<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// A node that is ready to serve.
struct Started {
    admin: Admin,
    measuring: minutes::Follower,
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
    let certificate = open::certificate(&config.listen)?;
    let routed::Opened { feed: bindings, routers } = routed::open(config)?;
    let open::Accounts { stores, guards } = open::accounts(config)?;
    guards.iter().for_each(|guard| guard::show_zeroes(guard));
    let cache = open::cache(config).await?;
    let node = &config.node;
    let connections = Arc::<Connections>::default();
    let minutes = Arc::<Minutes>::default();
    let measuring = minutes::start(minutes::Parts {
        cpu: config.cpu.clone(),
        node: node.name.clone(),
        bindings: Arc::clone(bindings.bindings()),
        life: life.clone(),
        minutes: Arc::clone(&minutes),
    });
    let measuring = measuring.map_err(|error| Failure::new(Exit::System, error))?;
    let view = View {
        identity: Identity {
            name: node.name.clone(),
            stamp: node.stamp.clone(),
            region: node.region.clone(),
            role: node.role,
        },
        life: life.clone(),
        bindings: bindings.clone(),
        certificate: certificate.clone(),
        metrics: registry,
        minutes: Arc::clone(&minutes),
        refresh: refresh(cache.as_ref(), &guards, &connections, bindings.clone()),
    };
    let controlled = Controlled {
        identity: view.identity.clone(),
        life: life.clone(),
        connections: Arc::clone(&connections),
        deadline: config.drain.deadline,
    };
    let control = sockets.control.map(|listener| (listener, control::router(controlled)));
    let admin =
        Admin::start(sockets.admin, view, control).map_err(|error| Failure::new(Exit::System, error))?;

    let (followed, reloads) = (bindings.clone(), life.clone());
    background.spawn(async move { followed.follow(&reloads).await });
    if let Some(path) = &config.drain.file {
        let (file, life) = (DrainFile::new(path.clone(), config.drain.file_deadline), life.clone());
        background.spawn(async move { file.follow(&life).await });
    }
    if let Some(routers) = routers {
        routed::report(config, routers, &bindings, &stores, life, &minutes, background);
    }
    if let Some(certificate) = certificate.clone() {
        let reloads = life.clone();
        background.spawn(async move { certificate.follow(&reloads).await });
    }
    // Nothing is known to serve before.
    bindings.available().await;
    if !config.is_front() {
        background.spawn(reach::follow(Arc::clone(bindings.bindings()), stores.clone()));
    }
    let redirects = open::redirects(config)?;
    let stamp_keys = open::stamp_keys(config)?;
    for keys in redirects.keys.iter().chain(&stamp_keys) {
        let (keys, reloads) = (Arc::clone(keys), life.clone());
        background.spawn(async move { keys.follow(&reloads).await });
    }
    let serving = match cache {
        Some(cache) => {
            let stamp_cache = stamp_keys.zip(node.stamp.clone()).map(|(keys, stamp)| {
                StampCache::new(StampParts {
                    stamp,
                    node: node.name.clone(),
                    bindings: Arc::clone(bindings.bindings()),
                    stores: stores.clone(),
                    cache: cache.clone(),
                    keys,
                    patience: config.stamp.patience,
                    max_reads: config.stamp.max_reads,
                    life: life.clone(),
                })
            });
            let puller = puller(config, redirects, &bindings, stores, cache.clone(), stamp_cache.clone())?;
            routed::purge(&bindings, cache, Arc::clone(&puller), background).await;
            Serving::Stamp(puller, stamp_cache)
        }
        None => Serving::Front(front(config, &bindings, life, background).await?),
    };
    let handler: Handler = Box::new(move |request| serving.clone().answer(request));
    let listen = &config.listen;
    let acceptor = Acceptor::new(
        handler,
        bounds(listen),
        listen.max_connections,
        listen.http2,
        life.clone(),
        connections,
    );
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
    Ok(Started { admin, measuring, acceptor, accepting })
}

/// Every socket of a node, bound.
struct Sockets {
    plain: Vec<TcpListener>,
    tls: Vec<TcpListener>,
    admin: std::net::TcpListener,
    control: Option<Listener>,
}

impl Sockets {
    /// Takes those that were passed to the process, and binds the others.
    fn bind(config: &Config, passed: Passed) -> Result<Self, Failure> {
        let listen = |error| Failure::new(Exit::Listen, error);
        let system = |error: std::io::Error| Failure::new(Exit::System, error);
        let all = |passed: Vec<std::net::TcpListener>, addresses: Vec<SocketAddr>, setting| {
            let passed = passed.into_iter().map(|socket| passed::open(socket).map_err(system));
            let bound = addresses.into_iter().map(|address| bind(address, setting).map_err(listen));
            passed.chain(bound).collect::<Result<Vec<_>, _>>()
        };
        let Passed { pull, tls, admin, to_bind } = passed;
        let admin = match admin {
            Some(admin) => admin,
            None => bind(config.admin.listen, "admin.listen").map_err(listen)?.into_std().map_err(system)?,
        };
        let control = config.control.listen.as_ref().map(control::bind).transpose();
        Ok(Self {
            plain: all(pull, to_bind.pull, "listen.pull")?,
            tls: all(tls, to_bind.tls, "listen.tls")?,
            admin,
            control: control.map_err(|error| Failure::new(Exit::Listen, error))?,
        })
    }
}

fn bounds(listen: &Listen) -> Bounds {
    Bounds {
        header_bytes: usize::try_from(listen.header_bytes).unwrap_or(usize::MAX),
        header_count: listen.header_count,
        write_quantum_bytes: usize::try_from(listen.write_quantum_bytes).unwrap_or(usize::MAX),
        sendfile: listen.sendfile,
        tls_buffer_bytes: usize::try_from(listen.tls_buffer_bytes).unwrap_or(usize::MAX),
        first_byte_timeout: listen.first_byte_timeout,
        idle_timeout: listen.idle_timeout,
    }
}

/// Brings up to date what is only read off at a scrape.
fn refresh(
    cache: Option<&Cache>,
    guards: &[Arc<Guard>],
    connections: &Arc<Connections>,
    bindings: Feed,
) -> Arc<dyn Fn() + Send + Sync> {
    let (cache, guards, connections) = (cache.cloned(), guards.to_vec(), Arc::clone(connections));
    Arc::new(move || {
        metrics::show_connections(&connections.count());
        if let Some(cache) = &cache {
            metrics::show_cache(&cache.stats());
        }
        guards.iter().for_each(|guard| guard.show());
        bindings.show();
    })
}

fn puller(
    config: &Config,
    redirects: Redirects,
    bindings: &Feed,
    stores: Stores,
    cache: Cache,
    stamp_cache: Option<Arc<StampCache>>,
) -> Result<Arc<Puller>, Failure> {
    Ok(Arc::new(Puller::new(PullerParts {
        bindings: Arc::clone(bindings.bindings()),
        cache,
        stores,
        tenancy: open::tenancy(config)?,
        stamp: config.node.stamp.clone(),
        node: config.node.name.clone(),
        freshness: config.freshness,
        redirects,
        stamp_cache,
        late: Late::new(Arc::clone(bindings.bindings()), config.front, config.moves.spread),
        ahead: config.ahead,
        observer: None,
    })))
}

async fn front(
    config: &Config,
    bindings: &Feed,
    life: &Lifecycle,
    background: &mut JoinSet<()>,
) -> Result<Arc<Front>, Failure> {
    let bindings = Arc::clone(bindings.bindings());
    let front = Front::new(config.node.name.clone(), open::tenancy(config)?, bindings, config.front);
    let (watching, life) = (Arc::clone(&front), life.clone());
    background.spawn(async move { watching.watch_nodes(&life).await });
    front.looked().await;
    Ok(front)
}
