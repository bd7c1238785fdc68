use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataproxy_router_api::{Binding, Node, Phase, Placement, Revision, Role, Snapshot, Stamp};
use hickory_proto::rr::Name;
use proptest::prelude::*;

use super::super::{NameServer, Zone, ZoneSettings};
use super::*;

/// Two stamps: a with two nodes by IPv4, one of them by IPv6 as well; b with one for each role.
fn snapshot() -> Snapshot {
    let node = |name: &str, ip: IpAddr, role| {
        Node::new(name.parse().unwrap(), (ip, 5000).into(), (ip, 9100).into(), role)
    };
    let v4 = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
    let v6 = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    let mut a = Stamp::new("a".parse().unwrap());
    a.nodes = vec![node("a1", v4(1), Role::All), node("a2", v4(2), Role::All), node("a3", v6, Role::All)];
    let mut b = Stamp::new("b".parse().unwrap());
    b.nodes = vec![node("b1", v4(11), Role::Registry), node("b2", v4(12), Role::Dataproxy)];
    let bind = |registry: &str, stamp: &str| {
        let placement = Placement::new("accounta".parse().unwrap(), registry);
        Binding::new(registry.parse().unwrap(), stamp.parse().unwrap(), placement)
    };
    let mut snapshot = Snapshot::empty("west".parse().unwrap());
    snapshot.revision = Revision(7);
    snapshot.stamps = vec![a, b, Stamp::new("empty".parse().unwrap())];
    snapshot.bindings = vec![bind("contoso", "a"), bind("fabrikam", "b"), bind("nowhere", "empty")];
    snapshot
}

fn view_of(snapshot: &Snapshot) -> View {
    let mut settings = ZoneSettings::new("registry.test");
    settings.name_servers = vec![
        NameServer { name: "ns1.dns.registry.test".into(), addresses: vec!["192.0.2.53".parse().unwrap()] },
        NameServer { name: "ns.elsewhere.test".into(), addresses: Vec::new() },
    ];
    View::new(&Zone::new(&settings).unwrap(), snapshot)
}

fn view() -> View {
    view_of(&snapshot())
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 4711;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn answered(view: &View, message: &Message, transport: Transport, turn: usize) -> Message {
    let bytes = answer(view, &message.to_vec().unwrap(), transport, turn).expect("an answer");
    Message::from_vec(&bytes).expect("a message")
}

fn ask(name: &str, kind: RecordType) -> Message {
    answered(&view(), &query(name, kind), Transport::Udp, 0)
}

/// The addresses, or what else is answered, in their order.
fn data(answer: &Message) -> Vec<String> {
    answer.answers.iter().map(|record| record.data.to_string()).collect()
}

#[test]
fn each_endpoint_is_answered_with_the_right_nodes_of_the_home_stamp() {
    for (name, kind, expected) in [
        ("contoso.registry.test.", RecordType::A, &["192.0.2.1", "192.0.2.2"][..]),
        ("contoso.registry.test.", RecordType::AAAA, &["2001:db8::1"]),
        ("contoso.west.geo.registry.test.", RecordType::A, &["192.0.2.1", "192.0.2.2"]),
        ("contoso.west.data.registry.test.", RecordType::A, &["192.0.2.1", "192.0.2.2"]),
        ("fabrikam.registry.test.", RecordType::A, &["192.0.2.11"]),
        ("fabrikam.west.geo.registry.test.", RecordType::A, &["192.0.2.11"]),
        ("fabrikam.west.data.registry.test.", RecordType::A, &["192.0.2.12"]),
        ("ns1.dns.registry.test.", RecordType::A, &["192.0.2.53"]),
    ] {
        let answer = ask(name, kind);
        assert_eq!(data(&answer), expected, "{name}");
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert!(answer.metadata.authoritative && !answer.metadata.recursion_available);
        assert!(answer.metadata.recursion_desired && answer.metadata.id == 4711);
        assert!(answer.answers.iter().all(|record| record.ttl == 5));
    }
}

#[test]
fn what_is_not_there_is_told_by_kind_with_a_short_soa() {
    for (name, kind, code) in [
        ("fabrikam.registry.test.", RecordType::AAAA, ResponseCode::NoError),
        ("contoso.registry.test.", RecordType::HTTPS, ResponseCode::NoError),
        ("nowhere.registry.test.", RecordType::A, ResponseCode::NoError),
        ("west.geo.registry.test.", RecordType::A, ResponseCode::NoError),
        ("data.registry.test.", RecordType::A, ResponseCode::NoError),
        ("dns.registry.test.", RecordType::A, ResponseCode::NoError),
        ("registry.test.", RecordType::A, ResponseCode::NoError),
        ("unknown.registry.test.", RecordType::A, ResponseCode::NXDomain),
        ("contoso.east.geo.registry.test.", RecordType::A, ResponseCode::NXDomain),
        ("x.contoso.registry.test.", RecordType::A, ResponseCode::NXDomain),
    ] {
        let answer = ask(name, kind);
        assert_eq!(answer.metadata.response_code, code, "{name}");
        assert!(answer.answers.is_empty() && answer.metadata.authoritative, "{name}");
        let [soa] = &answer.authorities[..] else { panic!("{name}: {answer:?}") };
        assert_eq!((soa.name.to_ascii().as_str(), soa.ttl), ("registry.test.", 2));
        let RData::SOA(soa) = &soa.data else { panic!("{soa:?}") };
        assert_eq!((soa.serial, soa.minimum), (7, 2));
    }
}

#[test]
fn what_is_no_business_of_the_zone_is_refused() {
    for (name, kind) in [
        ("contoso.registry.test.example.", RecordType::A),
        ("test.", RecordType::A),
        ("notregistry.test.", RecordType::A),
        (".", RecordType::NS),
        ("registry.test.", RecordType::AXFR),
    ] {
        let answer = ask(name, kind);
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused, "{name}");
        assert!(answer.answers.is_empty() && answer.authorities.is_empty() && !answer.metadata.authoritative);
    }
    let mut chaos = query("contoso.registry.test.", RecordType::TXT);
    chaos.queries[0].query_class = DNSClass::CH;
    assert_eq!(answered(&view(), &chaos, Transport::Udp, 0).metadata.response_code, ResponseCode::Refused);
    let mut update = query("registry.test.", RecordType::SOA);
    update.metadata.op_code = OpCode::Update;
    assert_eq!(answered(&view(), &update, Transport::Udp, 0).metadata.response_code, ResponseCode::NotImp);
}

