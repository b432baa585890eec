//! RDB files and DUMP payloads to and from redis-server: what it saved is imported, and what was
//! exported it loads; every key is compared, its encoding too.

mod common;

use common::server::{Server, redis_is_there};
use dse::snapshot::rdb::{
    RdbError, RdbValue, RdbValueRef, check, decode_payload, encode_payload, export, import,
};
use dse::store::{Kind, Object, Store};
use dse::util::rng::SplitMix64;
use redis::{Connection, cmd};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// Databases in use.
const DATABASES: u8 = 3;
const STRING_MAX: u64 = 1 << 30;

/// A key as both sides tell it: its kind, encoding, deadline, and its elements in an order that
/// does not depend on hashing.
#[derive(Debug, PartialEq)]
struct Told {
    encoding: String,
    deadline: i64,
    elements: Vec<Vec<u8>>,
}

type Walk = BTreeMap<(u8, Vec<u8>), Told>;

fn connect(server: &Server) -> Connection {
    let client = redis::Client::open(format!("redis://{}/", server.address)).expect("an address");
    client.get_connection().expect("a connection")
}

/// A redis-server that keeps its file in `directory`.
fn redis(directory: &Path, flags: &[&str]) -> Server {
    let mut all = vec!["--dir".to_owned(), directory.display().to_string()];
    all.extend(flags.iter().map(|flag| (*flag).to_owned()));
    Server::redis(&all).expect("redis-server starts")
}

fn bytes(rng: &mut SplitMix64, len_max: u64) -> Vec<u8> {
    let (len, is_text) = (rng.below(len_max + 1), rng.below(2) == 0);
    (0..len)
        .map(|_| if is_text { b'a' + rng.below(3) as u8 } else { rng.next_u64() as u8 })
        .collect()
}

fn element(rng: &mut SplitMix64, long: u64) -> Vec<u8> {
    match rng.below(4) {
        0 => (rng.next_u64() as i64 >> rng.below(64)).to_string().into_bytes(),
        1 => rng.below(100).to_string().into_bytes(),
        _ => bytes(rng, long),
    }
}

/// Fills a redis-server with keys of all kinds and encodings.
fn fill(connection: &mut Connection, rng: &mut SplitMix64) {
    for n in 0..400 {
        let db = rng.below(DATABASES.into());
        cmd("SELECT").arg(db).exec(connection).expect("selected");
        let key = [format!("key:{n}:").into_bytes(), bytes(rng, 5)].concat();
        let count = [1, 3, 40, 200, 700][rng.below(5) as usize];
        let long = [5, 30, 100, 400][rng.below(4) as usize];
        let mut write = cmd(["SET", "RPUSH", "SADD", "HSET", "ZADD", "SADD"][n % 6]);
        write.arg(&key);
        for at in 0..if n % 6 == 0 { 1 } else { count } {
            match n % 6 {
                0 => write.arg(element(rng, if count == 700 { 90_000 } else { 20 })),
                3 => write.arg(element(rng, long)).arg(element(rng, long)),
                4 => write.arg(score(rng, at)).arg(element(rng, long)),
                5 => write.arg(rng.next_u64() as i64 >> (count % 50)),
                _ => write.arg(element(rng, long)),
            };
        }
        write.exec(connection).expect("written");
        if rng.below(3) == 0 {
            let deadline = 4_000_000_000_000 + rng.below(1 << 30);
            cmd("PEXPIREAT").arg(&key).arg(deadline).exec(connection).expect("a deadline");
        }
    }
}

fn score(rng: &mut SplitMix64, at: i32) -> String {
    let scores = ["inf", "-inf", "0", "1e300", "-4.9e-324", "3.0000000000000004", "17"];
    match rng.below(3) {
        0 => scores[rng.below(7) as usize].to_owned(),
        1 => at.to_string(),
        _ => format!("{}", rng.next_u64() as f64 / 7e9),
    }
}

fn walk_redis(connection: &mut Connection) -> Walk {
    let mut walk = Walk::new();
    for db in 0..16 {
        cmd("SELECT").arg(db).exec(connection).expect("selected");
        let keys: Vec<Vec<u8>> = cmd("KEYS").arg("*").query(connection).expect("keys");
        for key in keys {
            let told = tell_redis(connection, &key);
            walk.insert((db, key), told);
        }
    }
    walk
}

