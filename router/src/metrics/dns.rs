//! Counts of DNS queries: the handles are made once, since a query costs a few microseconds in all.

use std::sync::OnceLock;

use metrics::{Counter, counter};

const TYPES: [(&str, u16); 4] = [("A", 1), ("NS", 2), ("SOA", 6), ("AAAA", 28)];
const CODES: [&str; 6] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];

/// A counter for each type of query and code of answer.
pub struct DnsCounters {
    by: Vec<Vec<Counter>>,
}

impl DnsCounters {
    /// Those of this process; call it after the recorder is installed.
    pub fn get() -> &'static Self {
        static COUNTERS: OnceLock<DnsCounters> = OnceLock::new();
        COUNTERS.get_or_init(|| {
            let of_type = |kind: &'static str| {
                let codes = CODES.into_iter().chain(["other"]);
                codes
                    .map(|code| counter!("router_dns_queries_total", "type" => kind, "rcode" => code))
                    .collect()
            };
            Self { by: TYPES.into_iter().map(|(kind, _)| kind).chain(["other"]).map(of_type).collect() }
        })
    }

    /// A query and its answer, as they are on the wire.
    pub fn count(&self, query: &[u8], answer: &[u8]) {
        let kind = kind(query).and_then(|kind| TYPES.iter().position(|(_, number)| *number == kind));
        let code = answer.get(3).map_or(CODES.len(), |flags| usize::from(flags & 0xf).min(CODES.len()));
        let of_type = self.by.get(kind.unwrap_or(TYPES.len()));
        if let Some(counter) = of_type.and_then(|codes| codes.get(code)) {
            counter.increment(1);
        }
    }
}

/// The type of the first question (RFC 1035, 4.1.2): after twelve bytes of header and the labels of a name.
fn kind(query: &[u8]) -> Option<u16> {
    let mut at = 12;
    loop {
        match usize::from(*query.get(at)?) {
            0 => break,
            length @ 1..=63 => at += length + 1,
            // A pointer, which no first question has.
            _ => return None,
        }
    }
    Some(u16::from_be_bytes([*query.get(at + 1)?, *query.get(at + 2)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_a_question_is_read_and_what_is_no_question_has_none() {
        let mut query = vec![0; 12];
        query.extend(b"\x07contoso\x04test\x00\x00\x1c\x00\x01");
        assert_eq!(kind(&query), Some(28));
        for length in 0..query.len() - 3 {
            assert_eq!(kind(&query[..length]), None, "{length} bytes");
        }
        query[12] = 0xc0;
        assert_eq!(kind(&query), None);
    }
}
