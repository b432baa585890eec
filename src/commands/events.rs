//! Keyspace notifications: what changed is published on channels of its own.

use super::node::{Node, NodeHub};
use crate::config::notify;
use crate::engine::Event;

/// The classes of events that anyone could listen to now.
pub fn classes(node: &Node) -> u32 {
    let configured = node.config.hot.notify_flags();
    if configured & (notify::KEYSPACE | notify::KEYEVENT) == 0 { 0 } else { configured }
}

/// Publishes `events` in order; they reach their listeners once `after` is released.
#[cold]
pub fn publish(node: &Node, hub: &NodeHub, events: Vec<Event>, after: u64) {
    let configured = node.config.hot.notify_flags();
    for event in events {
        if configured & notify::KEYSPACE != 0 {
            let channel = [format!("__keyspace@{}__:", event.db).as_bytes(), &event.key].concat();
            node.pubsub.publish(hub, &channel, event.name.as_bytes(), after);
        }
        if configured & notify::KEYEVENT != 0 {
            let channel = format!("__keyevent@{}__:{}", event.db, event.name);
            node.pubsub.publish(hub, channel.as_bytes(), &event.key, after);
        }
    }
}
