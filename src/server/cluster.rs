//! From the configuration to a node of a cluster: names, addresses, ports, the secret.
//!
//! Whatever does not fit is refused before anything is opened, with what differs and what to do.

use super::error::StartError;
use super::listen::Listening;
use crate::cluster::core::log::codec;
use crate::cluster::core::message::node_id;
use crate::cluster::core::node::NodeConfig;
use crate::cluster::core::table::Addresses;
use crate::commands::cluster::Gateway;
use crate::commands::{NodeHub, random_seed};
use crate::config::bind::{Listen, Peer, parse_peers};
use crate::config::{ApplyError, Config};
use crate::driver::Setup;
use crate::limits::{
    CLUSTER_DOOR_MS, CLUSTER_DOOR_STEP_MS, CLUSTER_GROUPS, CLUSTER_NAME_BYTES_MAX,
};
use crate::net::Listener;
use crate::sys::clock;
use crate::sys::socket::{self, ListenOptions};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How far the port that answers where keys are lies behind that for clients, if it is not set.
const REDIRECT_OFFSET: u16 = 5_000;
/// The same of the port for other nodes.
const PEER_OFFSET: u16 = 10_000;

/// Why a configuration makes no cluster.
#[derive(Debug)]
pub enum ClusterError {
    /// This directive must have that value.
    Needs(&'static str, &'static str),
    /// A port lies above 65,535.
    Port(&'static str, u16, u16),
    /// The list of peers names this node itself.
    OwnName(String),
    /// A name is too long, or breaks the lines in which it is shown.
    BadName(String),
    /// Two peers have one address.
    OneAddress(String, String),
    /// The host of a peer is not known.
    Unknown(String, io::Error),
    /// There is no secret, and this is not on this machine.
    NoSecret(String),
    /// The file of the secret cannot be read, or is empty.
    SecretFile(PathBuf, io::Error),
    /// Others do not know where this node is.
    NoAddress,
    /// Not so many nodes.
    Count(usize),
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClusterError::Needs(name, value) => write!(
                f,
                "a node of a cluster keeps its log always: '{name}' must be '{value}' with --peers"
            ),
            ClusterError::Port(name, port, offset) => write!(
                f,
                "port {port} + {offset} is above 65535: set --{name} for this node, and name it in \
                 the list of the others, as in id:host:port@PEER/REDIRECT"
            ),
            ClusterError::OwnName(name) => write!(
                f,
                "--peers names '{name}', which is this node: leave it out, or set another --node"
            ),
            ClusterError::BadName(name) => write!(
                f,
                "the name {name:?} is longer than {CLUSTER_NAME_BYTES_MAX} bytes, or has spaces or \
                 control characters: choose another"
            ),
            ClusterError::OneAddress(one, other) => write!(
                f,
                "'{one}' and '{other}' have one address: give each node an address of its own"
            ),
            ClusterError::Unknown(host, error) => {
                write!(f, "the host '{host}' of --peers is not known: {error}")
            }
            ClusterError::NoSecret(what) => write!(
                f,
                "without a secret a cluster stays on this machine, and {what} is not on it: set \
                 'cluster-secret-file' to the same secret on all nodes"
            ),
            ClusterError::SecretFile(path, error) => {
                write!(
                    f,
                    "the secret of the cluster cannot be had from {}: {error}",
                    path.display()
                )
            }
            ClusterError::NoAddress => f.write_str(
                "the other nodes must know where this one is: set 'cluster-announce-ip' to the \
                 address that they have in their list",
            ),
            ClusterError::Count(count) => write!(
                f,
                "a cluster of {count} nodes: --peers must name two others at least, as three nodes \
                 keep each key"
            ),
        }
    }
}

impl std::error::Error for ClusterError {}

/// What a node needs beside its data.
pub(super) struct Plan {
    /// Its place in the cluster.
    pub(super) setup: Setup,
    /// Its port for clients that know where keys are.
    pub(super) redirect_port: u16,
    /// Reads ask a majority each time.
    pub(super) is_strict: bool,
}

