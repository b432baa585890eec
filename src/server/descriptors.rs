//! Descriptors for all clients: what `maxclients` asks of the limit of open files.
//!
//! At start a limit that cannot be raised means fewer clients, with a warning in the banner; the
//! directive keeps its value, so that CONFIG REWRITE does not write a shortage down for ever. A
//! CONFIG SET that asks for too much is refused with the number that is possible.

use crate::config::{ApplyError, Config};
use crate::sys::process;

/// Descriptors that are needed beside those of clients: epoll sets, bells, listeners, files.
const RESERVED: u64 = 64;

/// Raises the limit of open files for `maxclients`, now and whenever it changes. Returns how many
/// clients are possible, at most as many as are wanted.
pub fn make_room(config: &Config) -> u64 {
    let possible = possible_clients(config.hot.maxclients_wanted());
    config.hot.limit_clients(possible);
    config.on_change(&["maxclients"], |config| {
        let wanted = config.hot.maxclients_wanted();
        let possible = possible_clients(wanted);
        if possible < wanted {
            return Err(ApplyError::Clients { possible });
        }
        config.hot.limit_clients(possible);
        Ok(())
    });
    possible
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
    use crate::config::Caller;

    #[test]
    fn as_many_clients_as_descriptors_allow() {
        let config = Config::new();
        let possible = make_room(&config);
        assert!((1..=10_000).contains(&possible));
        assert_eq!(config.hot.maxclients(), possible);
        let pairs: [(&[u8], &[u8]); 1] = [(b"maxclients", b"16")];
        assert_eq!(config.set_many(Caller::Remote, &pairs).unwrap().len(), 1);
        assert_eq!(config.hot.maxclients(), 16);
    }
}
