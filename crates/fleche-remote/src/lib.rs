//! Stores at the other end of a command's pipes, such as those of `ssh`.
//!
#![doc = include_str!("../README.md")]

mod claim_permits;
mod client;
mod config;
mod frame;
mod frame_writer;
mod hello;
mod limited_writer;
mod operation;
mod remote_stores;
mod request_pool;
mod results;
mod served_stores;
mod server;
mod session;

pub use config::RemoteConfig;
pub use server::serve;

/// What the executors of this workspace use. There is no compatibility between versions.
pub mod spi {
    pub use crate::{
        claim_permits::{ClaimPermits, TaskPermit},
        client::Client,
        frame::{Frame, Kind, Reader, number},
        frame_writer::FrameWriter,
        hello::{Hello, Role},
        operation::ServedStore,
        remote_stores::{LastRecord, RemoteCalls, RemoteValues},
        request_pool::RequestPool,
        served_stores::ServedStores,
    };
}
