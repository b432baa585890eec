//! Publish and subscribe.

use super::node::NodeHub;
use super::table::Command;
use crate::net::ConnId;

/// The rows of this family.
pub const ROWS: &[Command] = &[];

/// Who listens to what.
#[derive(Default)]
pub struct Registry {}

impl Registry {
    /// Sends `message` to all who listen to `channel`; how many there were. `publisher`, if it
    /// listens itself, is served like the others.
    pub fn publish(&self, _hub: &NodeHub, _channel: &[u8], _message: &[u8]) -> usize {
        0
    }

    /// Forgets a connection that is gone.
    pub fn forget(&self, _id: ConnId, _subscriptions: &super::session::Subscriptions) {}
}
