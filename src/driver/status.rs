//! What the driver tells workers of itself, for CLUSTER and INFO: how the cluster looks, how far
//! groups are here and elsewhere, how long the log is.
//!
//! Deliberately absent: any decision. What is told may be a tick old.

use super::Driver;
use crate::cluster::core::Group;
use crate::cluster::core::message::{GroupId, NodeId};
use crate::cluster::core::node::NodeInput;
use crate::cluster::core::touched::GroupSet;
use crate::commands::cluster::{Follower, NodeView, Progress, Status, View};
use crate::limits::{CLUSTER_GROUPS, CLUSTER_STATUS_US};
use std::collections::BTreeMap;

impl Driver<'_> {
    /// Looks at the groups to which something happened: how far they are, whether log time is to be
    /// told, whether they were read.
    pub(super) fn look_at_groups(&mut self, now_us: u64) {
        self.show_progress();
        for group in self.states.timed() {
            let wants_clock = self.states.wants_clock(group, now_us);
            if wants_clock && self.core.group(group).is_some_and(Group::leads) {
                self.step(now_us, NodeInput::Clock(group));
            }
        }
        for group in GroupSet::of_bits(self.gateway.take_read()) {
            self.step(now_us, NodeInput::Reading(group));
        }
    }

    fn show_progress(&mut self) {
        let moved = std::mem::take(&mut self.moved);
        if moved == GroupSet::default() {
            return;
        }
        let progress_of = |group| match self.core.group(group) {
            None => Progress::default(),
            Some(core) => Progress {
                is_here: true,
                term: core.role().term,
                commit: core.committed(),
                applied: self.states.applied(group),
            },
        };
        self.gateway.set_progress(moved.map(|group| (group, progress_of(group))));
    }

    /// Looks now and then at how far others are, and this node with being filled again.
    pub(super) fn look_around(&mut self, now_us: u64) {
        if now_us < self.next_status_us {
            return;
        }
        self.next_status_us = now_us + CLUSTER_STATUS_US;
        // How long the log may become can be changed at any time.
        self.shortening.look_again();
        let status = Status {
            followers: self.followers(),
            refilling: self.refill.look(now_us, &self.core),
            log_bytes: self.log.bytes(),
            log_bytes_most: self.log_bytes_most(),
            log_pinned_by: self.core.needed_from().1,
            log_shortened: self.shortening.count(),
        };
        self.gateway.set_status(status);
    }

    fn followers(&self) -> Vec<Follower> {
        let mut followers: BTreeMap<NodeId, Follower> = BTreeMap::new();
        let lags = self.core.groups().flat_map(|(_, group)| group.followers());
        for (replica, entries, is_snapshot) in lags {
            let Some(node) = self.core.home_of(replica) else { continue };
            let of = followers.entry(node).or_insert(Follower { node, ..Follower::default() });
            of.groups += 1;
            of.behind += u64::from(entries > 0);
            of.entries = of.entries.saturating_add(entries);
            of.snapshots += u64::from(is_snapshot);
        }
        followers.into_values().collect()
    }

    /// Tells workers how the cluster looks.
    pub(super) fn show(&self) {
        let Some(table) = &self.table else { return };
        let me = self.core.id();
        let mut nodes: Vec<NodeView> = table
            .nodes
            .iter()
            .map(|(&id, member)| NodeView {
                id,
                name: member.name.clone(),
                host: member.addresses.host.clone(),
                port: member.addresses.port,
                redirect_port: member.addresses.redirect_port,
                peer_port: member.addresses.peer_port,
                is_linked: id == me || self.links.is_up(id),
            })
            .collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let replicas = (0..CLUSTER_GROUPS as GroupId).map(|group| {
            let placed = table.groups.get(&group);
            placed.iter().flat_map(|placed| &placed.replicas).map(|home| home.node).collect()
        });
        self.gateway.set_view(View {
            cluster: table.cluster,
            version: table.version,
            nodes,
            replicas: replicas.collect(),
        });
    }
}
