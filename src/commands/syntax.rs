//! How the arguments of commands are written, for COMMAND DOCS; redis-cli makes its hints of it.
//!
//! ```text
//!   name         an argument                     [x]       may be left out
//!   NAME         a word that is sent as it is    (x|y)     one of both; so is [x|y]
//!   NAME x y     x and y follow that word        x+ (x)+   once or more
//! ```
//!
//! Deliberately absent: checks of requests. The rows know how many arguments a command takes, and
//! its function what they may be.

use crate::resp::Reply;

/// Commands with arguments, sorted by their full name.
const SYNTAX: &[(&str, &str)] = &[
    ("append", "key value"),
    ("auth", "[username] password"),
    ("bgsave", "[SCHEDULE]"),
    ("bitcount", "key [start end [BYTE|BIT]]"),
    (
        "bitfield",
        "key [GET encoding offset|[OVERFLOW (WRAP|SAT|FAIL)] \
         (SET encoding offset value|INCRBY encoding offset increment)]+",
    ),
    ("bitfield_ro", "key [GET encoding offset]+"),
    ("bitop", "(AND|OR|XOR|NOT) destkey key+"),
    ("bitpos", "key bit [start [end [BYTE|BIT]]]"),
    ("client|caching", "(YES|NO)"),
    (
        "client|kill",
        "(ip:port|([ID client-id]|[TYPE (NORMAL|MASTER|REPLICA|PUBSUB)]|[USER username]\
         |[ADDR ip:port]|[LADDR ip:port]|[SKIPME yes/no])+)",
    ),
    ("client|list", "[TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID client-id+]"),
    ("client|no-evict", "(ON|OFF)"),
    ("client|no-touch", "(ON|OFF)"),
    ("client|pause", "timeout [WRITE|ALL]"),
    ("client|reply", "(ON|OFF|SKIP)"),
    ("client|setinfo", "(LIB-NAME libname|LIB-VER libver)"),
    ("client|setname", "connection-name"),
    (
        "client|tracking",
        "(ON|OFF) [REDIRECT client-id] [PREFIX prefix]+ [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
    ),
    ("client|unblock", "client-id [TIMEOUT|ERROR]"),
    (
        "cluster",
        "(INFO|NODES|SLOTS|SHARDS|LINKS|MYID|KEYSLOT|COUNTKEYSINSLOT|GETKEYSINSLOT|REPLICAS) \
         [arg]+",
    ),
    ("command|docs", "[command-name]+"),
    ("command|getkeys", "command [arg]+"),
    ("command|getkeysandflags", "command [arg]+"),
    ("command|info", "[command-name]+"),
    ("command|list", "[FILTERBY (MODULE module-name|ACLCAT category|PATTERN pattern)]"),
    ("config|get", "parameter+"),
    ("config|set", "(parameter value)+"),
    ("copy", "source destination [DB destination-db] [REPLACE]"),
    ("debug", "subcommand [arg]+"),
    ("decr", "key"),
    ("decrby", "key decrement"),
    ("del", "key+"),
    ("dump", "key"),
    ("echo", "message"),
    ("exists", "key+"),
    ("expire", "key seconds [NX|XX|GT|LT]"),
    ("expireat", "key unix-time-seconds [NX|XX|GT|LT]"),
    ("expiretime", "key"),
    ("flushall", "[ASYNC|SYNC]"),
    ("flushdb", "[ASYNC|SYNC]"),
    ("function|flush", "[ASYNC|SYNC]"),
    ("get", "key"),
    ("getbit", "key offset"),
    ("getdel", "key"),
    (
        "getex",
        "key [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds\
         |PERSIST]",
    ),
    ("getrange", "key start end"),
    ("getset", "key value"),
    ("hdel", "key field+"),
    ("hello", "[protover [AUTH username password] [SETNAME clientname]]"),
    ("hexists", "key field"),
    ("hget", "key field"),
    ("hgetall", "key"),
    ("hincrby", "key field increment"),
    ("hincrbyfloat", "key field increment"),
    ("hkeys", "key"),
    ("hlen", "key"),
    ("hmget", "key field+"),
    ("hmset", "key (field value)+"),
    ("hotkeys", "[COUNT count]"),
    ("hscan", "key cursor [MATCH pattern] [COUNT count]"),
    ("hset", "key (field value)+"),
    ("hsetnx", "key field value"),
    ("hstrlen", "key field"),
    ("hvals", "key"),
    ("incr", "key"),
    ("incrby", "key increment"),
    ("incrbyfloat", "key increment"),
    ("info", "[section]+"),
    ("keys", "pattern"),
    ("latency|histogram", "[command]+"),
    ("latency|history", "event"),
    ("latency|reset", "[event]+"),
    ("lcs", "key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]"),
    ("lindex", "key index"),
    ("linsert", "key (BEFORE|AFTER) pivot element"),
    ("llen", "key"),
    ("lolwut", "[VERSION version]"),
    ("lpop", "key [count]"),
    ("lpush", "key element+"),
    ("lpushx", "key element+"),
    ("lrange", "key start stop"),
    ("lrem", "key count element"),
    ("lset", "key index element"),
    ("ltrim", "key start stop"),
    ("memory|usage", "key [SAMPLES count]"),
    ("mget", "key+"),
    ("move", "key db"),
    ("mset", "(key value)+"),
    ("msetnx", "(key value)+"),
    ("object|encoding", "key"),
    ("object|freq", "key"),
    ("object|idletime", "key"),
    ("object|refcount", "key"),
    ("persist", "key"),
    ("pexpire", "key milliseconds [NX|XX|GT|LT]"),
    ("pexpireat", "key unix-time-milliseconds [NX|XX|GT|LT]"),
    ("pexpiretime", "key"),
    ("ping", "[message]"),
    ("psetex", "key milliseconds value"),
    ("psubscribe", "pattern+"),
    ("psync", "replicationid offset"),
    ("pttl", "key"),
    ("publish", "channel message"),
    ("pubsub|channels", "[pattern]"),
    ("pubsub|numsub", "[channel]+"),
    ("pubsub|shardchannels", "[pattern]"),
    ("pubsub|shardnumsub", "[shardchannel]+"),
    ("punsubscribe", "[pattern]+"),
    ("rename", "key newkey"),
    ("renamenx", "key newkey"),
    ("replconf", "[option value]+"),
    ("restore", "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]"),
    ("rpop", "key [count]"),
    ("rpush", "key element+"),
    ("rpushx", "key element+"),
    ("sadd", "key member+"),
    ("scan", "cursor [MATCH pattern] [COUNT count] [TYPE type]"),
    ("scard", "key"),
    ("script|flush", "[ASYNC|SYNC]"),
    ("select", "index"),
    (
        "set",
        "key value [NX|XX] [GET] [EX seconds|PX milliseconds|EXAT unix-time-seconds\
         |PXAT unix-time-milliseconds|KEEPTTL]",
    ),
    ("setbit", "key offset value"),
    ("setex", "key seconds value"),
    ("setnx", "key value"),
    ("setrange", "key offset value"),
    ("shutdown", "[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]"),
    ("sismember", "key member"),
    ("slowlog|get", "[count]"),
    ("smembers", "key"),
    ("smismember", "key member+"),
    ("spop", "key [count]"),
    ("spublish", "shardchannel message"),
    ("srandmember", "key [count]"),
    ("srem", "key member+"),
    ("sscan", "key cursor [MATCH pattern] [COUNT count]"),
    ("ssubscribe", "shardchannel+"),
    ("strlen", "key"),
    ("subscribe", "channel+"),
    ("substr", "key start end"),
    ("sunsubscribe", "[shardchannel]+"),
    ("swapdb", "index1 index2"),
    ("touch", "key+"),
    ("ttl", "key"),
    ("type", "key"),
    ("unlink", "key+"),
    ("unsubscribe", "[channel]+"),
    ("watch", "key+"),
    ("zadd", "key [NX|XX] [GT|LT] [CH] [INCR] (score member)+"),
    ("zcard", "key"),
    ("zcount", "key min max"),
    ("zincrby", "key increment member"),
    ("zmscore", "key member+"),
    ("zpopmax", "key [count]"),
    ("zpopmin", "key [count]"),
    ("zrange", "key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]"),
    ("zrangebyscore", "key min max [WITHSCORES] [LIMIT offset count]"),
    ("zrank", "key member"),
    ("zrem", "key member+"),
    ("zrevrange", "key start stop [WITHSCORES]"),
    ("zrevrangebyscore", "key max min [WITHSCORES] [LIMIT offset count]"),
    ("zrevrank", "key member"),
    ("zscan", "key cursor [MATCH pattern] [COUNT count]"),
    ("zscore", "key member"),
];

