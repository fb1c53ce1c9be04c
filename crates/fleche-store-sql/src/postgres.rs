//! PostgreSQL servers through `tokio-postgres`, whose connections one thread of this process drives.

mod client;
mod connection;
mod options;
mod runtime;
mod server;
mod tls;

pub(crate) use client::Client;
pub(crate) use options::{ServerIdentity, ServerOptions};
