//! The description of the API: its examples are of the types, and what the API answers is as it says.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::schema::faults;
use super::*;
use crate::api::routes::{Gives, Operation, operations};
use crate::audit::{Excerpt, Line};
use crate::command::{RegistrySpec, Wish};
use crate::migration::{Entry, Terms};
use crate::view;

/// The document, as the API gives it.
pub(super) async fn document(context: &Context) -> Value {
    let request = Request::get("/openapi.json").body(Body::empty()).unwrap();
    let response = router(context.clone()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

/// Whether `path` is one that `template` names.
fn is_named_by(path: &str, template: &str) -> bool {
    let (path, template): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), template.split('/').collect());
    path.len() == template.len()
        && path.iter().zip(&template).all(|(part, named)| named.starts_with('{') || part == named)
}

/// Asserts that an answer is what the document says of it.
pub(super) fn is_described(document: &Value, method: &Method, path: &str, answer: &(StatusCode, Value)) {
    let path = path.split('?').next().unwrap();
    let asked = |operation: &&Operation| operation.method == *method && is_named_by(path, operation.path);
    let error = json!({"$ref": "#/components/schemas/Error"});
    let described = operations();
    let schema = match described.iter().find(asked) {
        Some(operation) if answer.0.is_success() => {
            let method = method.as_str().to_ascii_lowercase();
            let content = &document["paths"][operation.path][method]["responses"]["200"]["content"];
            content["application/json"]["schema"].clone()
        }
        Some(_) | None => error,
    };
    let found = faults(document, &schema, &answer.1);
    assert!(found.is_empty(), "{method} {path}: {found:?}\n{}", answer.1);
}

/// An example is of its type, and of nothing more than that.
fn is_of<T: DeserializeOwned + Serialize>(example: &Value) -> Result<(), String> {
    let read: T = serde_json::from_value(example.clone()).map_err(|error| error.to_string())?;
    let written = serde_json::to_value(&read).map_err(|error| error.to_string())?;
    if written == *example { Ok(()) } else { Err(format!("it is written as {written}")) }
}

/// The same where the type is only ever read: it refuses what it does not know.
fn is_taken_as<T: DeserializeOwned>(example: &Value) -> Result<(), String> {
    serde_json::from_value::<T>(example.clone()).map(drop).map_err(|error| error.to_string())
}

fn is_json(_: &Value) -> Result<(), String> {
    Ok(())
}

type Check = fn(&Value) -> Result<(), String>;