/// An argument, or a group of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    name: String,
    shape: Shape,
    /// The word in front of it.
    token: Option<&'static str>,
    is_optional: bool,
    is_multiple: bool,
    /// Each time with its token.
    repeats_token: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    /// What the client puts in.
    Value,
    /// A word that is its own meaning.
    Word,
    /// One of these.
    Choice(Vec<Argument>),
    /// All of these.
    Block(Vec<Argument>),
}

/// The arguments of the command with this full name (`config|set`); empty if it takes none.
pub fn arguments(full_name: &str) -> Vec<Argument> {
    let found = SYNTAX.binary_search_by_key(&full_name, |(name, _)| name);
    found.map_or(Vec::new(), |at| Parser { rest: SYNTAX[at].1 }.sequence())
}

/// Writes arguments as COMMAND DOCS has them.
pub fn answer(arguments: &[Argument], reply: &mut Reply<'_>) {
    reply.array(arguments.len());
    for argument in arguments {
        argument.answer(reply);
    }
}

impl Argument {
    fn of(name: String, shape: Shape) -> Argument {
        Argument {
            name,
            shape,
            token: None,
            is_optional: false,
            is_multiple: false,
            repeats_token: false,
        }
    }

    /// One argument as it is, several as a block.
    fn joined(mut parts: Vec<Argument>) -> Argument {
        match parts.len() {
            1 => parts.remove(0),
            _ => Argument::of(names(&parts), Shape::Block(parts)),
        }
    }

