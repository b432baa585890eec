//! TLS: accepted so that files of Redis load; anything that would turn it on is refused, since a
//! server that quietly spoke plain text instead would be worse.

use super::super::directive::{Directive, Flags, row};
use super::super::value::Kind;
use super::{INT_MAX, PORT_MAX};

/// The rows of the group.
pub(super) const ROWS: &[Directive] = &[
    row("tls-port", Kind::int(0, PORT_MAX), "0", "Port for TLS; only 0 is accepted.")
        .with(Flags::DEFAULT_ONLY)
        .accepted(),
    row("tls-replication", Kind::Bool, "no", "Encrypt replication; only no is accepted.")
        .with(Flags::DEFAULT_ONLY)
        .accepted(),
    row("tls-cluster", Kind::Bool, "no", "Encrypt the cluster's links; only no is accepted.")
        .with(Flags::DEFAULT_ONLY)
        .accepted(),
    row(
        "tls-auth-clients",
        Kind::Choice(&["no", "yes", "optional"]),
        "yes",
        "Whether clients need a certificate.",
    )
    .accepted(),
    row("tls-cert-file", Kind::Text, "", "Certificate of the server.").accepted(),
    row("tls-key-file", Kind::Text, "", "Private key of the server.").accepted(),
    row("tls-key-file-pass", Kind::Text, "", "Password of the private key.")
        .with(Flags::SENSITIVE)
        .accepted(),
    row("tls-client-cert-file", Kind::Text, "", "Certificate for outgoing links.").accepted(),
    row("tls-client-key-file", Kind::Text, "", "Private key for outgoing links.").accepted(),
    row("tls-client-key-file-pass", Kind::Text, "", "Password of that private key.")
        .with(Flags::SENSITIVE)
        .accepted(),
    row("tls-dh-params-file", Kind::Text, "", "Diffie-Hellman parameters.").accepted(),
    row("tls-ca-cert-file", Kind::Text, "", "Certificates of trusted authorities.").accepted(),
    row("tls-ca-cert-dir", Kind::Text, "", "Directory of trusted authorities.").accepted(),
    row("tls-protocols", Kind::Text, "", "Versions of TLS.").accepted(),
    row("tls-ciphers", Kind::Text, "", "Ciphers up to TLS 1.2.").accepted(),
    row("tls-ciphersuites", Kind::Text, "", "Ciphers of TLS 1.3.").accepted(),
    row("tls-prefer-server-ciphers", Kind::Bool, "no", "Follow the server's order of ciphers.")
        .accepted(),
    row("tls-session-caching", Kind::Bool, "yes", "Let sessions be resumed.").accepted(),
    row("tls-session-cache-size", Kind::int(0, INT_MAX), "20480", "Sessions kept for resumption.")
        .accepted(),
    row(
        "tls-session-cache-timeout",
        Kind::int(0, INT_MAX),
        "300",
        "Seconds that a session is kept.",
    )
    .accepted(),
];
