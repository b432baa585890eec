//! Why a server could not start. Each text is one line that says what to do.

use super::cluster::ClusterError;
use super::recovery::RecoveryError;
use crate::config::bind::BindError;
use crate::driver::DriverError;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server could not start.
#[derive(Debug)]
pub enum StartError {
    /// An address of `bind` cannot be resolved.
    Bind(BindError),
    /// A TCP address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// A unix socket cannot be listened on.
    ListenUnix(PathBuf, io::Error),
    /// Neither TCP nor unix socket is configured.
    NothingToListenOn,
    /// Another server keeps its data in the directory.
    DirectoryInUse(PathBuf),
    /// The directory of the data cannot be used.
    DataDirectory(PathBuf, io::Error),
    /// The data in the directory cannot be brought back.
    Recovery(PathBuf, RecoveryError),
    /// The configuration makes no cluster.
    Cluster(ClusterError),
    /// The node of a cluster cannot start with what is in the directory.
    Driver(PathBuf, DriverError),
    /// The operating system refused something that a server needs.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Bind(error) => error.fmt(f),
            StartError::Listen(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "port {} is in use on {}: stop the other server or choose another --port",
                    address.port(),
                    address.ip()
                )
            }
            StartError::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            StartError::ListenUnix(path, error) => {
                write!(f, "cannot listen on unix socket {}: {error}", path.display())
            }
            StartError::NothingToListenOn => {
                f.write_str("nothing to listen on: 'port' is 0 and 'unixsocket' is empty")
            }
            StartError::DirectoryInUse(path) => write!(
                f,
                "another server keeps its data in {}: stop it, or choose another --dir",
                path.display()
            ),
            StartError::DataDirectory(path, error) => {
                write!(f, "cannot keep data in {}: {error}; choose another --dir", path.display())
            }
            StartError::Recovery(path, error) => write!(f, "{}: {error}", path.display()),
            StartError::Cluster(error) => error.fmt(f),
            StartError::Driver(path, error) => write!(f, "{}: {error}", path.display()),
            StartError::System(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> StartError {
        StartError::System(error)
    }
}