/// The type of each schema. `is_json` is for what handlers make without one.
const TYPES: &[(&str, Check)] = &[
    ("Name", is_of::<dataproxy_router_api::RegistryName>),
    ("Error", is_of::<ErrorBody>),
    ("Live", is_json),
    ("Ready", is_json),
    ("Status", is_json),
    ("Intent", is_of::<dataproxy_router_api::Intent>),
    ("Node", is_of::<Node>),
    ("Stamp", is_of::<dataproxy_router_api::Stamp>),
    ("Location", is_of::<dataproxy_router_api::Location>),
    ("Placement", is_of::<dataproxy_router_api::Placement>),
    ("Binding", is_of::<dataproxy_router_api::Binding>),
    ("Purge", is_of::<dataproxy_router_api::Purge>),
    ("Snapshot", is_of::<Snapshot>),
    ("Change", is_of::<Change>),
    ("Backup", is_of::<crate::backup::Backup>),
    ("Line", is_of::<Line>),
    ("Audit", is_of::<Excerpt>),
    ("AuditVerdict", is_of::<crate::audit::Verdict>),
    ("Endpoint", is_of::<crate::dns::Endpoint>),
    ("DnsEndpoint", is_of::<crate::dns::DnsEndpoint>),
    ("StampView", is_of::<view::StampView>),
    ("RegistryView", is_of::<view::RegistryView>),
    ("Terms", is_of::<Terms>),
    ("TermsBody", is_taken_as::<changes::TermsBody>),
    ("Entry", is_of::<Entry>),
    ("RestartTerms", is_of::<crate::restart::RestartTerms>),
    ("RestartBody", is_taken_as::<changes::RestartBody>),
    ("NodeTurn", is_of::<crate::restart::NodeTurn>),
    ("RestartView", is_of::<view::RestartView>),
    ("EndView", is_of::<view::EndView>),
    ("MigrationView", is_of::<view::MigrationView>),
    ("Figures", is_of::<crate::execution::Figures>),
    ("Reading", is_of::<crate::execution::Reading>),
    ("Gate", is_of::<crate::execution::Gate>),
    ("PlannedMove", is_of::<crate::execution::PlannedMove>),
    ("ExecutionPhase", is_of::<crate::execution::ExecutionPhase>),
    ("Approval", is_of::<crate::execution::Approval>),
    ("PlanView", is_of::<view::PlanView>),
    ("Plan", is_json),
    ("LedgerEntry", is_of::<crate::execution::LedgerEntry>),
    ("Ledger", is_of::<crate::execution::Ledger>),
    ("MakeBody", is_taken_as::<crate::api::plans::MakeBody>),
    ("Made", is_json),
    ("Explained", is_of::<crate::api::plans::Explained>),
    ("Window", is_of::<dataproxy_planner::Window>),
    ("Signal", is_of::<dataproxy_planner::signal::Signal>),
    ("PoolSignal", is_of::<crate::signals::PoolSignal>),
    ("PoolSeries", is_of::<crate::signals::PoolSeries>),
    ("Used", is_of::<dataproxy_router_api::Used>),
    ("NodeShare", is_of::<crate::signals::NodeShare>),
    ("Attribution", is_of::<crate::signals::Attribution>),
    ("RegistryBin", is_of::<dataproxy_router_api::RegistryBin>),
    ("NodeBin", is_of::<dataproxy_router_api::NodeBin>),
    ("PlanSteer", is_taken_as::<crate::api::plans::SteerBody>),
    ("Pin", is_of::<crate::record::PinRecord>),
    ("Freeze", is_of::<crate::record::FreezeRecord>),
    ("FreezeBody", is_taken_as::<crate::api::plans::FreezeBody>),
    ("Policy", is_taken_as::<crate::record::PolicyRecord>),
    ("NodeView", is_of::<view::NodeView>),
    ("Changed", is_of::<Changed>),
    ("StampBody", is_taken_as::<changes::StampBody>),
    ("RegistrySpec", is_of::<RegistrySpec>),
    ("MoveBody", is_taken_as::<changes::MoveBody>),
    ("PurgeBody", is_taken_as::<changes::PurgeBody>),
    ("Wish", is_of::<Wish>),
    ("Reach", is_of::<Reach>),
    ("RegistryReport", is_of::<RegistryReport>),
    ("NodeReport", is_of::<NodeReport>),
    ("ReportAnswer", is_of::<dataproxy_router_api::ReportAnswer>),
];

#[tokio::test]
async fn each_example_of_the_description_is_of_its_schema_and_of_its_type() {
    let api = Api::new(Tokens::default()).await;
    let document = document(&api.context).await;
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut checked = Vec::new();
    for (name, schema) in schemas {
        let Some(example) = schema["examples"].get(0) else {
            let bare = schema["enum"].is_array() || name == "OpenApi";
            assert!(bare, "{name} has no example");
            continue;
        };
        assert_eq!(faults(&document, schema, example), [""; 0], "{name}");
        let (_, check) =
            TYPES.iter().find(|(of, _)| of == name).unwrap_or_else(|| panic!("{name} has no type"));
        check(example).unwrap_or_else(|why| panic!("{name}: {why}"));
        checked.push(name.as_str());
    }
    assert_eq!(checked.len(), TYPES.len(), "{checked:?}");
}

#[tokio::test]
async fn the_words_of_the_description_are_those_of_the_types() {
    let api = Api::new(Tokens::default()).await;
    let document = document(&api.context).await;
    let schemas = &document["components"]["schemas"];
    let words = |schema: &Value| schema["enum"].as_array().unwrap().clone();
    for word in words(&schemas["NodeState"]) {
        serde_json::from_value::<dataproxy_router_api::NodeState>(word).unwrap();
    }
    for word in words(&schemas["StampState"]) {
        serde_json::from_value::<dataproxy_router_api::StampState>(word).unwrap();
    }
    for word in words(&schemas["Phase"]) {
        serde_json::from_value::<dataproxy_router_api::Phase>(word).unwrap();
    }
    for word in words(&schemas["ServingState"]) {
        serde_json::from_value::<ServingState>(word).unwrap();
    }
    for word in words(&schemas["Role"]) {
        serde_json::from_value::<Duty>(word).unwrap();
    }
    for word in words(&schemas["MigrationView"]["properties"]["state"]) {
        serde_json::from_value::<crate::migration::MigrationState>(word).unwrap();
    }
}

/// A path with something in the place of each name.
fn filled(path: &str) -> String {
    let names = if path.starts_with("/v1/stamps") {
        "a"
    } else if path.starts_with("/v1/nodes") {
        "a-1"
    } else {
        "contoso"
    };
    let id = if path.starts_with("/v1/plans") { "p-0" } else { "contoso.1" };
    path.replace("{name}", names)
        .replace("{id}", id)
        .replace("{verb}", "pause")
        .replace("{stamp}", "a")
        .replace("{pool}", "all")
}

