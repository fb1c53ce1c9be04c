//! PostgreSQL servers through `sqlx`, whose connections one thread of this process drives.

mod client;
mod runtime;
mod server;

pub(crate) use client::{Client, server_options};
