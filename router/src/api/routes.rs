//! Every operation of the API in one table: who answers it, who may ask, what it takes and gives. The axum router and
//! the OpenAPI document are both made from it, so that neither can have what the other lacks.

use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::auth::Role;
use super::{Context, changes, nodes, openapi, plans, reads, signals, stream};

/// Largest report of a node, in bytes: it names every registry that moves, about 150 bytes each, and up to 60 bins.
const REPORT_BYTES: usize = 32 << 20;

/// What an operation answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gives {
    /// JSON of this schema.
    One(&'static str),
    /// A list of this schema.
    List(&'static str),
    /// Server-sent events.
    Events,
    /// Prometheus's text format.
    Metrics,
}

/// One operation.
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// Roles of which any may ask; everybody if there are none.
    pub(super) needs: &'static [Role],
    /// Names of the query's parameters.
    pub(super) query: &'static [&'static str],
    /// The schema of the body.
    pub(super) takes: Option<&'static str>,
    pub(super) gives: Gives,
    pub(super) handler: MethodRouter<Context>,
}

/// What every change takes; `if_epoch` is heeded where it is about a registry.
const MANNER: &[&str] = &["reason", "dry_run", "if_epoch"];
/// Nodes, and people who look.
const FOLLOWERS: &[Role] = &[Role::Node, Role::Viewer];

fn get<H: Handler<T, Context>, T: 'static>(
    path: &'static str,
    summary: &'static str,
    needs: &'static [Role],
    gives: Gives,
    handler: H,
) -> Operation {
    let handler = on(MethodFilter::GET, handler);
    Operation { method: Method::GET, path, summary, needs, query: &[], takes: None, gives, handler }
}

fn change<H: Handler<T, Context>, T: 'static>(
    (method, filter): (Method, MethodFilter),
    path: &'static str,
    summary: &'static str,
    needs: &'static [Role],
    takes: Option<&'static str>,
    handler: H,
) -> Operation {
    let (handler, gives) = (on(filter, handler), Gives::One("Changed"));
    Operation { method, path, summary, needs, query: MANNER, takes, gives, handler }
}

const PUT: (Method, MethodFilter) = (Method::PUT, MethodFilter::PUT);
const POST: (Method, MethodFilter) = (Method::POST, MethodFilter::POST);
const DELETE: (Method, MethodFilter) = (Method::DELETE, MethodFilter::DELETE);

