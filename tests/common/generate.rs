//! Random commands: every family, valid and invalid arguments, over few keys, so that types meet.
//!
//! Deadlines are far away or past, and never twice the same, because two servers that are a
//! millisecond apart must not differ by it. What cannot be compared at all (SHUTDOWN, MONITOR,
//! commands that change how many replies come) is not generated; scripts cover it.

use super::grammar::Shape;
use super::random::Random;

/// A command: its name and arguments.
pub type Command = Vec<Vec<u8>>;

/// How often a shape comes, and the shape.
const SHAPES: &[(usize, &str)] = &[
    // Strings.
    (8, "SET str value [NX|XX] [GET] [EX secs|PX ms|EXAT at|PXAT atms|KEEPTTL]"),
    (6, "GET str"),
    (2, "(GETSET|SETNX) str value"),
    (2, "GETDEL str"),
    (3, "GETEX str [EX secs|PX ms|EXAT at|PXAT atms|PERSIST]"),
    (2, "(SETEX str secs value|PSETEX str ms value)"),
    (3, "MGET str+"),
    (3, "(MSET|MSETNX) (str value)+"),
    (3, "APPEND str value"),
    (2, "STRLEN str"),
    (3, "(GETRANGE|SUBSTR) str index index"),
    (3, "SETRANGE str offset value"),
    (5, "(INCR|DECR) str"),
    (4, "(INCRBY|DECRBY) str int"),
    (4, "INCRBYFLOAT str float"),
    (2, "LCS str str [LEN|IDX] [MINMATCHLEN small] [WITHMATCHLEN]"),
    // Bits.
    (3, "SETBIT str bit (0|1|1|2)"),
    (2, "GETBIT str bit"),
    (3, "BITCOUNT str [index index [BYTE|BIT]]"),
    (3, "BITPOS str (0|1) [index [index [BYTE|BIT]]]"),
    (3, "BITOP (AND|OR|XOR|NOT) str str+"),
    (4, "BITFIELD str fieldop+"),
    (1, "BITFIELD_RO str (GET field fieldat)+"),
    // Keys.
    (4, "(DEL|UNLINK) key+"),
    (2, "(EXISTS|TOUCH) key+"),
    (3, "TYPE key"),
    (1, "KEYS pattern"),
    (2, "SCAN 0 COUNT 10000 [MATCH pattern] [TYPE type]"),
    (1, "SCAN 0 [COUNT small] [MATCH pattern]"),
    (1, "RANDOMKEY"),
    (3, "(RENAME|RENAMENX) key key"),
    (3, "COPY key key [DB db] [REPLACE]"),
    (2, "MOVE key db"),
    (2, "EXPIRE key secs [NX|XX|GT|LT]"),
    (2, "PEXPIRE key ms [NX|XX|GT|LT]"),
    (2, "EXPIREAT key at [NX|XX|GT|LT]"),
    (2, "PEXPIREAT key atms [NX|XX|GT|LT] [NX|XX|GT|LT]"),
    (4, "(TTL|PTTL|EXPIRETIME|PEXPIRETIME|PERSIST) key"),
    (3, "OBJECT ENCODING key"),
    (1, "OBJECT (REFCOUNT|IDLETIME|FREQ) key"),
    (1, "DBSIZE"),
    (2, "RESTORE key (0|secs) payload [REPLACE] [ABSTTL] [IDLETIME small|FREQ small]"),
    // Lists.
    (6, "(LPUSH|RPUSH) list value+"),
    (4, "(LPOP|RPOP) list [small]"),
    (2, "LLEN list"),
    (4, "LRANGE list index index"),
    (2, "LINDEX list index"),
    // Sets.
    (6, "SADD set member+"),
    (3, "SREM set member+"),
    (2, "SPOP set [small]"),
    (2, "SRANDMEMBER set [index]"),
    (2, "SISMEMBER set member"),
    (2, "SMEMBERS set"),
    (1, "SCARD set"),
    // Hashes.
    (6, "HSET hash (member value)+"),
    (2, "(HGET|HEXISTS) hash member"),
    (2, "HMGET hash member+"),
    (2, "HGETALL hash"),
    (3, "HDEL hash member+"),
    (1, "HLEN hash"),
    (3, "HINCRBY hash member int"),
    (2, "HMSET hash (member value)+"),
    (1, "HSETNX hash member value"),
    (1, "HSTRLEN hash member"),
    (1, "(HKEYS|HVALS) hash"),
    (2, "HINCRBYFLOAT hash member float"),
    // Sorted sets.
    (7, "ZADD zset [NX|XX] [GT|LT] [CH] (score member)+"),
    (3, "ZADD zset [NX|XX] [GT|LT] INCR score member"),
    (3, "ZREM zset member+"),
    (3, "ZINCRBY zset score member"),
    (3, "(ZSCORE|ZRANK|ZREVRANK) zset member"),
    (1, "ZMSCORE zset member+"),
    (1, "ZCOUNT zset scorebound scorebound"),
    (2, "ZREVRANGE zset index index [WITHSCORES]"),
    (2, "ZRANGEBYSCORE zset scorebound scorebound [WITHSCORES] [LIMIT index small]"),
    (2, "ZREVRANGEBYSCORE zset scorebound scorebound [LIMIT index small] [WITHSCORES]"),
    (1, "ZCARD zset"),
    (4, "ZRANGE zset index index [REV] [WITHSCORES]"),
    (4, "ZRANGE zset scorebound scorebound BYSCORE [REV] [LIMIT index small] [WITHSCORES]"),
    (2, "ZRANGE lex lexbound lexbound BYLEX [REV] [LIMIT small index]"),
    (2, "ZADD lex (0 member)+"),
    (1, "ZREM lex member+"),
    (2, "(ZPOPMIN|ZPOPMAX) zset [small]"),
    // Connection, server, transactions.
    (1, "PING [value]"),
    (1, "ECHO value"),
    (1, "SELECT db"),
    (1, "SWAPDB db db"),
    (1, "(PUBLISH member value|PUBSUB NUMSUB member|PUBSUB CHANNELS [pattern]|PUBSUB NUMPAT)"),
    (1, "CLIENT (GETNAME|SETNAME member|NO-EVICT (ON|OFF)|TRACKINGINFO|GETREDIR|UNPAUSE)"),
    (1, "COMMAND (GETKEYS|GETKEYSANDFLAGS) (SET key value|MGET key+|BITOP AND key key+)"),
    (1, "COMMAND INFO (NOSUCH|GET|APPEND|LRANGE|ZCARD|HLEN|EXPIRE)"),
    (1, "CONFIG SET (HASH-MAX-LISTPACK-ENTRIES|ZSET-MAX-LISTPACK-ENTRIES) (4|128|512)"),
    (1, "CONFIG GET (HASH-MAX-LISTPACK-VALUE|SET-MAX-INTSET-ENTRIES|NOSUCH|MAXMEMORY)"),
    (1, "CONFIG SET SET-MAX-INTSET-ENTRIES (3|512)"),
    (1, "(MEMORY USAGE key|TIME|LATENCY LATEST|SLOWLOG LEN EXTRA|NOSUCHCOMMAND value)"),
    (6, "MULTI"),
    (1, "(EXEC|DISCARD|UNWATCH)"),
    (2, "WATCH key+"),
    (1, "(FLUSHDB [ASYNC|SYNC]|FLUSHALL)"),
];

