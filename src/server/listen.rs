//! The sockets that clients reach the server on.

use super::error::StartError;
use crate::config::{Config, bind};
use crate::net::Listener;
use crate::sys::socket::{self, ListenOptions};
use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Everything that is listened on.
pub struct Listening {
    /// The sockets.
    pub listeners: Vec<Listener>,
    /// The TCP addresses.
    pub addresses: Vec<SocketAddr>,
    /// The unix socket's path, to be removed at the end.
    pub unix_path: Option<PathBuf>,
}

/// Opens all sockets of the configuration, or none.
pub fn open(config: &Config) -> Result<Listening, StartError> {
    let values = config.values();
    let mut listening = Listening { listeners: Vec::new(), addresses: Vec::new(), unix_path: None };
    let port = values.count("port") as u16;
    let options =
        ListenOptions { backlog: values.count("tcp-backlog") as i32, ..ListenOptions::default() };
    if port != 0 {
        let words: Vec<String> = values
            .words("bind")
            .iter()
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        for place in bind::resolve(&words, port).map_err(StartError::Bind)? {
            match socket::listen_tcp(place.address, options) {
                Ok(fd) => {
                    listening.listeners.push(Listener::tcp(fd));
                    listening.addresses.push(place.address);
                }
                Err(error) if place.optional && is_missing_address(&error) => {
                    tracing::info!(address = %place.address, "not on this machine; left out");
                }
                Err(error) => return Err(StartError::Listen(place.address, error)),
            }
        }
    }
    let path = values.text("unixsocket");
    if !path.is_empty() {
        let path = Path::new(OsStr::from_bytes(path));
        let mode = values.count("unixsocketperm") as u32;
        let mode = (mode != 0).then_some(mode);
        let fd = socket::listen_unix(path, mode, options.backlog)
            .map_err(|error| StartError::ListenUnix(path.into(), error))?;
        listening.listeners.push(Listener::unix(fd, path));
        listening.unix_path = Some(path.into());
    }
    match listening.listeners.is_empty() {
        true => Err(StartError::NothingToListenOn),
        false => Ok(listening),
    }
}

fn is_missing_address(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
}
