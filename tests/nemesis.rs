//! Clusters of real processes, each node in a network of its own with a disk of its own, while
//! processes are killed and stopped, networks cut, disks filled, frozen, cut off and wiped, and
//! clocks set; what clients were told is judged for linearizability.
//!
//! ```text
//!   scripts/nemesis                  every fault, in turn, until a million requests were judged
//!   scripts/nemesis --lie            falsifies one answer a round, which must be found
//! ```
//!
//! Everything happens in namespaces (network, mounts, processes) that end with the process that
//! was started first, however it ends: no process, address, mount or loop device is left.
//! `world` has nodes, networks and disks, `faults` breaks them, `clients` ask, `judge` judges, and
//! `campaign` puts them together. Needs root and `unshare`, `nsenter`, `ip`, `mount`, `mkfs.ext4`,
//! `fsfreeze` and `python3`; what needs them is skipped loudly where they are missing.

#[path = "nemesis/campaign.rs"]
mod campaign;
#[path = "nemesis/clients.rs"]
mod clients;
mod common;
#[path = "nemesis/faults.rs"]
mod faults;
#[path = "nemesis/judge.rs"]
mod judge;
#[path = "nemesis/world.rs"]
mod world;