/// Arguments that take the place of a valid one now and then.
const STRANGE: &[&[u8]] = &[
    b"",
    b" ",
    b"abc",
    b"-1",
    b"0",
    b"1.5",
    b"nan",
    b"inf",
    b"-inf",
    b"+1",
    b"01",
    b" 1",
    b"1 ",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"1e400",
    b"\x00",
    b"\xff\xfe\r\n",
    b"NX",
    b"XX",
    b"GET",
    b"*",
    b"(",
    b"[",
    b"-",
    b"+",
    b"4294967296",
    b"0x10",
];

/// Strings as they come in practice, and as they do not.
const VALUES: &[&[u8]] = &[
    b"hello",
    b"hello",
    b"world",
    b"",
    b"0",
    b"1",
    b"-1",
    b"42",
    b"12345678901234567890",
    b"3.14",
    b"1e3",
    b" 7",
    b"07",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775806",
    b"\x00",
    b"\xff\x00\xff",
    b"a b",
    b"\r\n",
    b"\"quoted\"",
    b"foobar",
    b"1.5",
    b"-0",
    b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH",
    b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHI",
];

const MEMBERS: &[&[u8]] = &[
    b"a",
    b"b",
    b"c",
    b"d",
    b"e",
    b"aa",
    b"ab",
    b"1",
    b"2",
    b"3",
    b"-5",
    b"100000",
    b"",
    b"\x00",
    b"member with space",
    b"99999999999",
    b"f",
    b"g",
    b"h",
    b"i",
];

