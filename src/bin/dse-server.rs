//! The server program.

#[cfg(not(loom))]
fn main() -> std::process::ExitCode {
    dse::server::program()
}

/// A build for model checking has only the room `sync`, and nothing to serve with.
#[cfg(loom)]
fn main() {}
