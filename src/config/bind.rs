//! Addresses: what `bind` and `peers` name.
//!
//! Names are resolved here and nowhere else, so that start-up checks exactly what the listener
//! will use.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// An address of `bind` that could not be resolved.
#[derive(Debug)]
pub struct BindError {
    /// The word as it was written.
    pub word: String,
    /// What the resolver said.
    pub source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot resolve '{}': {}", self.word, self.source)
    }
}

impl std::error::Error for BindError {}

/// One place to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where.
    pub address: SocketAddr,
    /// When true, an address that the machine does not have is no error.
    pub optional: bool,
}

/// The sockets to listen on for the words of `bind`: numeric addresses, `*` and `::*` for all,
/// host names, each with `-` in front when it may be missing. An optional word that does not
/// resolve is left out.
pub fn resolve(words: &[String], port: u16) -> Result<Vec<Listen>, BindError> {
    let mut sockets: Vec<Listen> = Vec::new();
    for word in words {
        let (name, optional) = match word.strip_prefix('-') {
            Some(name) => (name, true),
            None => (word.as_str(), false),
        };
        match resolve_one(name, port) {
            Ok(addresses) => {
                for address in addresses {
                    if !sockets.iter().any(|listen| listen.address == address) {
                        sockets.push(Listen { address, optional });
                    }
                }
            }
            Err(_) if optional => {}
            Err(source) => return Err(BindError { word: word.clone(), source }),
        }
    }
    Ok(sockets)
}

fn resolve_one(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let any = match name {
        "*" => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        "::*" => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        _ => name.trim_matches(['[', ']']).parse().ok(),
    };
    match any {
        Some(address) => Ok(vec![SocketAddr::new(address, port)]),
        None => Ok((name, port).to_socket_addrs()?.collect()),
    }
}

/// Another node, as `peers` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its `node` name.
    pub id: String,
    /// Host name or address, without brackets.
    pub host: String,
    /// Its port for clients.
    pub port: u16,
    /// Its port for other nodes, if it is not where it is by default.
    pub peer_port: Option<u16>,
    /// Its port that answers where keys are, if it is not where it is by default.
    pub redirect_port: Option<u16>,
}

/// The peers of `id:host:port[@peer][/redirect],...`; `None` when the text is not of that form or
/// names an id twice. An IPv6 address stands in brackets.
pub fn parse_peers(text: &str) -> Option<Vec<Peer>> {
    let mut peers: Vec<Peer> = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (id, rest) = part.trim().split_once(':')?;
        let (host, port) = rest.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        let fresh = peers.iter().all(|peer| peer.id != id);
        if id.is_empty() || host.is_empty() || !fresh {
            return None;
        }
        peers.push(peer_at(id, host, port)?);
    }
    Some(peers)
}

/// A peer whose ports are written `port[@peer][/redirect]`.
fn peer_at(id: &str, host: &str, ports: &str) -> Option<Peer> {
    let number = |text: &str| text.parse().ok().filter(|port: &u16| *port > 0);
    let (ports, redirect_port) = match ports.split_once('/') {
        Some((ports, redirect)) => (ports, Some(number(redirect)?)),
        None => (ports, None),
    };
    let (port, peer_port) = match ports.split_once('@') {
        Some((port, peer)) => (port, Some(number(peer)?)),
        None => (ports, None),
    };
    let port = number(port)?;
    Some(Peer { id: id.into(), host: host.into(), port, peer_port, redirect_port })
}

/// True when `text` reads `id:host:port[@peer][/redirect],...`.
pub fn are_peers(text: &[u8]) -> bool {
    std::str::from_utf8(text).ok().and_then(parse_peers).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(String::from).collect()
    }

    #[test]
    fn numeric_addresses_and_stars_resolve_without_a_resolver() {
        let sockets = resolve(&words("127.0.0.1 -::1 * ::* [::1]"), 6379).unwrap();
        let texts: Vec<_> = sockets.iter().map(|listen| listen.address.to_string()).collect();
        assert_eq!(texts, ["127.0.0.1:6379", "[::1]:6379", "0.0.0.0:6379", "[::]:6379"]);
        assert_eq!(sockets.iter().filter(|listen| listen.optional).count(), 1);
    }

    #[test]
    fn localhost_resolves_to_a_loopback_address() {
        let sockets = resolve(&words("localhost"), 1).unwrap();
        assert!(!sockets.is_empty());
        assert!(sockets.iter().all(|listen| listen.address.ip().is_loopback()));
    }

    #[test]
    fn a_name_that_does_not_resolve_is_an_error_unless_optional() {
        let error = resolve(&words("no-such-host.invalid"), 1).unwrap_err();
        assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
        assert_eq!(resolve(&words("-no-such-host.invalid"), 1).unwrap(), []);
    }

    #[test]
    fn peers_have_an_id_a_host_and_a_port() {
        let peers = parse_peers("node-2:127.0.0.1:6380,node-3:[::1]:6381").unwrap();
        let second = Peer {
            id: "node-2".into(),
            host: "127.0.0.1".into(),
            port: 6380,
            peer_port: None,
            redirect_port: None,
        };
        assert_eq!(peers[0], second);
        assert_eq!(peers[1].host, "::1");
        assert_eq!(parse_peers(""), Some(vec![]));
        for bad in ["a", "a:b", "a:b:0", "a:b:70000", ":h:1", "a::1", "a:h:1,", "a:h:1,a:g:2"] {
            assert_eq!(parse_peers(bad), None, "{bad}");
        }
        assert_eq!(parse_peers("a:::1:6379"), None);
        let ports = |text: &str| {
            let peers = parse_peers(text)?;
            Some((peers[0].port, peers[0].peer_port, peers[0].redirect_port))
        };
        assert_eq!(ports("a:h:1@2/3,b:[::1]:1"), Some((1, Some(2), Some(3))));
        assert_eq!(ports("a:h:1@2"), Some((1, Some(2), None)));
        assert_eq!(ports("a:h:1/3"), Some((1, None, Some(3))));
        for bad in ["1@", "1/", "@2", "1@0", "1/0", "1/3@2", "1@2@3", "1@x", "1@2/70000"] {
            let text = format!("a:h:{bad}");
            assert_eq!(ports(&text), None, "{text}");
        }
    }
}