const FLOATS: &[&str] = &[
    "1",
    "-1",
    "0",
    "0.1",
    "1.5",
    "-2.25",
    "1e3",
    "1e17",
    "1e-7",
    "3.0",
    "-0",
    "inf",
    "-inf",
    "123456789.123456",
    "1e300",
    "0.30000000000000004",
    "17179869184.5",
];

const PATTERNS: &[&str] = &["*", "k*", "k1?", "k[0-4]", "k[^3]*", "nothing", "k\\1", "*[", "?*"];

/// Values as DUMP of 7.0 gives them: a string, a number, a compressed string, one cut short.
const PAYLOADS: &[&[u8]] = &[
    b"\x00\x0bhello world\n\x00\x0b\xfcI\xb9\xa6\xc7\xa04",
    b"\x00\xc190\n\x00\x9d\x94\xea'\x93\xfc\x08\xb9",
    b"\x00\xc3\x09@d\x01aa\xe0W\x00\x01aa\n\x00\xe8\xa3\xb5\x07\xb0m\xf2q",
    b"\x00\x0bhello wor",
];

/// Commands that would show what is each server's own if an argument were lost or a pattern.
const UNSPOILED: &[&[u8]] = &[b"CONFIG", b"COMMAND", b"SLOWLOG"];

/// Keys in use. Few, so that commands of different types meet on them.
const KEYS: usize = 13;
/// Bytes of the longest value, which is rare.
const HUGE_BYTES: usize = 200_000;

/// The source of commands.
pub struct Generator {
    random: Random,
    shapes: Vec<Shape>,
    /// Each shape's index, as often as it has weight.
    lots: Vec<usize>,
    deadlines: u64,
    /// The command that must come next, whatever the lot says.
    pending: Option<Command>,
    /// Commands until the open transaction is ended.
    until_exec: Option<usize>,
}

impl Generator {
    pub fn new(seed: u64) -> Generator {
        let weighted = SHAPES.iter().enumerate();
        Generator {
            random: Random::new(seed),
            shapes: SHAPES.iter().map(|(_, text)| Shape::parse(text)).collect(),
            lots: weighted.flat_map(|(index, (weight, _))| vec![index; *weight]).collect(),
            deadlines: 0,
            pending: None,
            until_exec: None,
        }
    }