/// The table.
pub(super) fn operations() -> Vec<Operation> {
    use Gives::{Events, List, One};
    use Role::{Admin, Node, Operator, Viewer};
    vec![
        get("/livez", "Whether the process answers.", &[], One("Live"), reads::livez),
        get("/readyz", "Whether the store has been read.", &[], One("Ready"), reads::readyz),
        get("/openapi.json", "This document.", &[], One("OpenApi"), openapi::document),
        get("/metrics", "What the router counts.", &[], Gives::Metrics, reads::metrics),
        get("/v1/status", "The router itself.", &[Viewer], One("Status"), reads::status),
        get("/v1/snapshot", "Everything that nodes are told.", FOLLOWERS, One("Snapshot"), reads::snapshot),
        Operation {
            query: &["after", "history"],
            ..get(
                "/v1/watch",
                "The same as events: `snapshot` or each `change`.",
                FOLLOWERS,
                Events,
                stream::watch,
            )
        },
        get("/v1/export", "Every record, for a backup.", &[Admin], One("Backup"), reads::export),
        Operation {
            query: &["at"],
            ..get("/v1/audit", "Who changed what on a day, and why.", &[Admin], One("Audit"), reads::audit)
        },
        get(
            "/v1/audit/verdict",
            "Whether every line of the audit is there and as it was.",
            &[Admin],
            One("AuditVerdict"),
            reads::audit_verdict,
        ),
        get("/v1/stamps", "The stamps.", &[Viewer], List("StampView"), reads::stamps),
        get("/v1/stamps/{name}", "A stamp.", &[Viewer], One("StampView"), reads::stamp),
        change(
            PUT,
            "/v1/stamps/{name}",
            "Makes a stamp, or changes it.",
            &[Admin],
            Some("StampBody"),
            changes::put_stamp,
        ),
        get(
            "/v1/stamps/{name}/restart",
            "The last restart of a stamp.",
            &[Viewer],
            One("RestartView"),
            reads::restart,
        ),
        change(
            POST,
            "/v1/stamps/{name}/restart",
            "Restarts a stamp, node after node, under its traffic.",
            &[Operator],
            Some("RestartBody"),
            changes::restart_stamp,
        ),
        change(
            POST,
            "/v1/stamps/{name}/restart/{verb}",
            "Pauses, resumes or aborts the restart of a stamp.",
            &[Operator],
            None,
            changes::steer_restart,
        ),
        get(
            "/v1/dns/endpoints",
            "The names of the zone, as a DNSEndpoint of ExternalDNS.",
            &[Viewer],
            One("DnsEndpoint"),
            reads::endpoints,
        ),
        get("/v1/registries", "The registries.", &[Viewer], List("RegistryView"), reads::registries),
        get("/v1/registries/{name}", "A registry.", &[Viewer], One("RegistryView"), reads::registry),
        change(
            PUT,
            "/v1/registries/{name}",
            "Binds a new registry, or changes all of one but its home.",
            &[Admin],
            Some("RegistrySpec"),
            changes::put_registry,
        ),
        change(
            DELETE,
            "/v1/registries/{name}",
            "Forgets a registry; its bytes stay.",
            &[Admin],
            None,
            changes::remove_registry,
        ),
        change(
            POST,
            "/v1/registries/{name}/move",
            "Moves a registry to another stamp.",
            &[Operator],
            Some("MoveBody"),
            changes::move_registry,
        ),
        change(
            POST,
            "/v1/registries/{name}/purge",
            "Has nodes forget something of a registry.",
            &[Operator],
            Some("PurgeBody"),
            changes::purge,
        ),
        get(
            "/v1/registries/{name}/attribution",
            "What a registry causes in each pool.",
            &[Viewer],
            One("Attribution"),
            signals::attribution,
        ),
        Operation {
            query: &["pool"],
            ..get(
                "/v1/signals",
                "Hot-node P95 of every pool.",
                &[Viewer],
                List("PoolSignal"),
                signals::signals,
            )
        },
        get(
            "/v1/signals/{stamp}/{pool}",
            "Hot-node P95 of a pool, with its series.",
            &[Viewer],
            One("PoolSeries"),
            signals::signal,
        ),
        get(
            "/v1/migrations",
            "Moves, the newest first.",
            &[Viewer],
            List("MigrationView"),
            reads::migrations,
        ),
        get("/v1/migrations/{id}", "A move.", &[Viewer], One("MigrationView"), reads::migration),
        change(
            POST,
            "/v1/migrations/{id}/{verb}",
            "Pauses, resumes, aborts, rolls back or finishes a move.",
            &[Operator],
            None,
            changes::steer,
        ),
        get("/v1/nodes", "The nodes.", &[Viewer], List("NodeView"), reads::nodes),
        get("/v1/nodes/{name}", "A node.", &[Viewer], One("NodeView"), reads::node),
        change(
            DELETE,
            "/v1/nodes/{name}",
            "Forgets a node that is gone.",
            &[Admin],
            None,
            changes::forget_node,
        ),
        change(
            PUT,
            "/v1/nodes/{name}/intent",
            "Cordons, uncordons or drains a node.",
            &[Operator],
            Some("Wish"),
            changes::node_intent,
        ),
        Operation {
            query: &[],
            gives: One("ReportAnswer"),
            handler: on(MethodFilter::POST, nodes::report).layer(DefaultBodyLimit::max(REPORT_BYTES)),
            ..change(
                POST,
                "/v1/nodes/{name}/report",
                "Takes in what a node says of itself.",
                &[Node],
                Some("NodeReport"),
                nodes::report,
            )
        },
        change(
            PUT,
            "/v1/registries/{name}/pin",
            "Lets a registry stay where it is; it needs a reason.",
            &[Operator],
            None,
            plans::pin,
        ),
        change(
            DELETE,
            "/v1/registries/{name}/pin",
            "Lets it be moved again.",
            &[Operator],
            None,
            plans::unpin,
        ),
        get("/v1/pins", "Registries that stay where they are.", &[Viewer], List("Pin"), plans::pins),
        get(
            "/v1/plans",
            "Plans, the newest first, without what the planner said.",
            &[Viewer],
            List("PlanView"),
            plans::plans,
        ),
        change(
            POST,
            "/v1/plans",
            "Hands in a plan as the planner sealed it.",
            &[Operator],
            Some("Plan"),
            plans::hand_in,
        ),
        get(
            "/v1/plans/{id}",
            "A plan, with all that the planner said.",
            &[Viewer],
            One("PlanView"),
            plans::plan,
        ),
        change(
            POST,
            "/v1/plans/{id}/{verb}",
            "Approves, rejects, applies, pauses, resumes, promotes, extends, aborts or rolls back a plan.",
            &[Operator],
            Some("PlanSteer"),
            plans::steer,
        ),
        Operation {
            query: &[],
            gives: One("Made"),
            ..change(
                POST,
                "/v1/plan",
                "Makes a plan from what was measured, and keeps nothing.",
                &[Viewer],
                Some("MakeBody"),
                plans::make,
            )
        },
        Operation {
            query: &["stamp", "registry"],
            ..get(
                "/v1/explain",
                "Why a stamp is hot, or a registry stays.",
                &[Viewer],
                One("Explained"),
                plans::explain,
            )
        },
        get(
            "/v1/ledger",
            "What plans predicted, and what came of it.",
            &[Viewer],
            One("Ledger"),
            plans::ledger,
        ),
        get("/v1/freeze", "The freeze, if one holds.", &[Viewer], One("Freeze"), plans::freeze),
        change(
            PUT,
            "/v1/freeze",
            "Lets no move begin; it needs a reason.",
            &[Operator],
            Some("FreezeBody"),
            plans::begin_freeze,
        ),
        change(DELETE, "/v1/freeze", "Lets moves begin again.", &[Operator], None, plans::lift_freeze),
        get("/v1/policy", "The rules of planning and carrying out.", &[Viewer], One("Policy"), plans::policy),
        change(PUT, "/v1/policy", "Sets them.", &[Admin], Some("Policy"), plans::put_policy),
    ]
}
