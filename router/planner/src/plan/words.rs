//! A recommendation in one sentence.

use std::fmt;

use dataproxy_router_api::Role;

use super::{Recommendation, StampPoolSize};

impl fmt::Display for Recommendation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Isolate { from, registries, pools, why } => {
                write!(f, "isolate {} of {from} on a stamp of ", names(registries))?;
                let sizes = pools.iter().map(|pool| size(pool.role, pool.nodes, pool.node_lost));
                write!(f, "{}: {why}", list(sizes))
            }
            Self::SpreadConnections { stamp, role, p95, why } => {
                let (role, p95) = (role.as_str(), p95 * 100.0);
                write!(f, "spread the connections of {stamp} {role}, to a P95 of {p95:.1} %: {why}")
            }
            Self::AddCapacity { stamps, pools, why } => {
                let sizes = pools.iter().map(|StampPoolSize { stamp, role, nodes, node_lost }| {
                    format!("{stamp} {}", size(*role, *nodes, *node_lost))
                });
                write!(f, "add capacity to {}: {why}; enough would be {}", names(stamps), list(sizes))
            }
            Self::RightSize { pool, min_nodes_now, why } => {
                let StampPoolSize { stamp, role, nodes, .. } = pool;
                write!(
                    f,
                    "lower the minimum of {stamp} {} from {min_nodes_now} to {nodes}: {why}",
                    role.as_str()
                )
            }
            Self::DoNothing { why } => write!(f, "do nothing: {why}"),
        }
    }
}

fn size(role: Role, nodes: u32, node_lost: f64) -> String {
    format!("{nodes} {} nodes (P95 {:.1} % with one lost)", role.as_str(), node_lost * 100.0)
}

fn names<T: fmt::Display>(names: &[T]) -> String {
    list(names.iter().map(T::to_string))
}

fn list(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}