    fn kind(&self) -> &'static str {
        match self.shape {
            Shape::Word => "pure-token",
            Shape::Choice(_) => "oneof",
            Shape::Block(_) => "block",
            Shape::Value => kind_of(&self.name),
        }
    }

    fn flags(&self) -> Vec<&'static str> {
        let flags = [
            (self.is_optional, "optional"),
            (self.is_multiple, "multiple"),
            (self.repeats_token, "multiple_token"),
        ];
        flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect()
    }

    fn answer(&self, reply: &mut Reply<'_>) {
        let flags = self.flags();
        let parts = match &self.shape {
            Shape::Choice(parts) | Shape::Block(parts) => parts.as_slice(),
            Shape::Value | Shape::Word => &[],
        };
        let optional = [self.token.is_some(), !flags.is_empty(), !parts.is_empty()];
        reply.map(2 + optional.into_iter().filter(|is_there| *is_there).count());
        for (field, value) in [("name", self.name.as_str()), ("type", self.kind())] {
            reply.bulk(field.as_bytes());
            reply.bulk(value.as_bytes());
        }
        if let Some(token) = self.token {
            reply.bulk(b"token");
            reply.bulk(token.as_bytes());
        }
        if !flags.is_empty() {
            reply.bulk(b"flags");
            reply.set(flags.len());
            flags.iter().for_each(|flag| reply.simple(flag));
        }
        if !parts.is_empty() {
            reply.bulk(b"arguments");
            answer(parts, reply);
        }
    }
}

/// The type of the value that an argument of this name is.
fn kind_of(name: &str) -> &'static str {
    match name {
        "key" | "key1" | "key2" | "newkey" | "source" | "destination" | "destkey" => "key",
        "pattern" => "pattern",
        "unix-time-seconds" | "unix-time-milliseconds" => "unix-time",
        "score" | "min" | "max" => "double",
        "bit" | "client-id" | "count" | "cursor" | "db" | "decrement" | "destination-db"
        | "end" | "frequency" | "increment" | "index" | "index1" | "index2" | "len"
        | "milliseconds" | "offset" | "protover" | "seconds" | "start" | "stop" | "timeout"
        | "ttl" | "version" => "integer",
        _ => "string",
    }
}

fn names(parts: &[Argument]) -> String {
    parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join("_")
}

/// Reads the notation. What it cannot read it leaves in `rest`; a test sees to it that this does
/// not happen.
struct Parser {
    rest: &'static str,
}

impl Parser {
    /// Arguments up to the end, or to what closes the group.
    fn sequence(&mut self) -> Vec<Argument> {
        let mut parts = Vec::new();
        while let Some(part) = self.item() {
            parts.push(part);
        }
        parts
    }

    fn item(&mut self) -> Option<Argument> {
        self.rest = self.rest.trim_start_matches(' ');
        let mut item = if self.takes('[') {
            Argument { is_optional: true, ..self.group() }
        } else if self.takes('(') {
            self.group()
        } else {
            self.word()?
        };
        if self.takes('+') {
            item.is_multiple = true;
            item.repeats_token = item.token.is_some();
        }
        Some(item)
    }

