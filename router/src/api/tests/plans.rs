//! Plans over the API, led on by the real leader with nodes that report.

use dataproxy_planner::{Goal, Move, Phase, PhaseKind, Plan, Why};

use super::*;

/// A plan that moves contoso from a to b, as the planner would seal it.
pub(super) fn plan(expires: u64) -> Value {
    let contoso = || "contoso".parse().unwrap();
    let moved = Move {
        registry: contoso(),
        from: "a".parse().unwrap(),
        to: "b".parse().unwrap(),
        why: Why::Asked,
        share: 0.1,
        peak_bytes_per_second: 1e6,
        hot_set_bytes: 1 << 20,
        cold_seconds: 1,
        cold_read_bytes_per_second: 1e6,
    };
    let phase = Phase {
        index: 1,
        kind: PhaseKind::Large,
        registries: vec![contoso()],
        share: 1.0,
        observe_seconds: 30,
        predictions: Vec::new(),
        warnings: Vec::new(),
    };
    let plan = Plan {
        id: String::new(),
        hash: String::new(),
        base_revision: Revision(1),
        inputs_digest: String::new(),
        taken: 0,
        expires,
        seed: 1,
        goal: Goal::Move { registries: vec![contoso()], to: "b".parse().unwrap() },
        before: Vec::new(),
        moves: vec![moved],
        phases: vec![phase],
        predictions: Vec::new(),
        rejected: Vec::new(),
        recommendations: Vec::new(),
        refusals: Vec::new(),
        notes: Vec::new(),
    };
    serde_json::to_value(plan.seal()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_is_handed_in_approved_and_applied_moves_its_registry_and_waits_for_its_guard() {
    let api = Api::new(Tokens::default()).await;
    api.set_up().await;
    let mut sequence = 0;
    let registries = |stamp: &str| match stamp {
        "b" => of_contoso(ServingState::Bound, 2, 0, 60_000),
        _ => of_contoso(ServingState::Draining, 2, 0, 60_000),
    };
    api.until(&mut sequence, registries, "/v1/nodes", |nodes| nodes.as_array().unwrap().len() == 2).await;

    let plan = plan(u64::MAX / 2000);
    let (id, hash) = (plan["id"].as_str().unwrap().to_owned(), plan["hash"].as_str().unwrap().to_owned());
    let path = format!("/v1/plans/{id}");
    let tried = api.done(Method::POST, "/v1/plans?dry_run=true", plan.clone()).await;
    assert!(tried["done"].as_str().unwrap().contains("1 moves in 1 phases"), "{tried}");
    assert_eq!(api.get("/v1/plans").await, json!([]), "a dry run keeps nothing");
    api.done(Method::POST, "/v1/plans?reason=hot", plan.clone()).await;
    assert_eq!(api.get(&path).await["plan"], plan);

    let post =
        async |verb: &str, body: Value| api.send(Method::POST, &format!("{path}/{verb}"), Some(body)).await;
    api.refused(&post("approve", json!({})).await, StatusCode::BAD_REQUEST, "body", "needs the plan's hash");
    api.refused(&post("approve", json!({"hash": "0"})).await, StatusCode::CONFLICT, "plan-hash", &hash);
    api.refused(&post("apply", json!({"hash": hash})).await, StatusCode::CONFLICT, "approval", "0 of 1");
    api.refused(&post("jump", json!({})).await, StatusCode::NOT_FOUND, "verb", "approve, reject, apply");
    for verb in ["approve", "apply"] {
        assert_eq!(post(verb, json!({"hash": hash})).await.0, StatusCode::OK, "{verb}");
    }
    let watched = |shown: &Value| shown["phases"][0]["state"] == "observing";
    let shown = api.until(&mut sequence, registries, &path, watched).await;
    assert_eq!(shown["gate"]["readings"][0]["check"], "destination-nodes", "{shown}");
    assert_eq!(api.get("/v1/registries/contoso").await["home_stamp"], "b");
    let done = api.until(&mut sequence, registries, &path, |shown| shown["state"] != "running").await;
    assert_eq!(done["state"], "done", "{done}");
    let moves = api.get("/v1/migrations").await;
    assert_eq!(moves[0]["state"], "done", "a phase that passed makes its moves final: {moves}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_was_edited_or_is_old_is_refused_and_nothing_is_kept() {
    let api = Api::new(Tokens::default()).await;
    api.set_up().await;
    let mut edited = plan(u64::MAX / 2000);
    edited["moves"][0]["to"] = json!("c");
    let answer = api.send(Method::POST, "/v1/plans", Some(edited)).await;
    api.refused(&answer, StatusCode::BAD_REQUEST, "plan-edited", "plan anew");
    let answer = api.send(Method::POST, "/v1/plans", Some(plan(1))).await;
    api.refused(&answer, StatusCode::CONFLICT, "expired", "what it predicts is old");
    let answer = api.send(Method::POST, "/v1/plans", Some(json!({"id": "p-1"}))).await;
    api.refused(&answer, StatusCode::BAD_REQUEST, "body", "missing field");
    assert_eq!(api.get("/v1/plans").await, json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_freeze_and_a_pin_hold_moves_and_say_who_wants_that_and_why() {
    let api = Api::new(Tokens::default()).await;
    api.set_up().await;
    let to_b = async || api.send(Method::POST, "/v1/registries/contoso/move", Some(json!({"to": "b"}))).await;
    let answer = api.send(Method::PUT, "/v1/freeze", Some(json!({}))).await;
    api.refused(&answer, StatusCode::BAD_REQUEST, "reason", "needs a reason");
    api.done(Method::PUT, "/v1/freeze?reason=sale", json!({})).await;
    api.refused(&to_b().await, StatusCode::CONFLICT, "freeze", "frozen by ada: sale");
    assert_eq!(api.get("/v1/freeze").await["reason"], "sale");
    assert_eq!(api.send(Method::DELETE, "/v1/freeze", None).await.0, StatusCode::OK);
    let pin = "/v1/registries/contoso/pin";
    assert_eq!(api.send(Method::PUT, &format!("{pin}?reason=law"), None).await.0, StatusCode::OK);
    api.refused(&to_b().await, StatusCode::CONFLICT, "pinned", "pinned by ada: law");
    assert_eq!(api.get("/v1/pins").await[0]["registry"], "contoso");
    assert_eq!(api.send(Method::DELETE, pin, None).await.0, StatusCode::OK);
    assert_eq!(to_b().await.0, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_policy_with_a_setting_that_makes_no_sense_is_refused_and_one_that_does_is_shown_whole() {
    let api = Api::new(Tokens::default()).await;
    let put = async |body: Value| api.send(Method::PUT, "/v1/policy", Some(body)).await;
    for (body, words) in [
        (json!({"planning": {"hott": 0.5}}), "hott"),
        (json!({"planning": {"hot": 7.0}}), "hot is 7; it has to be from 0 to 1"),
        (json!({"execution": {"approvals": 0}}), "at least 1"),
    ] {
        api.refused(&put(body).await, StatusCode::BAD_REQUEST, "policy", words);
    }
    let answer = put(json!({"execution": {"windows": ["always"]}})).await;
    api.refused(&answer, StatusCode::BAD_REQUEST, "body", "mon-fri 09:00-17:00");
    let policy =
        json!({"execution": {"approvals": 2, "windows": ["mon-fri 09:00-17:00"]}, "planning": {"hot": 0.5}});
    assert_eq!(put(policy).await.0, StatusCode::OK);
    let shown = api.get("/v1/policy").await;
    assert_eq!((&shown["execution"]["approvals"], &shown["planning"]["hot"]), (&json!(2), &json!(0.5)));
    assert!(shown["planning"]["draws"].is_number(), "{shown}");
}
