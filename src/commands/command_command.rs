//! COMMAND: the table, told to clients.

use super::command_keys::{self, KeyUse};
use super::server::no_such_sub;
use super::session::Cx;
use super::syntax;
use super::table::{Command, Keys, LOOKUP, Outcome, Run, TABLE, acl, flags, flags::*, row};
use crate::engine::CmdError;
use crate::resp::{Args, OwnedArgs, Reply};
use crate::util::glob;

/// The row of COMMAND.
pub const ROW: Command = row("command", -1, Keys::NONE, SUB, acl::CONNECTION, Run::Session(all))
    .subs(&[
        row("count", 2, Keys::NONE, SUB, acl::CONNECTION, Run::Session(count))
            .doc("2.8.13", "Returns the number of commands."),
        row("docs", -2, Keys::NONE, SUB, acl::CONNECTION, Run::Session(docs))
            .doc("7.0.0", "Returns the documentation of commands."),
        row("getkeys", -4, Keys::NONE, SUB, acl::CONNECTION, Run::Session(getkeys))
            .doc("2.8.13", "Returns the keys of a command."),
        row("getkeysandflags", -4, Keys::NONE, SUB, acl::CONNECTION, Run::Session(getkeysandflags))
            .doc("7.0.0", "Returns the keys of a command with what becomes of them."),
        row("help", 2, Keys::NONE, SUB, acl::CONNECTION, Run::Session(help))
            .doc("5.0.0", "Returns helpful text about the sub-commands."),
        row("info", -2, Keys::NONE, SUB, acl::CONNECTION, Run::Session(info))
            .doc("2.8.13", "Returns what is known of commands."),
        row("list", -2, Keys::NONE, SUB, acl::CONNECTION, Run::Session(list))
            .doc("7.0.0", "Returns the names of commands."),
    ])
    .doc("2.8.13", "Returns what is known of all commands.");

const SUB: u32 = LOADING | STALE;

const FLAG_NAMES: &[(u32, &str)] = &[
    (WRITE, "write"),
    (READONLY, "readonly"),
    (DENYOOM, "denyoom"),
    (ADMIN, "admin"),
    (PUBSUB, "pubsub"),
    (NOSCRIPT, "noscript"),
    (BLOCKING, "blocking"),
    (LOADING, "loading"),
    (STALE, "stale"),
    (SKIP_MONITOR, "skip_monitor"),
    (SKIP_SLOWLOG, "skip_slowlog"),
    (FAST, "fast"),
    (NO_AUTH, "no_auth"),
    (MAY_REPLICATE, "may_replicate"),
    (NO_MULTI, "no_multi"),
    (MOVABLE_KEYS, "movablekeys"),
    (ALLOW_BUSY, "allow_busy"),
];

const CATEGORIES: &[(u32, &str)] = &[
    (acl::KEYSPACE, "keyspace"),
    (acl::READ, "read"),
    (acl::WRITE, "write"),
    (acl::SET, "set"),
    (acl::SORTEDSET, "sortedset"),
    (acl::LIST, "list"),
    (acl::HASH, "hash"),
    (acl::STRING, "string"),
    (acl::BITMAP, "bitmap"),
    (acl::PUBSUB, "pubsub"),
    (acl::ADMIN, "admin"),
    (acl::FAST, "fast"),
    (acl::SLOW, "slow"),
    (acl::DANGEROUS, "dangerous"),
    (acl::CONNECTION, "connection"),
    (acl::TRANSACTION, "transaction"),
    (acl::SCRIPTING, "scripting"),
];

/// The commands that clients are told about, which are all but the guards against HTTP.
fn listed() -> impl Iterator<Item = &'static Command> {
    TABLE.iter().filter(|command| is_listed(command))
}

fn is_listed(command: &Command) -> bool {
    !matches!(command.name, "host:" | "post")
}

/// True of a command that does nothing without a sub-command.
fn is_container(command: &Command) -> bool {
    !command.subs.is_empty() && command.arity < -1
}

/// All categories of a command: those of its row, and those that follow from its flags. Access to
/// a container means nothing: it is given to its sub-commands.
fn categories(command: &Command) -> u32 {
    if is_container(command) {
        return acl::SLOW;
    }
    let mut bits = command.acl;
    let mut add = |on: bool, category: u32| {
        if on {
            bits |= category;
        }
    };
    add(command.is(flags::WRITE), acl::WRITE);
    add(command.is(flags::READONLY) && command.acl & acl::SCRIPTING == 0, acl::READ);
    add(command.is(flags::ADMIN), acl::ADMIN | acl::DANGEROUS);
    add(command.is(flags::PUBSUB), acl::PUBSUB);
    add(command.is(flags::FAST), acl::FAST);
    add(!command.is(flags::FAST), acl::SLOW);
    bits
}