    /// Alternatives, and what closes them.
    fn group(&mut self) -> Argument {
        let mut choices = vec![Argument::joined(self.sequence())];
        while self.takes('|') {
            choices.push(Argument::joined(self.sequence()));
        }
        let _ = self.takes(']') || self.takes(')');
        match choices.len() {
            1 => choices.remove(0),
            _ => Argument::of(names(&choices), Shape::Choice(choices)),
        }
    }

    /// A name; a word in capitals takes along what must follow it.
    fn word(&mut self) -> Option<Argument> {
        let end = self.rest.find([' ', '[', ']', '(', ')', '|', '+']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return None;
        }
        self.rest = rest;
        let name = word.to_ascii_lowercase();
        if !word.starts_with(|first: char| first.is_ascii_uppercase()) {
            return Some(Argument::of(name, Shape::Value));
        }
        let mut parts = Vec::new();
        while let Some(following) = self.rest.strip_prefix(' ') {
            let is_next = |c: char| c == '(' || c.is_ascii_lowercase();
            if !following.starts_with(is_next) {
                break;
            }
            parts.extend(self.item());
        }
        let argument = match parts.is_empty() {
            true => Argument::of(name, Shape::Word),
            false => Argument::joined(parts),
        };
        Some(Argument { token: Some(word), ..argument })
    }

    fn takes(&mut self, wanted: char) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table::TABLE;

    /// As redis-cli shows it.
    fn shown(argument: &Argument) -> String {
        let all =
            |parts: &[Argument], between| parts.iter().map(shown).collect::<Vec<_>>().join(between);
        let inner = match &argument.shape {
            Shape::Value => argument.name.clone(),
            Shape::Word => String::new(),
            Shape::Choice(parts) => all(parts, "|"),
            Shape::Block(parts) => all(parts, " "),
        };
        let with_token = match argument.token {
            Some(token) => format!("{token} {inner}").trim_end().to_owned(),
            None => inner.clone(),
        };
        let again = if argument.repeats_token { &with_token } else { &inner };
        let repeated = match argument.is_multiple {
            true => format!("{with_token} [{again} ...]"),
            false => with_token.clone(),
        };
        if argument.is_optional { format!("[{repeated}]") } else { repeated }
    }

    fn hint(name: &str) -> String {
        arguments(name).iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn hints_read_as_people_know_them() {
        assert_eq!(hint("get"), "key");
        assert_eq!(hint("del"), "key [key ...]");
        assert_eq!(hint("mset"), "key value [key value ...]");
        assert_eq!(hint("info"), "[section [section ...]]");
        assert_eq!(hint("hello"), "[protover [AUTH username password] [SETNAME clientname]]");
        assert_eq!(
            hint("client|tracking").split(" [B").next(),
            Some("ON|OFF [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]]")
        );
        assert_eq!(
            hint("zrange"),
            "key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]"
        );
        assert_eq!(hint("client|list").split("] ").nth(1), Some("[ID client-id [client-id ...]]"));
        assert_eq!(hint("time"), "");
    }

    #[test]
    fn every_syntax_is_read_to_its_end_and_can_be_found() {
        assert!(SYNTAX.is_sorted_by(|one, next| one.0 < next.0), "sort the table by name");
        for (name, text) in SYNTAX {
            let mut parser = Parser { rest: text };
            assert!(!parser.sequence().is_empty(), "{name}");
            assert_eq!(parser.rest, "", "{name}: {text}");
            let balance = |open, close| text.matches(open).count() == text.matches(close).count();
            assert!(balance('(', ')') && balance('[', ']'), "{name}: {text}");
        }
    }

    #[test]
    fn a_command_that_takes_arguments_says_which() {
        let mut full_names = Vec::new();
        for row in TABLE.iter().filter(|row| !matches!(row.name, "post" | "host:")) {
            // With sub-commands it is those that take them.
            let rows = [(row.name.to_owned(), row.arity, 1)];
            let subs =
                row.subs.iter().map(|sub| (format!("{}|{}", row.name, sub.name), sub.arity, 2));
            let own = rows.into_iter().filter(|_| row.subs.is_empty());
            for (name, arity, words) in own.chain(subs) {
                let has = !arguments(&name).is_empty();
                assert!(has || arity.abs() == words, "{name}: add a line to the table of syntax");
                assert!(!has || arity != words, "{name} takes no argument");
                full_names.push(name);
            }
        }
        for (name, _) in SYNTAX {
            assert!(full_names.iter().any(|full| full == name), "{name} is no command");
        }
    }
}
