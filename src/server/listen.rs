//! The sockets that clients reach the server on, at start-up and after a change of `bind` or
//! `port`.
//!
//! A change is all or nothing. What is listened on before and after stays open; what is new is
//! opened first, and what is no longer wanted is closed then. Only where an old socket stands in
//! the way of a new one (one address of a port on which all are asked for) the old ones go first,
//! and are opened again if the new ones cannot be had.

use super::error::StartError;
use crate::commands::NodeHub;
use crate::config::bind::Listen;
use crate::config::{ApplyError, Config};
use crate::net::Listener;
use crate::sys::socket::{self, ListenOptions};
use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that is listened on.
pub struct Listening {
    /// The sockets.
    pub listeners: Vec<Listener>,
    /// The TCP addresses.
    pub addresses: Vec<SocketAddr>,
    /// The unix socket's path, to be removed at the end.
    pub unix_path: Option<PathBuf>,
}

/// The address that could not be listened on, and why.
type Failure = (SocketAddr, io::Error);

/// Opens all sockets of the configuration, or none.
pub fn open(config: &Config) -> Result<Listening, StartError> {
    let values = config.values();
    let wanted = config.listen_addresses().map_err(StartError::Bind)?;
    let mut listeners = open_tcp(&wanted, options(config))
        .map_err(|(address, error)| StartError::Listen(address, error))?;
    let addresses = listeners.iter().filter_map(Listener::address).collect();
    let mut unix_path = None;
    let path = values.text("unixsocket");
    if !path.is_empty() {
        let path = Path::new(OsStr::from_bytes(path));
        let mode = values.count("unixsocketperm") as u32;
        let mode = (mode != 0).then_some(mode);
        let fd = socket::listen_unix(path, mode, options(config).backlog)
            .map_err(|error| StartError::ListenUnix(path.into(), error))?;
        listeners.push(Listener::unix(fd, path));
        unix_path = Some(path.into());
    }
    match listeners.is_empty() {
        true => Err(StartError::NothingToListenOn),
        false => Ok(Listening { listeners, addresses, unix_path }),
    }
}

/// From now on the sockets follow `bind` and `port`.
pub fn follow_config(hub: &Arc<NodeHub>) {
    let weak = Arc::downgrade(hub);
    hub.service.config.on_change(&["port", "bind"], move |config| {
        // Without a hub the server has ended, and nobody is to be reached.
        weak.upgrade().map_or(Ok(()), |hub| follow(&hub, config))
    });
}

fn follow(hub: &NodeHub, config: &Config) -> Result<(), ApplyError> {
    let wanted = config.listen_addresses().map_err(|error| {
        tracing::warn!(%error, "the listening sockets stay as they are");
        ApplyError::Bind
    })?;
    let port = config.values().count("port") as u16;
    hub.change_listeners(|listeners| {
        let moves = !listeners.iter().filter_map(Listener::address).any(|old| old.port() == port);
        exchange(listeners, &wanted, options(config)).map_err(|(address, error)| {
            tracing::warn!(%error, %address, "the listening sockets stay as they are");
            if moves { ApplyError::Port } else { ApplyError::Bind }
        })
    })
}

/// Has `listeners` listen on the addresses `wanted`, and on the unix sockets as before. After an
/// error they are what they were.
fn exchange(
    listeners: &mut Vec<Listener>,
    wanted: &[Listen],
    options: ListenOptions,
) -> Result<(), Failure> {
    let is_wanted = |address: SocketAddr| wanted.iter().any(|listen| listen.address == address);
    let is_listened_on = |listen: &&Listen| {
        listeners.iter().any(|listener| listener.address() == Some(listen.address))
    };
    let missing: Vec<Listen> =
        wanted.iter().filter(|listen| !is_listened_on(listen)).copied().collect();
    let old = listeners
        .extract_if(.., |listener| listener.address().is_some_and(|address| !is_wanted(address)));
    let old: Vec<Listener> = old.collect();
    let (now, outcome) = match open_tcp(&missing, options) {
        Ok(opened) => (opened, Ok(())),
        Err((_, error)) if error.kind() == io::ErrorKind::AddrInUse => {
            displace(old, &missing, options)
        }
        Err(failure) => (old, Err(failure)),
    };
    listeners.extend(now);
    outcome
}

/// Closes `old` before it opens `places`; opens the old ones again if that fails.
fn displace(
    old: Vec<Listener>,
    places: &[Listen],
    options: ListenOptions,
) -> (Vec<Listener>, Result<(), Failure>) {
    let addresses = old.iter().filter_map(Listener::address);
    let back: Vec<Listen> = addresses.map(|address| Listen { address, optional: false }).collect();
    drop(old);
    match open_tcp(places, options) {
        Ok(opened) => (opened, Ok(())),
        Err(failure) => {
            let reopened = open_tcp(&back, options).unwrap_or_else(|(address, error)| {
                tracing::error!(%error, %address, "cannot be listened on again");
                Vec::new()
            });
            (reopened, Err(failure))
        }
    }
}

/// Opens a socket for each of `places`, or none.
fn open_tcp(places: &[Listen], options: ListenOptions) -> Result<Vec<Listener>, Failure> {
    let mut opened = Vec::with_capacity(places.len());
    for place in places {
        match socket::listen_tcp(place.address, options) {
            Ok(fd) => opened.push(Listener::tcp(fd, place.address)),
            Err(error) if place.optional && is_missing_address(&error) => {
                tracing::info!(address = %place.address, "not on this machine; left out");
            }
            Err(error) => return Err((place.address, error)),
        }
    }
    Ok(opened)
}

fn options(config: &Config) -> ListenOptions {
    let backlog = config.values().count("tcp-backlog") as i32;
    ListenOptions { backlog, ..ListenOptions::default() }
}

fn is_missing_address(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
}