fn tell_redis(connection: &mut Connection, key: &[u8]) -> Told {
    let kind: String = cmd("TYPE").arg(key).query(connection).expect("a type");
    let read = match kind.as_str() {
        "string" => vec!["GET"],
        "list" => vec!["LRANGE", "0", "-1"],
        "set" => vec!["SMEMBERS"],
        "hash" => vec!["HGETALL"],
        _ => vec!["ZRANGE", "0", "-1", "WITHSCORES"],
    };
    let mut ask = cmd(read[0]);
    ask.arg(key).arg(&read[1..]);
    let mut elements: Vec<Vec<u8>> = if kind == "string" {
        vec![ask.query(connection).expect("a string")]
    } else {
        ask.query(connection).expect("elements")
    };
    match kind.as_str() {
        "set" => elements.sort(),
        "hash" => sort_pairs(&mut elements),
        "zset" => elements.iter_mut().skip(1).step_by(2).for_each(|score| {
            let text = String::from_utf8_lossy(score).into_owned();
            *score = text.parse::<f64>().expect("a score").to_bits().to_le_bytes().to_vec();
        }),
        _ => {}
    }
    let encoding = cmd("OBJECT").arg("ENCODING").arg(key).query(connection).expect("an encoding");
    // That of a string is not kept by the file.
    let encoding = if kind == "string" { kind } else { encoding };
    let deadline = cmd("PEXPIRETIME").arg(key).query(connection).expect("a deadline");
    Told { encoding, deadline, elements }
}

fn sort_pairs(elements: &mut Vec<Vec<u8>>) {
    let mut pairs: Vec<_> = elements.chunks(2).map(<[Vec<u8>]>::to_vec).collect();
    pairs.sort();
    *elements = pairs.concat();
}

/// A value of ours, told as Redis would under its default limits.
fn tell(value: RdbValueRef<'_>, deadline: Option<u64>) -> Told {
    let deadline = deadline.map_or(-1, |deadline| deadline as i64);
    let (encoding, elements): (_, Vec<Vec<u8>>) = match value {
        RdbValueRef::Str(string) => ("string", vec![string.to_vec()]),
        RdbValueRef::Object(Object::List(list)) => {
            (list.encoding(), list.iter().map(<[u8]>::to_vec).collect())
        }
        RdbValueRef::Object(Object::Set(set)) => {
            let mut members: Vec<_> = set.iter().map(|member| member.to_vec()).collect();
            members.sort();
            (set.encoding(512), members)
        }
        RdbValueRef::Object(Object::Hash(hash)) => {
            let mut pairs = hash.iter().flat_map(|(f, v)| [f.to_vec(), v.to_vec()]).collect();
            sort_pairs(&mut pairs);
            (hash.encoding(512, 64), pairs)
        }
        RdbValueRef::Object(Object::ZSet(zset)) => {
            let members = zset.iter(0..usize::MAX, false);
            let told = members.flat_map(|(m, s)| [m.to_vec(), s.to_bits().to_le_bytes().to_vec()]);
            (zset.encoding(128, 64), told.collect())
        }
    };
    Told { encoding: encoding.to_owned(), deadline, elements }
}

fn walk_store(store: &Store) -> Walk {
    let mut walk = Walk::new();
    for db in 0..16 {
        let mut cursor = 0;
        loop {
            cursor = store.scan(db, cursor, 100, &mut |entry, object| {
                assert_eq!(object.is_none(), entry.kind() == Kind::String);
                let value = object.map_or(RdbValueRef::Str(entry.value()), RdbValueRef::Object);
                walk.insert((db, entry.key().to_vec()), tell(value, entry.deadline()));
            });
            if cursor == 0 {
                break;
            }
        }
    }
    walk
}

fn assert_same(ours: &Walk, theirs: &Walk) {
    assert_eq!(ours.len(), theirs.len());
    for (key, told) in theirs {
        assert!(ours.get(key) == Some(told), "{key:?}\n{:?}\n{told:?}", ours.get(key));
    }
}