impl Plan {
    /// The plan that `config` describes; `None` for a server that stands alone.
    pub(super) fn of(config: &Config) -> Result<Option<Plan>, StartError> {
        let text = String::from_utf8_lossy(config.values().text("peers")).into_owned();
        let peers = parse_peers(&text).unwrap_or_default();
        if peers.is_empty() {
            return Ok(None);
        }
        plan(config, &peers).map(Some).map_err(StartError::Cluster)
    }

    /// The gateway of the node.
    pub(super) fn gateway(&self) -> io::Result<Gateway> {
        let gateway = Gateway::new(node_id(&self.setup.core.name), self.redirect_port)?;
        gateway.set_strict(self.is_strict);
        Ok(gateway)
    }

    /// Listens on the redirect port beside each address for clients.
    pub(super) fn listen(&self, listening: &mut Listening) -> Result<(), StartError> {
        for address in listening.addresses.clone() {
            let address = SocketAddr::new(address.ip(), self.redirect_port);
            let fd = socket::listen_tcp(address, ListenOptions::default())
                .map_err(|error| StartError::Listen(address, error))?;
            listening.listeners.push(Listener::tcp(fd, address));
        }
        Ok(())
    }
}

/// Lets clients in when the node has its data and knows who leads, which a restart mostly takes a
/// moment for: they wait at the door, where they would be told that data is loaded, or that there
/// is no leader. What takes longer is told.
pub(super) fn open_doors(hub: &NodeHub, gateway: &Gateway, mut listeners: Vec<Listener>) {
    let is_ready = || !hub.service.is_loading() && gateway.knows_leaders();
    for _ in 0..CLUSTER_DOOR_MS / CLUSTER_DOOR_STEP_MS {
        if is_ready() || gateway.is_ending() {
            break;
        }
        std::thread::sleep(Duration::from_millis(CLUSTER_DOOR_STEP_MS));
    }
    hub.change_listeners(|open| open.append(&mut listeners));
}

/// What others were told of this node does not change while it runs.
pub(super) fn fix(config: &Config) {
    config.on_change(&["port", "bind", "appendonly", "appendfsync"], |_| Err(ApplyError::Restart));
}

fn plan(config: &Config, peers: &[Peer]) -> Result<Plan, ClusterError> {
    let values = config.values();
    let name = String::from_utf8_lossy(values.text("node")).into_owned();
    if peers.len() < 2 {
        return Err(ClusterError::Count(peers.len() + 1));
    }
    if !values.flag("appendonly") {
        return Err(ClusterError::Needs("appendonly", "yes"));
    }
    if values.choice("appendfsync") != "always" {
        return Err(ClusterError::Needs("appendfsync", "always"));
    }
    for one in peers.iter().map(|peer| &peer.id).chain([&name]) {
        if one.len() > CLUSTER_NAME_BYTES_MAX || !codec::is_plain(one) {
            return Err(ClusterError::BadName(one.clone()));
        }
    }
    if let Some(own) = peers.iter().find(|peer| peer.id == name) {
        return Err(ClusterError::OwnName(own.id.clone()));
    }
    let secret = secret(config)?;
    let resolved = resolve(peers)?;
    let is_local = resolved.iter().all(|(_, address)| address.ip().is_loopback());
    let binds = config.listen_addresses().unwrap_or_default();
    if secret.is_empty() {
        only_here(&resolved, &binds)?;
    }
    let own = own_addresses(config, is_local)?;
    let (redirect_port, peer_port) = (own.redirect_port, own.peer_port);
    let mut listed = vec![(name.clone(), own)];
    for peer in peers {
        listed.push((peer.id.clone(), addresses_of(peer)?));
    }
    listed.sort_by(|a, b| a.0.cmp(&b.0));
    let core = NodeConfig {
        name,
        listed,
        data_groups: CLUSTER_GROUPS as u16,
        random: random_seed(),
        wall_us: clock::wall_us(),
    };
    let listen = binds.iter().map(|bind| SocketAddr::new(bind.address.ip(), peer_port)).collect();
    let segment_bytes = values.bytes("wal-segment-bytes").next_power_of_two();
    let is_strict = values.choice("read-mode") == "strict";
    let setup = Setup { core, peers: resolved, listen, secret, segment_bytes };
    Ok(Plan { setup, redirect_port, is_strict })
}