/// COMMAND
fn all(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() > 1 {
        return no_such_sub(cx, args, reply);
    }
    reply.array(listed().count());
    for command in listed() {
        describe(command, None, reply);
    }
    Ok(())
}

/// COMMAND COUNT
fn count(_cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.int(listed().count() as i64);
    Ok(())
}

/// The command of this name; `container|sub` names a sub-command.
fn named(name: &[u8]) -> Option<(&'static Command, Option<&'static Command>)> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let command = &TABLE[LOOKUP.find(parts.next()?)?];
    if !is_listed(command) {
        return None;
    }
    match parts.next() {
        None => Some((command, None)),
        Some(sub) => {
            let is_it = |row: &&Command| row.name.as_bytes().eq_ignore_ascii_case(sub);
            Some((command, Some(command.subs.iter().find(is_it)?)))
        }
    }
}

/// COMMAND INFO [command ...]
fn info(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() == 2 {
        return all(cx, args.skip(1), reply);
    }
    reply.array(args.len() - 2);
    for name in args.iter_from(2) {
        match named(name) {
            Some((command, None)) => describe(command, None, reply),
            Some((command, Some(sub))) => describe(sub, Some(command), reply),
            None => reply.nil(),
        }
    }
    Ok(())
}

fn describe(command: &Command, parent: Option<&Command>, reply: &mut Reply<'_>) {
    reply.array(10);
    match parent {
        Some(parent) => reply.bulk(format!("{}|{}", parent.name, command.name).as_bytes()),
        None => reply.bulk(command.name.as_bytes()),
    }
    reply.int(command.arity as i64);
    names(FLAG_NAMES, command.flags, "", reply);
    let keys = if is_container(command) { Keys::NONE } else { command.keys };
    reply.int(keys.first as i64);
    reply.int(keys.last as i64);
    reply.int(keys.step as i64);
    names(CATEGORIES, categories(command), "@", reply);
    reply.set(0);
    describe_keys(command, reply);
    reply.set(command.subs.len());
    for sub in command.subs {
        describe(sub, Some(command), reply);
    }
}

fn names(known: &[(u32, &str)], bits: u32, prefix: &str, reply: &mut Reply<'_>) {
    let set: Vec<&str> =
        known.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    reply.set(set.len());
    for name in set {
        reply.simple(&format!("{prefix}{name}"));
    }
}

/// The key specifications: where each search begins, and how far it goes.
fn describe_keys(command: &Command, reply: &mut Reply<'_>) {
    let uses = command_keys::uses(command);
    reply.set(uses.len());
    for KeyUse { keys, flags } in uses {
        reply.map(3);
        reply.bulk(b"flags");
        answer_flags(flags, reply);
        reply.bulk(b"begin_search");
        reply.map(2);
        reply.bulk(b"type");
        reply.bulk(b"index");
        reply.bulk(b"spec");
        reply.map(1);
        reply.bulk(b"index");
        reply.int(keys.first as i64);
        reply.bulk(b"find_keys");
        reply.map(2);
        reply.bulk(b"type");
        reply.bulk(b"range");
        reply.bulk(b"spec");
        reply.map(3);
        reply.bulk(b"lastkey");
        // Relative to the first key, unless it counts from the end.
        reply.int(if keys.last < 0 { keys.last } else { keys.last - keys.first } as i64);
        reply.bulk(b"keystep");
        reply.int(keys.step as i64);
        reply.bulk(b"limit");
        reply.int(0);
    }
}

fn answer_flags(flags: &[&str], reply: &mut Reply<'_>) {
    reply.set(flags.len());
    for flag in flags {
        reply.simple(flag);
    }
}

/// COMMAND DOCS [command ...]
fn docs(_cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let found: Vec<(&Command, Option<&Command>)> = match args.len() {
        2 => listed().map(|command| (command, None)).collect(),
        _ => args.iter_from(2).filter_map(named).collect(),
    };
    reply.map(found.len());
    for (command, sub) in found {
        match sub {
            Some(sub) => document(sub, Some(command), reply),
            None => document(command, None, reply),
        }
    }
    Ok(())
}

fn document(command: &Command, parent: Option<&Command>, reply: &mut Reply<'_>) {
    let name = match parent {
        Some(parent) => format!("{}|{}", parent.name, command.name),
        None => command.name.to_owned(),
    };
    let arguments = syntax::arguments(&name);
    reply.bulk(name.as_bytes());
    reply.map(3 + !arguments.is_empty() as usize + !command.subs.is_empty() as usize);
    let fields = [
        ("summary", command.summary),
        ("since", command.since),
        ("group", group(parent.unwrap_or(command))),
    ];
    for (name, value) in fields {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    if !arguments.is_empty() {
        reply.bulk(b"arguments");
        syntax::answer(&arguments, reply);
    }
    if !command.subs.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(command.subs.len());
        for sub in command.subs {
            document(sub, Some(command), reply);
        }
    }
}

