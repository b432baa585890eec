//! The meta group's replica here: its state is the table, applied in place.

use super::super::entry;
use super::super::group::{Committed, Cut, Input, Output};
use super::super::message::META;
use super::super::table::{Command, Table};
use super::{Node, NodeOutput};
use crate::limits::META_SNAPSHOT_ENTRIES;
use raft::eraftpb::Snapshot;
use std::collections::VecDeque;

/// The state of the meta group, as far as it is applied.
pub(super) struct Meta {
    /// `None` in an empty replica, until it gets a snapshot.
    table: Option<Table>,
    index: u64,
    time_us: u64,
    /// Index of the last snapshot.
    cut: u64,
}

impl Meta {
    /// The state in a snapshot; `None` if it cannot be read.
    pub(super) fn of(snapshot: &Snapshot) -> Option<Meta> {
        let index = snapshot.get_metadata().index;
        if index == 0 {
            return Some(Meta { table: None, index, time_us: 0, cut: 0 });
        }
        let (time_us, bytes) = entry::split_time(&snapshot.data)?;
        Some(Meta { table: Some(Table::decode(bytes)?), index, time_us, cut: index })
    }

    fn apply(&mut self, entries: &[Committed]) {
        for committed in entries {
            self.index = committed.index;
            let Some(batch) = entry::decode(&committed.data) else { continue };
            self.time_us = batch.time_us;
            for command in batch.requests.into_iter().filter_map(Command::decode) {
                self.table.iter_mut().for_each(|table| {
                    table.apply(&command);
                });
            }
        }
    }

    fn cut(&mut self) -> Option<Cut> {
        let data = self.table.as_ref()?.encode();
        self.cut = self.index;
        let keep_from = self.index.saturating_sub(META_SNAPSHOT_ENTRIES / 4).max(1);
        Some(Cut { index: self.index, time_us: self.time_us, data, keep_from })
    }
}

impl Node {
    /// Obeys an output of the meta group, and adds what that is to be told.
    pub(super) fn obey_meta(
        &mut self,
        now_us: u64,
        output: Output,
        inputs: &mut VecDeque<Input>,
        out: &mut Vec<NodeOutput>,
    ) {
        match output {
            Output::Apply(entries) => {
                let Some(meta) = &mut self.meta else { return };
                meta.apply(&entries);
                inputs.push_back(Input::Applied(meta.index));
                if meta.index >= meta.cut + META_SNAPSHOT_ENTRIES {
                    inputs.extend(meta.cut().map(Input::Cut));
                }
                self.learn_from_meta(now_us, out);
            }
            Output::Restore(snapshot) => {
                inputs.push_back(Input::Applied(snapshot.get_metadata().index));
                // It was looked at before it was taken in.
                self.meta = Meta::of(&snapshot).or_else(|| self.meta.take());
                self.learn_from_meta(now_us, out);
            }
            Output::WantSnapshot => inputs.extend(self.cut_meta()),
            // Commands are sent again until the table shows them.
            Output::Answer(_) | Output::Fate(..) => {}
            output => self.obey(META, output, out),
        }
    }

    /// Whether a table that comes as a snapshot can be one of this cluster. A node that took in
    /// what it cannot read could not start again.
    pub(super) fn fits(&self, snapshot: &Snapshot) -> bool {
        let table = Meta::of(snapshot).and_then(|meta| meta.table);
        table.zip(self.table.as_ref()).is_some_and(|(table, known)| {
            table.follows(&Table { version: 0, next_replica: 0, ..(**known).clone() })
        })
    }

    /// A snapshot of the meta group, if it has applied something since the last one.
    pub(super) fn cut_meta(&mut self) -> Option<Input> {
        let meta = self.meta.as_mut().filter(|meta| meta.index > meta.cut)?;
        meta.cut().map(Input::Cut)
    }

    fn learn_from_meta(&mut self, now_us: u64, out: &mut Vec<NodeOutput>) {
        let table = self.meta.as_ref().and_then(|meta| meta.table.clone());
        table.into_iter().for_each(|table| self.learn(now_us, table, out));
    }
}
