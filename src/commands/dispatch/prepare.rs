//! The first two passes over a batch: whose turn it is, and where its keys are.

use crate::commands::command_stats::Place;
use crate::commands::node::Node;
use crate::commands::table::{Command, LOOKUP, TABLE};
use crate::net::Batch;
use crate::store::{Hint, Pin};
use crate::util::bytes::equal;

/// What the first pass found out about a request.
#[derive(Clone, Copy, Default)]
pub(in crate::commands) struct Prepared<'p> {
    /// None: unknown.
    pub(in crate::commands) known: Option<Known>,
    /// The first key was hashed.
    pub(in crate::commands) hashed: bool,
    /// Its hashes, and where it was found to belong.
    pub(in crate::commands) hint: Hint<'p>,
}

/// The command that a name stands for.
#[derive(Clone, Copy)]
pub(in crate::commands) struct Known {
    pub(in crate::commands) row: u16,
    pub(in crate::commands) command: &'static Command,
    /// Of the command, not of a sub-command.
    pub(in crate::commands) place: Place,
}

impl Known {
    fn find(name: &[u8]) -> Option<Known> {
        let row = LOOKUP.find(name)?;
        Some(Known { row: row as u16, command: &TABLE[row], place: Place::new(row, None) })
    }
}

impl Prepared<'_> {
    /// The index of the command in the table, if there is such a command.
    #[inline]
    pub(in crate::commands) fn row(&self) -> Option<usize> {
        self.known.map(|known| usize::from(known.row))
    }
}

impl Node {
    /// First and second pass.
    pub(in crate::commands) fn prepare<'p>(
        &self,
        pin: &'p Pin,
        db: u8,
        batch: &Batch<'_>,
        prepared: &mut [Prepared<'p>],
    ) {
        let store = &self.engine.store;
        // Requests of a pipeline are often alike.
        let (mut last_name, mut last) = (&[][..], None);
        for (at, place) in prepared.iter_mut().enumerate().take(batch.len()) {
            let args = batch.args(at);
            let name = args.get(0);
            if !equal(name, last_name) {
                (last_name, last) = (name, Known::find(name));
            }
            let Some(known) = last else { continue };
            place.known = last;
            let first = known.command.keys.first;
            if first > 0 && (first as usize) < args.len() {
                let key = store.key(args.get(first as usize));
                place.hashed = true;
                place.hint = store.locate(pin, db, &key);
            }
        }
        if batch.len() < 2 {
            return; // The bucket would not have arrived yet.
        }
        for place in prepared.iter_mut().take(batch.len()) {
            place.hint.approach();
        }
    }
}