#[test]
fn files_go_to_and_from_redis() {
    if !redis_is_there() {
        println!("skipped: there is no redis-server 7.0 on the path");
        return;
    }
    for (seed, flags) in [
        (1, &["--enable-debug-command", "yes"][..]),
        (2, &["--rdbcompression", "no", "--rdbchecksum", "no", "--enable-debug-command", "yes"]),
    ] {
        println!("seed {seed}");
        let home = tempfile::tempdir().expect("a directory");
        let server = redis(home.path(), flags);
        let mut connection = connect(&server);
        if seed == 1 {
            // Long elements lie in nodes of their own.
            let threshold = ["QUICKLIST-PACKED-THRESHOLD", "200B"];
            cmd("DEBUG").arg(&threshold).exec(&mut connection).expect("a threshold");
        }
        fill(&mut connection, &mut SplitMix64::new(seed));
        cmd("SAVE").exec(&mut connection).expect("saved");
        let theirs = walk_redis(&mut connection);

        let store = Store::new(seed);
        let path = home.path().join("dump.rdb");
        let summary = import(&mut File::open(&path).expect("the file"), &store).expect("imported");
        assert_eq!((summary.version, summary.keys), (10, theirs.len() as u64));
        assert_same(&walk_store(&store), &theirs);

        let file = File::create(home.path().join("ours.rdb")).expect("a file");
        let (_, keys) = export(&store, file, seed == 1).expect("exported");
        assert_eq!(keys, theirs.len() as u64);
        let other = redis(home.path(), &["--dbfilename", "ours.rdb"]);
        assert_same(&walk_redis(&mut connect(&other)), &theirs);
    }
}

#[test]
fn payloads_go_to_and_from_redis() {
    if !redis_is_there() {
        println!("skipped: there is no redis-server 7.0 on the path");
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let server = redis(home.path(), &[]);
    let mut connection = connect(&server);
    println!("seed 3");
    fill(&mut connection, &mut SplitMix64::new(3));
    let walk = walk_redis(&mut connection);
    for ((db, key), theirs) in walk {
        cmd("SELECT").arg(db).exec(&mut connection).expect("selected");
        let payload: Vec<u8> = cmd("DUMP").arg(&key).query(&mut connection).expect("a payload");
        let value = decode_payload(&payload, STRING_MAX).expect("a payload of Redis");
        let value = match &value {
            RdbValue::Str(string) => RdbValueRef::Str(string),
            RdbValue::Object(object) => RdbValueRef::Object(object),
        };
        let deadline = u64::try_from(theirs.deadline).ok();
        assert_eq!(tell(value, deadline), theirs, "{key:?}");
        let ours = encode_payload(value, true);
        let mut restore = cmd("RESTORE");
        restore.arg("again").arg(deadline.unwrap_or(0)).arg(ours).arg("REPLACE").arg("ABSTTL");
        restore.exec(&mut connection).expect("Redis takes it");
        assert_eq!(tell_redis(&mut connection, b"again"), theirs, "{key:?}");
    }
}

#[test]
fn a_file_with_more_than_dse_has_is_named_and_not_loaded() {
    if !redis_is_there() {
        println!("skipped: there is no redis-server 7.0 on the path");
        return;
    }
    let library = "#!lua name=mine\nredis.register_function('f', function() return 1 end)";
    let stream = ["XADD", "a stream", "*", "field", "value"];
    for (command, named) in
        [(&stream[..], "a stream"), (&["FUNCTION", "LOAD", library], "functions")]
    {
        let home = tempfile::tempdir().expect("a directory");
        let server = redis(home.path(), &[]);
        let mut connection = connect(&server);
        for n in 0..50 {
            cmd("SET").arg(n).arg(n).exec(&mut connection).expect("written");
        }
        cmd(command[0]).arg(&command[1..]).exec(&mut connection).expect("done");
        cmd("SAVE").exec(&mut connection).expect("saved");
        let path = home.path().join("dump.rdb");
        let error = check(File::open(&path).expect("the file")).expect_err("refused");
        assert!(matches!(error, RdbError::Unsupported { .. }));
        assert!(error.to_string().contains(named), "{error}");
        let store = Store::new(1);
        let mut file = File::open(&path).expect("the file");
        assert!(import(&mut file, &store).is_err());
        assert!(store.is_empty(0));
    }
}
