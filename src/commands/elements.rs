//! The elements that a write adds to a collection, or removes from it: argument 2 and all behind.
//!
//! A large argument 2 is received into an allocation of its own and kept by the transaction, so
//! that SET can store it as it lies; a collection copies it out of there.

use crate::engine::Txn;
use crate::resp::Args;
use crate::store::Value;

/// The arguments of a request from the second on. There is at least one: arity is checked first.
pub(super) struct Elements<'a> {
    first: Value<'a>,
    args: Args<'a>,
}

impl<'a> Elements<'a> {
    /// The elements of the request `args` that `txn` executes.
    pub fn take(txn: &mut Txn<'_, '_>, args: Args<'a>) -> Elements<'a> {
        Elements { first: txn.take_value(args, 2), args }
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let first = match &self.first {
            Value::Str(bytes) => bytes,
            Value::Bulk(bulk) => bulk.filled(),
            _ => &[], // an argument is never one of the others
        };
        std::iter::once(first).chain(self.args.iter_from(3))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.args.len() - 2
    }
}
