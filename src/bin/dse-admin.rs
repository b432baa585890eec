//! The program that looks at data directories.

#[cfg(not(loom))]
fn main() -> std::process::ExitCode {
    dse::server::admin::program()
}

/// A build for model checking has only the room `sync`, and nothing to look with.
#[cfg(loom)]
fn main() {}