#[test]
fn the_apex_has_its_soa_and_its_servers_with_their_addresses() {
    let answer = ask("registry.test.", RecordType::NS);
    assert_eq!(data(&answer), ["ns1.dns.registry.test.", "ns.elsewhere.test."]);
    assert_eq!(answer.additionals.len(), 1, "the address of the one below the zone");
    assert_eq!(data(&ask("registry.test.", RecordType::SOA)).len(), 1);
}

#[test]
fn any_is_answered_with_one_set() {
    assert_eq!(data(&ask("contoso.registry.test.", RecordType::ANY)), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(data(&ask("registry.test.", RecordType::ANY)).len(), 1);
}

#[test]
fn addresses_take_turns_in_the_first_place() {
    let turns: Vec<_> = (0..4)
        .map(|turn| {
            data(&answered(&view(), &query("contoso.registry.test.", RecordType::A), Transport::Udp, turn))
        })
        .collect();
    assert_eq!(turns[0], ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(turns[1], ["192.0.2.2", "192.0.2.1"]);
    assert_eq!(turns[2], turns[0]);
    let all_at_once = usize::MAX;
    let last =
        answered(&view(), &query("contoso.registry.test.", RecordType::A), Transport::Udp, all_at_once);
    assert_eq!(data(&last).len(), 2);
}

#[test]
fn the_case_of_a_question_comes_back() {
    let answer = ask("cOnToSo.WEST.geo.Registry.TEST.", RecordType::A);
    assert_eq!(answer.queries[0].name.to_ascii(), "cOnToSo.WEST.geo.Registry.TEST.");
    assert_eq!(answer.answers[0].name.to_ascii(), "cOnToSo.WEST.geo.Registry.TEST.");
    assert_eq!(data(&answer).len(), 2);
}

#[test]
fn edns_is_answered_where_it_is_asked_and_an_unknown_version_is_told() {
    assert!(ask("contoso.registry.test.", RecordType::A).edns.is_none());
    let mut asked = query("contoso.registry.test.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(4096).set_dnssec_ok(true);
    asked.set_edns(edns.clone());
    let answer = answered(&view(), &asked, Transport::Udp, 0);
    let found = answer.edns.as_ref().expect("edns");
    assert_eq!((found.max_payload(), found.version(), found.flags().dnssec_ok), (1232, 0, true));
    edns.set_version(1);
    asked.set_edns(edns);
    let answer = answered(&view(), &asked, Transport::Udp, 0);
    // 16 means BADSIG as well, and is read as that.
    assert_eq!(u16::from(answer.metadata.response_code), u16::from(ResponseCode::BADVERS));
    assert!(answer.answers.is_empty());
}

#[test]
fn what_does_not_fit_is_left_out_whole_and_told_by_tcp() {
    let mut snapshot = snapshot();
    let nodes = (0..100).map(|number| {
        let ip = IpAddr::V4(Ipv4Addr::new(198, 51, 100, number));
        Node::new(format!("n{number}").parse().unwrap(), (ip, 5000).into(), (ip, 9100).into(), Role::All)
    });
    snapshot.stamps[0].nodes = nodes.collect();
    let view = view_of(&snapshot);
    let plain = query("contoso.registry.test.", RecordType::A);
    let mut large = plain.clone();
    large.set_edns({
        let mut edns = Edns::new();
        edns.set_max_payload(u16::MAX);
        edns
    });
    for (message, limit) in [(&plain, 512), (&large, 1232)] {
        let bytes = answer(&view, &message.to_vec().unwrap(), Transport::Udp, 0).unwrap();
        assert!(bytes.len() <= limit, "{} bytes", bytes.len());
        let cut = Message::from_vec(&bytes).unwrap();
        assert!(cut.metadata.truncation && cut.answers.is_empty());
        assert_eq!(cut.edns.is_some(), message.edns.is_some());
        let whole = answered(&view, message, Transport::Tcp, 0);
        assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, 100));
    }
}

#[test]
fn a_move_changes_every_name_of_the_registry_at_once_and_no_other() {
    let mut snapshot = snapshot();
    for phase in [Phase::Preparing, Phase::Draining, Phase::Observing, Phase::Stable] {
        let moved = phase != Phase::Preparing;
        let binding = &mut snapshot.bindings[0];
        binding.phase = phase;
        binding.home_stamp = if moved { "b" } else { "a" }.parse().unwrap();
        let view = view_of(&snapshot);
        for (name, after) in [
            ("contoso.registry.test.", "192.0.2.11"),
            ("contoso.west.geo.registry.test.", "192.0.2.11"),
            ("contoso.west.data.registry.test.", "192.0.2.12"),
        ] {
            let found = data(&answered(&view, &query(name, RecordType::A), Transport::Udp, 0));
            let expected = if moved { vec![after] } else { vec!["192.0.2.1", "192.0.2.2"] };
            assert_eq!(found, expected, "{name} while {phase:?}");
        }
        let other = answered(&view, &query("fabrikam.registry.test.", RecordType::A), Transport::Udp, 0);
        assert_eq!(data(&other), ["192.0.2.11"]);
    }
}

#[test]
fn what_is_malformed_is_told_and_what_is_an_answer_is_not_answered() {
    let view = view();
    let whole = query("contoso.registry.test.", RecordType::A).to_vec().unwrap();
    let cut = answer(&view, &whole[..whole.len() - 3], Transport::Udp, 0).expect("an answer");
    let cut = Message::from_vec(&cut).unwrap();
    assert_eq!((cut.metadata.response_code, cut.metadata.id), (ResponseCode::FormErr, 4711));
    assert_eq!(answer(&view, &whole[..11], Transport::Udp, 0), None);
    let mut response = whole.clone();
    response[2] |= 0x80;
    assert_eq!(answer(&view, &response, Transport::Udp, 0), None);
    let mut none = Message::query();
    none.metadata.id = 1;
    assert_eq!(answered(&view, &none, Transport::Udp, 0).metadata.response_code, ResponseCode::FormErr);
    let mut two = query("contoso.registry.test.", RecordType::A);
    two.add_query(Query::query(Name::from_ascii("a.registry.test.").unwrap(), RecordType::A));
    assert_eq!(answered(&view, &two, Transport::Udp, 0).metadata.response_code, ResponseCode::FormErr);
}

proptest! {
    #[test]
    fn no_message_makes_it_panic_and_every_answer_is_a_message(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        tcp in any::<bool>(),
    ) {
        let view = view();
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let mut changed = query("contoso.west.geo.registry.test.", RecordType::A);
        changed.set_edns(Edns::new());
        let mut changed = changed.to_vec().unwrap();
        for (at, byte) in changes {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        for message in [&bytes, &changed] {
            if let Some(answer) = answer(&view, message, transport, 3) {
                let read = Message::from_vec(&answer).expect("an answer can be read");
                prop_assert_eq!(&message[..2], &answer[..2]);
                prop_assert_eq!(read.metadata.message_type, MessageType::Response);
                prop_assert!(tcp || answer.len() <= 1232);
            }
        }
    }
}