#[tokio::test(start_paused = true)]
async fn every_operation_is_described_and_answers_as_its_description_says() {
    let api = Api::new(Tokens::default()).await;
    api.set_up().await;
    let mut sequence = 0;
    api.until(&mut sequence, |_| Vec::new(), "/v1/nodes", |nodes| nodes.as_array().unwrap().len() == 2).await;
    // Stamp a has a second node, so that it can be restarted; the move begins after that.
    let mut second = report("a", 3, 1, Revision(0), Vec::new());
    second.node.name = "a-2".parse().unwrap();
    api.done(Method::POST, "/v1/nodes/a-2/report", serde_json::to_value(second).unwrap()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    api.done(Method::POST, "/v1/stamps/a/restart", json!({})).await;
    api.done(Method::POST, "/v1/registries/contoso/move", json!({"to": "b"})).await;
    let plan = plans::plan(u64::MAX / 2000);
    let node = report("a", 1, sequence + 1, Revision(0), Vec::new());
    for operation in operations() {
        let mut path = filled(operation.path).replace("p-0", plan["id"].as_str().unwrap());
        // A freeze and a pin need a reason.
        if operation.method != Method::GET && !path.ends_with("/report") {
            path.push_str("?reason=so");
        }
        if operation.gives == Gives::Metrics {
            // Text, which another test reads.
            continue;
        }
        if path == "/v1/explain" {
            path.push_str("?stamp=a");
        }
        if operation.gives == Gives::Events {
            // The body never ends; another test reads it.
            let request = Request::get(&path).body(Body::empty()).unwrap();
            let response = router(api.context.clone()).oneshot(request).await.unwrap();
            assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
            continue;
        }
        let body = match operation.takes {
            None => None,
            Some("NodeReport") => Some(serde_json::to_value(&node).unwrap()),
            Some("Wish") => Some(json!({"do": "cordon"})),
            // The example is not sealed.
            Some("Plan") => Some(plan.clone()),
            // Its own example.
            Some(schema) => {
                Some(document(&api.context).await["components"]["schemas"][schema]["examples"][0].clone())
            }
        };
        // Each answer is compared with the description where it is received.
        let (status, answer) = api.send(operation.method.clone(), &path, body).await;
        // A plan that waits for its approval cannot be paused.
        let may_refuse = operation.method == Method::DELETE || operation.path.ends_with("{id}/{verb}");
        assert!(status == StatusCode::OK || may_refuse && status == StatusCode::CONFLICT, "{path}: {answer}");
    }
}

#[tokio::test]
async fn who_may_ask_is_what_the_description_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut tokens = Tokens::default();
    let roles = [Role::Node, Role::Viewer, Role::Operator, Role::Admin];
    for role in roles {
        let path = folder.path().join(role.as_str());
        std::fs::write(&path, format!("{}-0123456789abcdef", role.as_str())).unwrap();
        tokens.add(role.as_str(), role, path).unwrap();
    }
    let api = Api::new(tokens).await;
    let document = document(&api.context).await;
    for operation in operations() {
        let method = operation.method.as_str().to_ascii_lowercase();
        let described = &document["paths"][operation.path][method];
        let body = operation.takes.map(|schema| match schema {
            // The example is not sealed.
            "Plan" => plans::plan(u64::MAX / 2000).to_string(),
            _ => document["components"]["schemas"][schema]["examples"][0].to_string(),
        });
        let ask = |token: Option<&str>| {
            let mut request = Request::builder().method(&operation.method).uri(filled(operation.path));
            if let Some(token) = token {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}-0123456789abcdef"));
            }
            let request = request.header(header::CONTENT_TYPE, "application/json");
            let request = request.body(Body::from(body.clone().unwrap_or_default())).unwrap();
            let asked = router(api.context.clone()).oneshot(request);
            async { asked.await.unwrap().status() }
        };
        let is_open = described["security"] == json!([]);
        assert_eq!(ask(None).await != StatusCode::UNAUTHORIZED, is_open, "{}", operation.path);
        for role in roles {
            let needs = described["x-roles"].as_array().unwrap();
            let may = is_open
                || needs.iter().any(|needed| {
                    let needed: Role = serde_json::from_value(needed.clone()).unwrap();
                    role.may(needed)
                });
            let let_in = ask(Some(role.as_str())).await != StatusCode::FORBIDDEN;
            assert_eq!(let_in, may, "{} {} by {}", operation.method, operation.path, role.as_str());
        }
    }
}
