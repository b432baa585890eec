//! The HELP sub-commands.

use crate::resp::Reply;

/// Lines of help, each a simple string.
pub fn reply(reply: &mut Reply<'_>, lines: &[&str]) {
    reply.array(lines.len());
    for line in lines {
        reply.simple(line);
    }
}