/// Names of peers with the addresses of their peer ports.
fn resolve(peers: &[Peer]) -> Result<Vec<(String, SocketAddr)>, ClusterError> {
    let mut resolved: Vec<(String, SocketAddr)> = Vec::new();
    for peer in peers {
        let port = addresses_of(peer)?.peer_port;
        let unknown = |error| ClusterError::Unknown(peer.host.clone(), error);
        let mut found = (peer.host.as_str(), port).to_socket_addrs().map_err(unknown)?;
        let none = || io::Error::other("it has no address");
        let address = found.next().ok_or_else(none).map_err(unknown)?;
        if let Some((other, _)) = resolved.iter().find(|(_, known)| *known == address) {
            return Err(ClusterError::OneAddress(other.clone(), peer.id.clone()));
        }
        resolved.push((peer.id.clone(), address));
    }
    Ok(resolved)
}

fn only_here(peers: &[(String, SocketAddr)], binds: &[Listen]) -> Result<(), ClusterError> {
    if let Some((name, _)) = peers.iter().find(|(_, address)| !address.ip().is_loopback()) {
        return Err(ClusterError::NoSecret(format!("the node '{name}'")));
    }
    match binds.iter().find(|bind| !bind.address.ip().is_loopback()) {
        Some(bind) => Err(ClusterError::NoSecret(format!("the address {}", bind.address.ip()))),
        None => Ok(()),
    }
}

fn own_addresses(config: &Config, is_local: bool) -> Result<Addresses, ClusterError> {
    let values = config.values();
    let port = values.count("port") as u16;
    let set_or = |name: &'static str, offset| match values.count(name) as u16 {
        0 => behind(name, port, offset),
        set => Ok(set),
    };
    let announced = String::from_utf8_lossy(values.text("cluster-announce-ip")).into_owned();
    let host = match (announced.is_empty(), is_local) {
        (false, _) => announced,
        (true, true) => IpAddr::from([127, 0, 0, 1]).to_string(),
        (true, false) => return Err(ClusterError::NoAddress),
    };
    let redirect_port = set_or("redirect-port", REDIRECT_OFFSET)?;
    Ok(Addresses { host, port, redirect_port, peer_port: set_or("peer-port", PEER_OFFSET)? })
}

fn addresses_of(peer: &Peer) -> Result<Addresses, ClusterError> {
    let set_or = |set: Option<u16>, name, offset| match set {
        Some(port) => Ok(port),
        None => behind(name, peer.port, offset),
    };
    Ok(Addresses {
        host: peer.host.clone(),
        port: peer.port,
        redirect_port: set_or(peer.redirect_port, "redirect-port", REDIRECT_OFFSET)?,
        peer_port: set_or(peer.peer_port, "peer-port", PEER_OFFSET)?,
    })
}

fn behind(name: &'static str, port: u16, offset: u16) -> Result<u16, ClusterError> {
    port.checked_add(offset).ok_or(ClusterError::Port(name, port, offset))
}

/// What all nodes know: from the configuration, a file, or the environment.
fn secret(config: &Config) -> Result<Vec<u8>, ClusterError> {
    let values = config.values();
    let path = values.text("cluster-secret-file");
    if path.is_empty() {
        return Ok(values.text("cluster-secret").to_vec());
    }
    let path = Path::new(OsStr::from_bytes(path));
    let refused = |error| ClusterError::SecretFile(path.into(), error);
    let bytes = std::fs::read(path).map_err(refused)?;
    let secret = bytes.trim_ascii().to_vec();
    match secret.is_empty() {
        true => Err(refused(io::Error::other("it is empty"))),
        false => Ok(secret),
    }
}
