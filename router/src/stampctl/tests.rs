use std::net::SocketAddr;

use clap::CommandFactory;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn parse(line: &str) -> Options {
    Options::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn the_command_line_is_sound_and_says_what_its_times_are() {
    Options::command().debug_assert();
    let options =
        parse("stampctl registry move contoso --to b --quiet 2s --observe 1h --dry-run --reason hot");
    let Verb::Registry(Registry::Move { terms, .. }) = &options.verb else { panic!("{options:?}") };
    assert_eq!(terms.json(), json!({"quiet_seconds": 2, "observe_seconds": 3600}));
    let error = Options::try_parse_from("stampctl registry move contoso --to b --quiet 1.5s".split(' '));
    assert!(error.unwrap_err().to_string().contains("30s, 15m and 24h are"));
    let error = Options::try_parse_from("stampctl registry move Contoso --to b".split(' '));
    assert!(error.unwrap_err().to_string().contains("1 to 63 of a-z"));
}

/// A server that answers one request with `answer` and gives back what it was asked.
async fn once(answer: &'static str) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 16 << 10];
        let read = stream.read(&mut asked).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&asked[..read]).into_owned()
    });
    (address, served)
}

#[tokio::test]
async fn a_change_carries_its_reason_and_a_refusal_its_rule() {
    let refusal = "HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n{\"error\":\"not so\",\"rule\":\"stamp-active\"}";
    let (address, served) = once(refusal).await;
    let line =
        format!("stampctl --router http://{address} registry move contoso --to b --reason too_hot --dry-run");
    let error = run(&parse(&line)).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.exit_code()), ("refused (stamp-active): not so", REFUSED));
    let asked = served.await.unwrap();
    let first = asked.lines().next().unwrap();
    assert_eq!(first, "POST /v1/registries/contoso/move?reason=too_hot&dry_run=true HTTP/1.1");
    assert!(asked.ends_with(r#"{"terms":{},"to":"b"}"#), "{asked}");
}

#[tokio::test]
async fn whoever_cannot_be_asked_is_told_apart_from_whoever_refuses() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = run(&parse(&format!("stampctl --router http://{free} status"))).await.unwrap_err();
    assert!(error.to_string().contains("cannot be asked: "), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert_eq!(error.exit_code(), FAILED);
    let (address, _served) = once("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>").await;
    let error = run(&parse(&format!("stampctl --router http://{address} status"))).await.unwrap_err();
    assert!(error.to_string().contains("is no router: 200 OK, <html>"), "{error}");
    let error = run(&parse("stampctl --router 127.0.0.1:7000 status")).await.unwrap_err();
    assert!(error.to_string().contains("is no URL; http://"), "{error}");
    let error = run(&parse("stampctl --token-file /nowhere status")).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere: the token cannot be read"), "{error}");
}

#[test]
fn a_move_is_told_with_what_it_waits_for_and_where_the_bytes_stay() {
    let shown = json!({
        "id": "contoso.1", "registry": "contoso", "from": "a", "to": "b", "state": "draining",
        "next": "node a1 has 2 requests running, the oldest for 7 s", "began": 1000, "to_switch_ms": 420,
        "to_drained_ms": null, "storage": "its bytes stay in account a1 of stamp a",
        "source": [{"node": "a1", "is_live": true, "revision": 9, "serving": "draining", "in_flight": 2, "begun": 3}],
        "destination": [],
        "story": [{"at": 1000, "what": "ada begins: hot"}, {"at": 1420, "what": "switched"}],
    });
    let text = show::migration(&shown);
    assert_eq!(
        text,
        "\
contoso.1: contoso from a to b
  state     draining
  next      node a1 has 2 requests running, the oldest for 7 s
  switched  after 0.4 s
  drained   - after the switch
  storage   its bytes stay in account a1 of stamp a

END     NODE  REPORTS  REVISION  SERVING   IN FLIGHT  BEGUN
source  a1    yes      9         draining  2          3

  +0.0 s    ada begins: hot
  +0.4 s    switched
"
    );
    let changed = json!({"done": "moves registry contoso from a to b", "changed": true, "revision": 9, "migration": "contoso.1", "steps": ["prepare"]});
    assert_eq!(
        show::changed(&changed, true),
        "would be done: moves registry contoso from a to b\n  1. prepare\n"
    );
}

#[tokio::test]
async fn a_restart_is_asked_for_steered_and_told_by_how_many_nodes_are_back() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n{\"done\":\"restarts stamp a\",\"changed\":true,\"revision\":9 }    ";
    for (words, first, body) in [
        (
            "--max-unavailable 2 --deadline 30m",
            "POST /v1/stamps/a/restart? HTTP/1.1",
            r#"{"deadline_seconds":1800,"max_unavailable":2}"#,
        ),
        ("--abort", "POST /v1/stamps/a/restart/abort? HTTP/1.1", ""),
    ] {
        let (address, served) = once(answer).await;
        run(&parse(&format!("stampctl --router http://{address} stamp restart a {words}"))).await.unwrap();
        let asked = served.await.unwrap();
        assert_eq!(asked.lines().next(), Some(first));
        assert!(asked.ends_with(body), "{asked}");
    }
    Options::try_parse_from("stampctl stamp restart a --abort --resume".split(' ')).unwrap_err();
    let shown = json!({"state": "running", "next": "node a2 drains, for 3 s now",
        "nodes": [{"turn": "back"}, {"turn": "draining"}]});
    assert_eq!(follow::restart_line(&shown), "running  1 of 2 back; node a2 drains, for 3 s now");
}

#[test]
fn simulate_asks_no_router_and_names_a_wrong_scenario() {
    let options = parse("stampctl simulate --scenario calm --scenario anti-phase --seeds 3");
    let Verb::Simulate(args) = &options.verb else { panic!("{options:?}") };
    assert_eq!((args.scenarios.len(), args.seeds, &args.out), (2, 3, &None));
    let error = Options::try_parse_from("stampctl simulate --scenario clam".split(' ')).unwrap_err();
    assert!(error.to_string().contains("calm"), "{error}");
    let error = Options::try_parse_from("stampctl simulate --seeds 0".split(' ')).unwrap_err();
    assert!(error.to_string().contains("1..=10000"), "{error}");
}
