//! One message to its answer: a function of the view, so that it can be tried with anything.

use hickory_proto::ProtoError;
use hickory_proto::op::{
    Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode, emit_message_parts,
};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncoder};

use super::pool::Pool;
use super::view::{Found, View};

/// The most that is sent by UDP: no link in use fragments it (DNS Flag Day 2020).
const UDP_BYTES: u16 = 1232;
/// What every client takes by UDP (RFC 1035 §4.2.1).
const UDP_BYTES_WITHOUT_EDNS: u16 = 512;

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// The sections of an answer.
#[derive(Default)]
struct Reply {
    code: ResponseCode,
    authoritative: bool,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
}

impl Reply {
    fn refusal(code: ResponseCode) -> Self {
        Self { code, ..Self::default() }
    }

    fn authoritative(answers: Vec<Record>) -> Self {
        Self { authoritative: true, answers, ..Self::default() }
    }

    /// That something is not there, for as long as the SOA says.
    fn absent(code: ResponseCode, view: &View) -> Self {
        let authorities = vec![view.soa.clone()];
        Self { code, authoritative: true, authorities, ..Self::default() }
    }
}

/// The answer to a message, if it is to have one. `turn` counts up from answer to answer, so that addresses
/// take turns in the first place.
pub(super) fn answer(view: &View, bytes: &[u8], transport: Transport, turn: usize) -> Option<Vec<u8>> {
    let header = Header::read(&mut BinDecoder::new(bytes)).ok()?;
    // An answer to an answer could go on for ever.
    if header.metadata.message_type == MessageType::Response {
        return None;
    }
    let Ok(message) = Message::from_vec(bytes) else {
        let malformed = Reply::refusal(ResponseCode::FormErr);
        return write(&header.metadata, &[], None, UDP_BYTES_WITHOUT_EDNS, malformed).ok();
    };
    let limit = match (transport, &message.edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, Some(edns)) => edns.max_payload().clamp(UDP_BYTES_WITHOUT_EDNS, UDP_BYTES),
        (Transport::Udp, None) => UDP_BYTES_WITHOUT_EDNS,
    };
    let edns = message.edns.as_ref().map(edns_of);
    let reply = reply(view, &message, turn);
    write(&message.metadata, &message.queries, edns.as_ref(), limit, reply).ok()
}

fn reply(view: &View, message: &Message, turn: usize) -> Reply {
    if message.metadata.op_code != OpCode::Query {
        return Reply::refusal(ResponseCode::NotImp);
    }
    if message.version() > 0 {
        return Reply::refusal(ResponseCode::BADVERS);
    }
    let [query] = &message.queries[..] else { return Reply::refusal(ResponseCode::FormErr) };
    if query.query_class != DNSClass::IN || matches!(query.query_type, RecordType::AXFR | RecordType::IXFR) {
        return Reply::refusal(ResponseCode::Refused);
    }
    match view.find(&query.name) {
        Found::Outside => Reply::refusal(ResponseCode::Refused),
        Found::Nothing => Reply::absent(ResponseCode::NXDomain, view),
        Found::Between => Reply::absent(ResponseCode::NoError, view),
        Found::Apex => apex(view, query),
        Found::Addresses(pool) => addresses(view, query, pool, turn),
    }
}

fn apex(view: &View, query: &Query) -> Reply {
    match query.query_type {
        // One set is enough for ANY (RFC 8482 §4.1).
        RecordType::SOA | RecordType::ANY => Reply::authoritative(vec![view.soa.clone()]),
        RecordType::NS => {
            let mut reply = Reply::authoritative(view.servers.clone());
            for server in &view.servers {
                if let RData::NS(name) = &server.data
                    && let Found::Addresses(pool) = view.find(&name.0)
                {
                    let of = |kind| Query::query(name.0.clone(), kind);
                    reply.additionals.extend(v4(view, &of(RecordType::A), pool, 0));
                    reply.additionals.extend(v6(view, &of(RecordType::AAAA), pool, 0));
                }
            }
            reply
        }
        _ => Reply::absent(ResponseCode::NoError, view),
    }
}

fn addresses(view: &View, query: &Query, pool: &Pool, turn: usize) -> Reply {
    let answers = match query.query_type {
        RecordType::A => v4(view, query, pool, turn),
        RecordType::AAAA => v6(view, query, pool, turn),
        RecordType::ANY if !pool.v4.is_empty() => v4(view, query, pool, turn),
        RecordType::ANY => v6(view, query, pool, turn),
        _ => Vec::new(),
    };
    if answers.is_empty() {
        Reply::absent(ResponseCode::NoError, view)
    } else {
        Reply::authoritative(answers)
    }
}

fn v4(view: &View, query: &Query, pool: &Pool, turn: usize) -> Vec<Record> {
    rotated(&pool.v4, turn).map(|address| record(view, query, RData::A(A(*address)))).collect()
}

fn v6(view: &View, query: &Query, pool: &Pool, turn: usize) -> Vec<Record> {
    rotated(&pool.v6, turn).map(|address| record(view, query, RData::AAAA(AAAA(*address)))).collect()
}

/// The name is the query's own, so that its case comes back and a resolver can check it.
fn record(view: &View, query: &Query, data: RData) -> Record {
    Record::from_rdata(query.name.clone(), view.ttl, data)
}

fn rotated<T>(all: &[T], turn: usize) -> impl Iterator<Item = &T> {
    let (after, first) = all.split_at(turn.checked_rem(all.len()).unwrap_or(0));
    first.iter().chain(after)
}

fn edns_of(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_BYTES);
    // Sent back as it came (RFC 3225 §3), though nothing here is signed.
    edns.set_dnssec_ok(asked.flags().dnssec_ok);
    edns
}

fn write(
    asked: &Metadata,
    queries: &[Query],
    edns: Option<&Edns>,
    limit: u16,
    reply: Reply,
) -> Result<Vec<u8>, ProtoError> {
    let mut metadata = Metadata::response_from_request(asked);
    metadata.response_code = reply.code;
    metadata.authoritative = reply.authoritative;
    let mut bytes = Vec::with_capacity(512);
    let header = emit(&mut bytes, limit, &metadata, queries, &reply, edns)?;
    if header.metadata.truncation {
        // Half a set is of no use, and it may have pushed out what has to be there.
        bytes.clear();
        metadata.truncation = true;
        emit(&mut bytes, limit, &metadata, queries, &Reply::default(), edns)?;
    }
    Ok(bytes)
}

fn emit(
    bytes: &mut Vec<u8>,
    limit: u16,
    metadata: &Metadata,
    queries: &[Query],
    reply: &Reply,
    edns: Option<&Edns>,
) -> Result<Header, ProtoError> {
    let mut encoder = BinEncoder::new(bytes);
    encoder.set_max_size(limit);
    emit_message_parts(
        metadata,
        &mut queries.iter(),
        &mut reply.answers.iter(),
        &mut reply.authorities.iter(),
        &mut reply.additionals.iter(),
        edns,
        None,
        &mut encoder,
    )
}

#[cfg(test)]
#[path = "answer/tests.rs"]
mod tests;
