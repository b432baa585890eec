//! What a node of a cluster is set up with, and why that may fail.

use super::TOKEN_LISTENER;
use super::log::LogError;
use crate::cluster::core::message::GroupId;
use crate::cluster::core::node::{Node, NodeConfig, NodeError};
use crate::cluster::wire::handshake::{Greeting, VERSIONS};
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::socket::{self, ListenOptions};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// How a node of a cluster is set up.
pub struct Setup {
    /// Its name, the nodes that it was told of, and what the core needs beside.
    pub core: NodeConfig,
    /// Names and peer addresses of the other nodes.
    pub peers: Vec<(String, SocketAddr)>,
    /// Where other nodes reach this one.
    pub listen: Vec<SocketAddr>,
    /// What all nodes of the cluster know.
    pub secret: Vec<u8>,
    /// Bytes of a file of the log.
    pub segment_bytes: u64,
}

/// Why a node cannot start.
#[derive(Debug)]
pub enum DriverError {
    /// Its log cannot be read.
    Log(LogError),
    /// What is in it does not fit.
    Node(NodeError),
    /// The state of this group cannot be read.
    State(GroupId),
    /// Others cannot reach it at this address.
    Listen(SocketAddr, io::Error),
    /// The system refused something.
    System(io::Error),
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DriverError::Log(error) => error.fmt(f),
            DriverError::Node(error) => write!(f, "the node cannot start: {}", why(error)),
            DriverError::State(group) => write!(
                f,
                "the state of group {group} in the log cannot be read; move the directory away and \
                 let the node come back empty"
            ),
            DriverError::Listen(address, error) => write!(
                f,
                "the other nodes cannot reach this one at {address}: {error}; stop what listens \
                 there, or choose another --peer-port"
            ),
            DriverError::System(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DriverError {}

impl From<io::Error> for DriverError {
    fn from(error: io::Error) -> DriverError {
        DriverError::System(error)
    }
}

fn why(error: &NodeError) -> String {
    match error {
        NodeError::NotListed => "it is not among the nodes of its own list".into(),
        NodeError::NameTwice(name) => format!("two nodes are called {name}; rename one"),
        NodeError::Group(group, error) => format!(
            "the log of group {group} does not fit together ({error:?}); move the directory away \
             and let the node come back empty"
        ),
        NodeError::Lacks => "its log lacks a replica that was born with the cluster; move the \
            directory away and let the node come back empty"
            .into(),
        NodeError::Table => "the table of the cluster is of a version that it does not know".into(),
    }
}

/// What the node says of itself to those that it connects to.
pub(super) fn greeting(name: String, core: &Node) -> Greeting {
    let cluster = core.table().map_or(0, |table| table.cluster);
    let disk = core.identity().disk;
    Greeting { cluster, disk, name, calls: String::new(), versions: VERSIONS }
}

pub(super) fn listen(epoll: &Epoll, addresses: &[SocketAddr]) -> Result<Vec<OwnedFd>, DriverError> {
    let mut listeners = Vec::new();
    for &address in addresses {
        let refused = |error| DriverError::Listen(address, error);
        let fd = socket::listen_tcp(address, ListenOptions::default()).map_err(refused)?;
        epoll.add(&fd, TOKEN_LISTENER, Interest::LISTENER)?;
        listeners.push(fd);
    }
    Ok(listeners)
}
