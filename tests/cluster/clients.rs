//! Client libraries that know where keys are, as people use them, on the redirect ports.
//! `scripts/cluster_clients` runs those that the gate does not have.

use crate::nodes::Cluster;
use redis::Commands;
use redis::cluster::{ClusterClient, ClusterConnection, cluster_pipe};
use std::path::Path;
use std::process::Command;

#[test]
fn redis_rs_finds_every_key() {
    let cluster = Cluster::start();
    let address = format!("redis://{}/", cluster.redirect_address(1));
    let client = ClusterClient::new(vec![address]).expect("a client");
    let mut connection = client.get_connection().expect("connected");
    every_family(&mut connection).expect("every command works");
}

fn every_family(c: &mut ClusterConnection) -> redis::RedisResult<()> {
    for number in 0..100 {
        let _: () = c.set(format!("key:{number}"), number)?;
    }
    for number in 0..100 {
        assert_eq!(c.get::<_, i64>(format!("key:{number}"))?, number);
    }
    let mut pipe = cluster_pipe();
    for number in 0..50 {
        pipe.incr(format!("count:{}", number % 7), 1);
    }
    assert_eq!(pipe.query::<Vec<i64>>(c)?.len(), 50);
    assert_eq!(c.rpush::<_, _, i64>("{t}l", &["a", "b"])?, 2);
    assert_eq!(c.lrange::<_, Vec<String>>("{t}l", 0, -1)?, ["a", "b"]);
    assert_eq!(c.hset::<_, _, _, i64>("{t}h", "f", 1)?, 1);
    assert_eq!(c.del::<_, i64>(&["{t}l", "{t}h"])?, 2);
    Ok(())
}

#[test]
fn redis_py_finds_every_key() {
    let has_library = Command::new("python3").args(["-c", "import redis.cluster"]).output();
    if !has_library.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: python3 with the redis package is not installed");
        return;
    }
    let cluster = Cluster::start();
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    for (script, port) in [
        ("redis_py_cluster.py", cluster.redirect_address(1).port()),
        ("redis_py_plain.py", cluster.address(2).port()),
    ] {
        let output = Command::new("python3")
            .arg(clients.join(script))
            .arg(port.to_string())
            .output()
            .expect("python runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{script}: {text}");
    }
}
