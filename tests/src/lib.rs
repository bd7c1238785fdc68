//! Promises, conformance and real clients.
