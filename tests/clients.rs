//! Client libraries as people use them: each connects, runs a script of every family, and quits.

mod common;

use common::server::Server;
use redis::{Commands, Connection, ProtocolVersion, RedisResult};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::Command;

fn server() -> Server {
    let program = Path::new(env!("CARGO_BIN_EXE_dse-server"));
    Server::dse(program, &[]).expect("the server starts")
}

fn connect(server: &Server, parameters: &str) -> Connection {
    let client = redis::Client::open(format!("redis://{}/{parameters}", server.address));
    client.and_then(|client| client.get_connection()).expect("connected")
}

#[test]
fn redis_rs_runs_every_family_in_resp2() {
    let server = server();
    every_family(&server, &mut connect(&server, "")).expect("every command works");
}

#[test]
fn redis_rs_runs_every_family_in_resp3() {
    let server = server();
    let mut connection = connect(&server, "?protocol=resp3");
    every_family(&server, &mut connection).expect("every command works");
    let version: String = redis::cmd("INFO").arg("server").query(&mut connection).expect("INFO");
    assert!(version.contains("server_name:dse"));
    assert_ne!(ProtocolVersion::RESP2, ProtocolVersion::RESP3);
}

fn every_family(server: &Server, c: &mut Connection) -> RedisResult<()> {
    strings(c)?;
    collections(c)?;
    keys(c)?;
    transactions(c)?;
    publish_and_subscribe(server, c)
}

fn strings(c: &mut Connection) -> RedisResult<()> {
    let _: () = c.set("s", "value")?;
    assert_eq!(c.get::<_, String>("s")?, "value");
    let _: () = c.set_ex("short", "v", 100)?;
    assert_eq!(c.ttl::<_, i64>("short")?, 100);
    assert_eq!(c.incr::<_, _, i64>("n", 5)?, 5);
    assert_eq!(c.append::<_, _, i64>("s", "!")?, 6);
    let _: () = c.mset(&[("a", "1"), ("b", "2")])?;
    assert_eq!(c.mget::<_, Vec<Option<String>>>(&["a", "b", "none"])?.len(), 3);
    assert_eq!(c.getrange::<_, String>("s", 0, 2)?, "val");
    let _: bool = c.setbit("bits", 7, true)?;
    assert_eq!(c.bitcount::<_, i64>("bits")?, 1);
    Ok(())
}

fn collections(c: &mut Connection) -> RedisResult<()> {
    assert_eq!(c.rpush::<_, _, i64>("l", &["a", "b", "c"])?, 3);
    assert_eq!(c.lrange::<_, Vec<String>>("l", 0, -1)?, ["a", "b", "c"]);
    assert_eq!(c.lpop::<_, Option<String>>("l", None)?.as_deref(), Some("a"));
    assert_eq!(c.sadd::<_, _, i64>("set", &["x", "y"])?, 2);
    let members: HashSet<String> = c.smembers("set")?;
    assert_eq!(members, HashSet::from(["x".into(), "y".into()]));
    let _: () = c.hset_multiple("h", &[("f", "1"), ("g", "2")])?;
    let fields: HashMap<String, String> = c.hgetall("h")?;
    assert_eq!(fields["g"], "2");
    assert_eq!(c.hincr::<_, _, _, i64>("h", "f", 2)?, 3);
    assert_eq!(c.zadd::<_, _, _, i64>("z", "m", 1.5)?, 1);
    assert_eq!(c.zscore::<_, _, Option<f64>>("z", "m")?, Some(1.5));
    assert_eq!(c.zrange::<_, Vec<String>>("z", 0, -1)?, ["m"]);
    Ok(())
}

fn keys(c: &mut Connection) -> RedisResult<()> {
    assert_eq!(c.exists::<_, i64>("s")?, 1);
    assert!(c.expire::<_, bool>("s", 100)?);
    assert!(c.persist::<_, bool>("s")?);
    let _: () = c.rename("s", "renamed")?;
    let found: HashSet<String> =
        c.scan_match::<_, String>("renam*")?.collect::<RedisResult<_>>()?;
    assert_eq!(found, HashSet::from(["renamed".to_string()]));
    assert_eq!(c.del::<_, i64>("renamed")?, 1);
    assert_eq!(redis::cmd("TYPE").arg("l").query::<String>(c)?, "list");
    Ok(())
}

fn transactions(c: &mut Connection) -> RedisResult<()> {
    let (first, second): (i64, i64) = redis::pipe().atomic().incr("t", 1).incr("t", 1).query(c)?;
    assert_eq!((first, second), (1, 2));
    let value: (i64,) = redis::transaction(c, &["t"], |c, pipe| {
        let now: i64 = c.get("t")?;
        pipe.set("t", now + 1).ignore().get("t").query(c)
    })?;
    assert_eq!(value, (3,));
    Ok(())
}

fn publish_and_subscribe(server: &Server, c: &mut Connection) -> RedisResult<()> {
    let mut listener = connect(server, "");
    let mut subscription = listener.as_pubsub();
    subscription.subscribe("news")?;
    assert_eq!(c.publish::<_, _, i64>("news", "hello")?, 1);
    assert_eq!(subscription.get_message()?.get_payload::<String>()?, "hello");
    Ok(())
}

#[test]
fn redis_py_runs_every_family() {
    let has_library = Command::new("python3").args(["-c", "import redis"]).output();
    if !has_library.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: python3 with the redis package is not installed");
        return;
    }
    let server = server();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/redis_py.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(server.address.port().to_string())
        .output()
        .expect("python runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
}
