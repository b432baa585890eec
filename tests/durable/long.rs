//! Requests that are longer than a record: what of them is in the log before they are executed.
//! And the last snapshot of a server that keeps no log.

use super::rounds::end;
use super::start;
use crate::common::value::Value;
use crate::common::wire::Client;

fn call(client: &mut Client, command: &[&str]) -> Value {
    client.call(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A transaction whose body was in the log when EXEC found its watched key changed: the body must
/// not be taken for that of the next write.
#[test]
fn a_long_transaction_that_was_not_executed_leaves_nothing_behind() {
    let home = tempfile::tempdir().expect("a directory");
    let long = "x".repeat(700_000);
    let server = start(home.path(), &[]);
    let (mut client, mut other) = (server.client(), server.client());
    call(&mut client, &["WATCH", "watched"]);
    call(&mut client, &["MULTI"]);
    call(&mut client, &["SET", "long", &long]);
    call(&mut other, &["SET", "watched", "changed"]);
    let aborted = call(&mut client, &["EXEC"]);
    assert!(!matches!(aborted, Value::Array(ref items) if !items.is_empty()), "{aborted:?}");
    call(&mut client, &["SET", "short", "value"]);
    // One that failed while it was queued is not executed either.
    call(&mut client, &["MULTI"]);
    call(&mut client, &["SET", "long", &long]);
    assert!(client.call(&["NOSUCHCOMMAND"]).is_ok());
    assert!(client.call(&["EXEC"]).is_ok());
    call(&mut client, &["SET", "shorter", "v"]);
    end(server);
    let server = start(home.path(), &[]);
    let mut client = server.client();
    assert_eq!(call(&mut client, &["GET", "short"]), Value::Bulk(b"value".into()));
    assert_eq!(call(&mut client, &["GET", "shorter"]), Value::Bulk(b"v".into()));
    assert_eq!(call(&mut client, &["EXISTS", "long"]), Value::Int(0));
    end(server);
}

/// Who turns the log off but keeps the rules for snapshots loses nothing by an orderly end.
#[test]
fn a_server_without_a_log_saves_at_its_end_if_there_are_rules() {
    let home = tempfile::tempdir().expect("a directory");
    let no_log = ["--appendonly", "no", "--save", "3600 1"];
    let start_it = || {
        let flags: Vec<String> = no_log.iter().map(|flag| flag.to_string()).collect();
        crate::common::server::Server::dse_in(super::program(), home.path(), &flags)
            .unwrap_or_else(|error| panic!("{error}"))
    };
    let server = start_it();
    call(&mut server.client(), &["RPUSH", "list", "a", "b"]);
    end(server);
    let server = start_it();
    let mut client = server.client();
    assert_eq!(call(&mut client, &["LLEN", "list"]), Value::Int(2));
    call(&mut client, &["RPUSH", "list", "c"]);
    // The reply is the closed connection.
    let _ = client.call(&["SHUTDOWN", "NOSAVE"]);
    drop(server);
    let server = start_it();
    assert_eq!(call(&mut server.client(), &["LLEN", "list"]), Value::Int(2));
    end(server);
}
