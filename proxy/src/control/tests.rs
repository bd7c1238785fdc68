//! A drain is asked for, seen, and taken back by HTTP.

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::lifecycle::State;

struct Node {
    life: Lifecycle,
    connections: Arc<Connections>,
    router: Router,
}

fn node() -> Node {
    let (life, connections) = (Lifecycle::default(), Arc::<Connections>::default());
    life.opened();
    let identity = Identity {
        name: "n1".parse().unwrap(),
        stamp: Some("a".parse().unwrap()),
        region: "local".parse().unwrap(),
        role: dataproxy_router_api::Role::All,
    };
    let controlled = Controlled {
        identity,
        life: life.clone(),
        connections: Arc::clone(&connections),
        deadline: Duration::from_secs(1800),
    };
    Node { life, connections, router: router(controlled) }
}

impl Node {
    async fn send(&self, method: &str, body: &'static str) -> (u16, Value) {
        let request = Request::builder().method(method).uri("/v1/node").body(Body::from(body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

#[tokio::test]
async fn a_drain_is_asked_for_again_and_taken_back_and_each_answer_tells_all_about_it() {
    let node = node();
    let (status, shown) = node.send("GET", "").await;
    assert_eq!((status, &shown["state"], &shown["asked"]), (200, &json!("ready"), &Value::Null));
    let ask = r#"{"state":"draining","deadline_seconds":600,"lame_duck_seconds":0}"#;
    for _ in 0..2 {
        let (status, shown) = node.send("PUT", ask).await;
        assert_eq!((status, &shown["state"]), (200, &json!("draining")));
        assert_eq!(
            (&shown["asked"]["wish"], &shown["asked"]["source"]),
            (&json!("drain"), &json!("operator"))
        );
        assert_eq!(shown["deadline_seconds"].as_f64().unwrap().ceil(), 600.0);
    }
    let (status, shown) = node.send("DELETE", "").await;
    assert_eq!((status, &shown["state"], &shown["deadline_seconds"]), (200, &json!("ready"), &Value::Null));
    let (status, shown) = node.send("PUT", r#"{"state":"cordoned"}"#).await;
    assert_eq!(
        (status, &shown["state"], &shown["asked"]["wish"]),
        (200, &json!("lame_duck"), &json!("cordon"))
    );
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_says_why() {
    let node = node();
    let (status, refused) = node.send("PUT", r#"{"state":"gone"}"#).await;
    assert_eq!(status, 400);
    assert!(refused["error"].as_str().unwrap().contains("right is {\"state\":\"draining\""), "{refused}");
    let (status, _) = node.send("POST", "").await;
    assert_eq!(status, 405);
    node.life.ask(Source::File, Wish::Cordon).unwrap();
    let (status, refused) = node.send("DELETE", "").await;
    assert_eq!(
        (status, refused["error"].as_str().unwrap()),
        (409, "taken back, but the file still asks for it: the node is lame_duck")
    );
    node.life.hurry();
    assert_eq!(node.life.state(), State::Cutting);
    for (method, body) in [("DELETE", ""), ("PUT", r#"{"state":"cordoned"}"#)] {
        let (status, refused) = node.send(method, body).await;
        assert_eq!(status, 409);
        assert!(refused["error"].as_str().unwrap().starts_with("the node is cutting: "), "{refused}");
    }
}

#[tokio::test]
async fn what_remains_is_told_one_by_one_and_the_rest_by_number() {
    let node = node();
    let entry = node.connections.enter(([127, 0, 0, 1], 1).into());
    let running: Vec<_> = (0..REMAINING + 5).map(|_| entry.connection.begin()).collect();
    let (_, shown) = node.send("GET", "").await;
    assert_eq!(shown["remaining"].as_array().unwrap().len(), REMAINING);
    assert_eq!((&shown["remaining_left_out"], &shown["responses"]), (&json!(5), &json!(REMAINING + 5)));
    assert_eq!(shown["connections"], json!({"busy": 1, "idle": 0, "ending": 0}));
    drop(running);
}
