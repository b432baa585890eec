#![allow(unsafe_code)]
//! The operating system: the only room that names libc and nix.

pub mod bulk;