fn group(command: &Command) -> &'static str {
    let groups = [
        (acl::BITMAP, "bitmap"),
        (acl::STRING, "string"),
        (acl::LIST, "list"),
        (acl::SET, "set"),
        (acl::HASH, "hash"),
        (acl::SORTEDSET, "sorted-set"),
        (acl::PUBSUB, "pubsub"),
        (acl::TRANSACTION, "transactions"),
        (acl::CONNECTION, "connection"),
        (acl::SCRIPTING, "scripting"),
        (acl::KEYSPACE, "generic"),
    ];
    let found = groups.iter().find(|(category, _)| command.acl & category != 0);
    found.map_or("server", |(_, name)| name)
}

/// Whether a command, under its full name, is listed.
type Filter = Box<dyn Fn(&Command, &str) -> bool>;

/// COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]
fn list(_cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let fits: Filter = match args.len() {
        2 => Box::new(|_, _| true),
        5 if args.get(2).eq_ignore_ascii_case(b"filterby") => {
            let value = args.get(4).to_vec();
            match args.get(3).to_ascii_lowercase().as_slice() {
                b"module" => Box::new(|_, _| false),
                b"aclcat" => {
                    let is_it =
                        |(_, name): &&(u32, &str)| name.as_bytes().eq_ignore_ascii_case(&value);
                    let bit = CATEGORIES.iter().find(is_it).map_or(0, |(bit, _)| *bit);
                    Box::new(move |command, _| categories(command) & bit != 0)
                }
                b"pattern" => Box::new(move |_, name| glob::matches(&value, name.as_bytes(), true)),
                _ => return Err(CmdError::Syntax),
            }
        }
        _ => return Err(CmdError::Syntax),
    };
    let mut found = Vec::new();
    for command in listed() {
        let subs = command.subs.iter().map(|sub| (sub, format!("{}|{}", command.name, sub.name)));
        let all = std::iter::once((command, command.name.to_string())).chain(subs);
        found.extend(all.filter(|(command, name)| fits(command, name)).map(|(_, name)| name));
    }
    reply.array(found.len());
    for name in found {
        reply.bulk(name.as_bytes());
    }
    Ok(())
}

/// COMMAND GETKEYS command [argument ...]
fn getkeys(_cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (_, positions) = keys_of(args)?;
    reply.array(positions.len());
    for at in positions {
        reply.bulk(args.get(at + 2));
    }
    Ok(())
}

/// COMMAND GETKEYSANDFLAGS command [argument ...]
fn getkeysandflags(_cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (command, positions) = keys_of(args)?;
    let argc = args.len() - 2;
    reply.array(positions.len());
    for KeyUse { keys, flags } in command_keys::uses(command) {
        for at in keys.positions(argc) {
            reply.array(2);
            reply.bulk(args.get(at + 2));
            answer_flags(command_keys::flags_of_request(command, argc, flags), reply);
        }
    }
    Ok(())
}

/// The row and the key positions of the request that follows the sub-command's name.
fn keys_of(args: Args<'_>) -> Result<(&'static Command, Vec<usize>), CmdError> {
    let request: OwnedArgs = args.iter_from(2).collect();
    let request = request.as_args();
    let row = LOOKUP.find(request.get(0)).ok_or(CmdError::text("ERR Invalid command specified"))?;
    let (command, _) = TABLE[row].resolve(request);
    if command.keys.first == 0 {
        return Err(CmdError::text("ERR The command has no key arguments"));
    }
    if !command.arity_fits(request.len()) {
        return Err(CmdError::text("ERR Invalid number of arguments specified for command"));
    }
    Ok((command, command.keys.positions(request.len()).collect()))
}

/// COMMAND HELP
fn help(_cx: &mut Cx<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    super::help::reply(
        reply,
        &[
            "COMMAND [<subcommand> [argument ...]], where the subcommand is one of:",
            "(none) | INFO [command ...]",
            "    Arity, flags, keys and categories of commands.",
            "COUNT",
            "    How many commands there are.",
            "DOCS [command ...]",
            "    What commands do.",
            "GETKEYS command [argument ...] | GETKEYSANDFLAGS command [argument ...]",
            "    The keys of a request.",
            "LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]",
            "    Names of commands.",
            "HELP",
            "    These lines.",
        ],
    );
    Ok(())
}
