//! Descriptors for all clients: what `maxclients` asks of the limit of open files.
//!
//! At start a limit that cannot be raised lowers `maxclients`, with a warning in the banner. Later
//! a CONFIG SET that asks for too much is refused with the number that is possible.

use crate::config::{ApplyError, Caller, Config};
use crate::sys::process;

/// Descriptors that are needed beside those of clients: epoll sets, bells, listeners, files.
const RESERVED: u64 = 64;

/// Raises the limit of open files for `maxclients`, or lowers `maxclients` to what is possible,
/// which it returns.
pub fn make_room(config: &Config) -> u64 {
    let wanted = config.hot.maxclients();
    let possible = possible_clients(wanted);
    if possible < wanted {
        let number = possible.to_string();
        let pairs: [(&[u8], &[u8]); 1] = [(b"maxclients", number.as_bytes())];
        if let Err(error) = config.set_many(Caller::Local, &pairs) {
            tracing::warn!(%error, "maxclients stays above the limit of open files");
        }
    }
    possible
}

/// Holds every later change of `maxclients` to what is possible.
pub fn follow(config: &Config) {
    config.on_change(&["maxclients"], |config| {
        let wanted = config.hot.maxclients();
        let possible = possible_clients(wanted);
        if possible < wanted { Err(ApplyError::Clients { possible }) } else { Ok(()) }
    });
}

/// How many of `wanted` clients there can be, after raising the limit as far as it goes; at
/// least one.
fn possible_clients(wanted: u64) -> u64 {
    match process::raise_fd_limit(wanted + RESERVED) {
        Ok(reached) => reached.saturating_sub(RESERVED).clamp(1, wanted),
        Err(error) => {
            tracing::warn!(%error, "the limit of open files is unknown");
            wanted
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_clients_as_descriptors_allow() {
        let config = Config::new();
        let possible = make_room(&config);
        assert!((1..=10_000).contains(&possible));
        assert_eq!(config.hot.maxclients(), possible);
    }

    #[test]
    fn a_change_within_the_limit_is_let_through() {
        let config = Config::new();
        follow(&config);
        let pairs: [(&[u8], &[u8]); 1] = [(b"maxclients", b"16")];
        assert_eq!(config.set_many(Caller::Remote, &pairs).unwrap().len(), 1);
    }
}