    /// The source of chance, for decisions beside the commands.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    pub fn command(&mut self) -> Command {
        if let Some(command) = self.pending.take() {
            return command;
        }
        if let Some(left) = self.until_exec {
            self.until_exec = left.checked_sub(1);
            if left == 0 {
                let end = if self.random.chance(90) { "EXEC" } else { "DISCARD" };
                return vec![end.into()];
            }
        }
        let lot = *self.random.pick(&self.lots);
        let shapes = std::mem::take(&mut self.shapes);
        let mut command = Vec::new();
        self.fill(&shapes[lot], &mut command);
        self.shapes = shapes;
        if self.random.chance(12) {
            self.spoil(&mut command);
        }
        if command[0].eq_ignore_ascii_case(b"MULTI") && self.until_exec.is_none() {
            self.until_exec = Some(self.random.below(7));
        }
        // What SPOP took is chance: the key goes, so that both servers hold the same again.
        if command[0].eq_ignore_ascii_case(b"SPOP") && command.len() > 1 {
            self.pending = Some(vec![b"DEL".to_vec(), command[1].clone()]);
        }
        // Redis judges a collection by a new limit when it is written next, we do at once.
        if command[0].eq_ignore_ascii_case(b"CONFIG") && command.len() == 4 {
            self.pending = Some(vec![b"FLUSHALL".to_vec()]);
        }
        command
    }

    fn fill(&mut self, shape: &Shape, command: &mut Command) {
        match shape {
            Shape::Word(word) => command.push(word.clone().into_bytes()),
            Shape::Kind(kind) => self.argument(kind, command),
            Shape::Row(parts) => parts.iter().for_each(|part| self.fill(part, command)),
            Shape::OneOf(choices) => {
                let choice = self.random.below(choices.len());
                self.fill(&choices[choice], command);
            }
            Shape::Maybe(part) => {
                if self.random.chance(35) {
                    self.fill(part, command);
                }
            }
            Shape::Repeat(part) => {
                for _ in 0..=self.random.below(4) {
                    self.fill(part, command);
                }
            }
        }
    }

    fn argument(&mut self, kind: &str, command: &mut Command) {
        let random = &mut self.random;
        let argument = match kind {
            "key" => format!("k{}", random.below(KEYS)).into_bytes(),
            "str" => self.key_of(0..5),
            "list" => self.key_of(5..7),
            "set" => self.key_of(7..9),
            // All of one score, because BYLEX means nothing otherwise; see docs/compatibility.md.
            "lex" => b"lex".to_vec(),
            "hash" => self.key_of(9..11),
            "zset" => self.key_of(11..KEYS),
            "value" => self.value(),
            "member" => random.pick(MEMBERS).to_vec(),
            "int" => self.integer().into_bytes(),
            // Closer to 0 than half of 64 bits: beyond, Redis' own sums overflow.
            "fieldint" => {
                format!("{}", (random.next() as i64) >> (2 + random.below(62))).into_bytes()
            }
            "small" => format!("{}", random.below(6) as i64 - 1).into_bytes(),
            "index" => format!("{}", random.below(24) as i64 - 12).into_bytes(),
            "offset" => format!("{}", self.offset()).into_bytes(),
            // Eight times the large offset is beyond what SETBIT takes: no giant strings.
            "bit" => format!("{}", 8 * self.offset() + self.random.below(8)).into_bytes(),
            "db" => format!("{}", [0, 0, 1, 2, 16][random.below(5)]).into_bytes(),
            "float" => random.pick(FLOATS).as_bytes().to_vec(),
            // Which sorted sets keep the sign of a zero is in docs/compatibility.md.
            "score" => match *random.pick(FLOATS) {
                "-0" => b"0".to_vec(),
                score => score.into(),
            },
            "pattern" => random.pick(PATTERNS).as_bytes().to_vec(),
            "payload" => random.pick(PAYLOADS).to_vec(),
            "type" => random.pick(&["string", "list", "set", "hash", "zset"]).as_bytes().to_vec(),
            "secs" | "ms" | "at" | "atms" => self.deadline(kind),
            "scorebound" => {
                let open = if random.chance(30) { "(" } else { "" };
                format!("{open}{}", random.pick(FLOATS)).into_bytes()
            }
            "lexbound" => self.lex_bound(),
            "field" => format!("{}{}", random.pick(&["i", "u"]), 1 + random.below(64)).into_bytes(),
            "fieldat" => {
                let sign = if random.chance(30) { "#" } else { "" };
                format!("{sign}{}", random.below(70)).into_bytes()
            }
            "fieldop" => return self.field_operation(command),
            _ => panic!("no kind of argument is called {kind}"),
        };
        command.push(argument);
    }

    /// Mostly a key on which the commands of one type meet, else any.
    fn key_of(&mut self, own: std::ops::Range<usize>) -> Vec<u8> {
        let among = if self.random.chance(80) { own } else { 0..KEYS };
        format!("k{}", among.start + self.random.below(among.len())).into_bytes()
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.below(200) {
            0 => vec![b'x'; self.random.below(HUGE_BYTES)],
            1..=3 => vec![b'y'; 40 + self.random.below(40)],
            4..=5 => (0..self.random.below(300)).map(|n| n as u8).collect(),
            6..=40 => format!("{}", self.random.below(2000) as i64 - 1000).into_bytes(),
            _ => self.random.pick(VALUES).to_vec(),
        }
    }

    fn integer(&mut self) -> String {
        match self.random.below(10) {
            0 => i64::MAX.to_string(),
            1 => i64::MIN.to_string(),
            2 => (self.random.next() as i64).to_string(),
            _ => (self.random.below(200) as i64 - 100).to_string(),
        }
    }

    fn offset(&mut self) -> usize {
        match self.random.below(20) {
            0 => 5000,
            1 => 600_000_000,
            _ => self.random.below(40),
        }
    }

    /// Far away and each time another, or past.
    fn deadline(&mut self, kind: &str) -> Vec<u8> {
        if self.random.chance(8) {
            return if self.random.chance(50) { b"0".to_vec() } else { b"-5".to_vec() };
        }
        self.deadlines += 1;
        let seconds = 10_000 + 100 * self.deadlines + self.random.below(1_000_000) as u64 * 10_000;
        let number = match kind {
            "secs" => seconds,
            "ms" => seconds * 1000,
            "at" => 4_000_000_000 + seconds,
            _ => (4_000_000_000 + seconds) * 1000,
        };
        number.to_string().into_bytes()
    }

    fn lex_bound(&mut self) -> Vec<u8> {
        match self.random.below(6) {
            0 => b"-".to_vec(),
            1 => b"+".to_vec(),
            _ => {
                let open = self.random.pick(&["[", "("]).as_bytes();
                let member = *self.random.pick(MEMBERS);
                [open, member].concat()
            }
        }
    }

    fn field_operation(&mut self, command: &mut Command) {
        let shape = *self.random.pick(&[
            "GET field fieldat",
            "SET field fieldat fieldint",
            "INCRBY field fieldat fieldint",
            "OVERFLOW (WRAP|SAT|FAIL)",
        ]);
        self.fill(&Shape::parse(shape), command);
    }

    /// Makes a command that is probably wrong.
    fn spoil(&mut self, command: &mut Command) {
        if UNSPOILED.contains(&command[0].as_slice()) {
            return;
        }
        let at = self.random.below(command.len());
        match self.random.below(5) {
            0 if command.len() > 1 => drop(command.pop()),
            1 => command.push(self.random.pick(STRANGE).to_vec()),
            2 => command[0] = command[0].to_ascii_lowercase(),
            3 if at > 0 => drop(command.remove(at)),
            _ if at > 0 => command[at] = self.random.pick(STRANGE).to_vec(),
            _ => command.extend_from_within(at..),
        }
        // SET with a third, bare integer is an addition of dse.
        let is_integer =
            |word: &[u8]| std::str::from_utf8(word).is_ok_and(|t| t.parse::<i64>().is_ok());
        if command[0].eq_ignore_ascii_case(b"SET") && command.len() == 4 && is_integer(&command[3])
        {
            command[3] = b"NX".to_vec();
        }
        // A cursor other than 0 means something to its server only.
        if command[0].eq_ignore_ascii_case(b"SCAN") && command.len() > 1 {
            command[1] = b"0".to_vec();
        }
    }
}
