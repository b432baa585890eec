//! The program that measures servers.

#[cfg(not(loom))]
fn main() -> std::process::ExitCode {
    dse::bench::program()
}

/// A build for model checking has only the room `sync`, and nothing to measure.
#[cfg(loom)]
fn main() {}
