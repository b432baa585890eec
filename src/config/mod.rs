//! Configuration: one table of directives, and everything derived from it.
//!
//! ```text
//! flags, environment, file --> load --> Config --> get_matching, set_many, rewrite, reload
//!            (each row of the TABLE says how)  \--> Hot: plain atomics for the data path
//! ```
//!
//! Invariants: a value that a `Config` holds satisfies the kind of its row; a change of several
//! values is applied whole or not at all; `Hot` follows the values before a change returns.
//!
//! Deliberately absent: sockets, threads and logging. What a change means for them is told by
//! hooks that the server registers (`Config::on_change`).

pub mod bind;
pub mod directive;
pub mod directives;
pub mod docs;
pub mod file;
mod hot;
mod live;
pub mod load;
pub mod notify;
pub mod output_limit;
mod password;
pub mod reason;
pub mod rewrite;
mod setting;
pub mod sizes;
pub mod threads;
pub mod value;
mod values;

pub use directive::{Directive, Flags, Group};
pub use directives::TABLE;
pub use hot::{EvictionPolicy, Hot};
pub use live::{ApplyError, Caller, Change, Changed, Config, ConfigError, Reloaded};
pub use output_limit::{ClientClass, OutputLimit, OutputLimits};
pub use reason::Reason;
pub use setting::{BadSetting, Origin, Setting};
pub use value::{Kind, SaveRule, Value};
pub use values::Values;
