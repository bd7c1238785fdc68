//! Debian's `dig` asks, by UDP and TCP.

use dataproxy_router::dns::Bounds;
use tokio::process::Command;

use crate::region::{Served, snapshot};

async fn dig(served: &Served, args: &[&str]) -> String {
    let (ip, port) = (served.address.ip().to_string(), served.address.port().to_string());
    let ended = Command::new("dig")
        .args(["+tries=1", "+time=5", "-p", &port, &format!("@{ip}")])
        .args(args)
        .output()
        .await
        .expect("dig: tests/install brings it");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{said}");
    assert!(!said.contains("Warning") && !said.contains("malformed"), "{said}");
    said
}

/// The values, in any order.
async fn short(served: &Served, args: &[&str]) -> Vec<String> {
    let said = dig(served, &[&["+short"], args].concat()).await;
    let mut lines: Vec<_> = said.lines().map(ToOwned::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dig_gets_every_name_by_udp_and_by_tcp() {
    let served = Served::start(&snapshot(1, "a", 2), Bounds::default()).await;
    for transport in ["+notcp", "+tcp"] {
        for name in
            ["contoso.registry.test", "contoso.west.geo.registry.test", "CONTOSO.west.DATA.registry.test"]
        {
            assert_eq!(short(&served, &[transport, name, "A"]).await, ["192.0.1.1", "192.0.1.2"], "{name}");
            let said = dig(&served, &[transport, name, "AAAA"]).await;
            assert!(said.contains("status: NOERROR") && said.contains("ANSWER: 0, AUTHORITY: 1"), "{said}");
        }
        for (name, kind, told) in [
            ("other.registry.test", "A", "status: NXDOMAIN"),
            ("contoso.example.test", "A", "status: REFUSED"),
            ("registry.test", "AXFR", "Transfer failed"),
        ] {
            let said = dig(&served, &[transport, "+norecurse", name, kind]).await;
            assert!(said.contains(told), "{name} {kind}: {said}");
        }
        let said = dig(&served, &[transport, "+norecurse", "contoso.registry.test", "A"]).await;
        assert!(said.contains("flags: qr aa;") && said.contains("EDNS: version: 0"), "{said}");
    }
    assert_eq!(short(&served, &["registry.test", "NS"]).await, ["ns1.dns.registry.test."]);
    assert!(
        short(&served, &["registry.test", "SOA"]).await[0].starts_with("ns1.dns.registry.test. hostmaster.")
    );
    let said = dig(&served, &["+notcp", "contoso.registry.test", "ANY"]).await;
    assert!(said.contains("ANSWER: 2"), "{said}");
    let said = dig(&served, &["+edns=1", "+noednsneg", "contoso.registry.test", "A"]).await;
    assert!(said.contains("status: BADVERS"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dig_goes_on_by_tcp_where_the_nodes_do_not_fit() {
    let served = Served::start(&snapshot(1, "a", 200), Bounds::default()).await;
    let said = dig(&served, &["+bufsize=4096", "contoso.registry.test", "A"]).await;
    assert!(said.contains("Truncated, retrying in TCP mode") && said.contains("ANSWER: 200"), "{said}");
    let said = dig(&served, &["+ignore", "+noedns", "contoso.registry.test", "A"]).await;
    assert!(said.contains("flags: qr aa tc") && said.contains("ANSWER: 0"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dig_sees_a_move_in_the_next_answer() {
    let served = Served::start(&snapshot(1, "a", 2), Bounds::default()).await;
    for revision in 2..6 {
        let (home, third) = if revision % 2 == 0 { ("b", 2) } else { ("a", 1) };
        served.show(&snapshot(revision, home, 2));
        let expected = [format!("192.0.{third}.1"), format!("192.0.{third}.2")];
        for name in ["contoso.registry.test", "contoso.west.data.registry.test"] {
            assert_eq!(short(&served, &[name, "A"]).await, expected);
        }
        let serial = &short(&served, &["registry.test", "SOA"]).await[0];
        assert!(serial.contains(&format!(" {revision} ")), "{serial}");
    }
}
