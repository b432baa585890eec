//! redis-cli as people use it: a real process, on a terminal where it behaves otherwise there.
//! What depends on nothing but the data must be what it shows of redis-server, where that is
//! installed.

mod common;

use common::server::{Server, redis_is_there};
use common::terminal::{Terminal, are_there};
use common::value::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Long enough for everything, and an end for what hangs.
const SECONDS_MAX: &str = "30";
/// The key that ends what goes on for ever.
const INTERRUPT: &str = "\x03";

fn dse(flags: &[&str]) -> Server {
    let flags: Vec<String> = flags.iter().map(|flag| flag.to_string()).collect();
    Server::dse(Path::new(env!("CARGO_BIN_EXE_dse-server")), &flags).expect("the server starts")
}

/// Our server, and Redis' if it is there.
fn servers() -> Vec<Server> {
    let redis = redis_is_there().then(|| Server::redis(&[]).expect("redis-server starts"));
    std::iter::once(dse(&[])).chain(redis).collect()
}

fn has_cli() -> bool {
    are_there(&["redis-cli", "timeout"])
}

fn has_terminal() -> bool {
    are_there(&["redis-cli", "timeout", "script", "stty"])
}

/// Runs redis-cli with these words and bytes on its standard input.
fn run(server: &Server, words: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new("timeout")
        .args([SECONDS_MAX, "redis-cli", "-p", &server.address.port().to_string()])
        .args(words)
        .env_remove("REDISCLI_AUTH")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("timeout is there");
    let mut keyboard = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || keyboard.write_all(&input));
    let output = child.wait_with_output().expect("it runs");
    writer.join().expect("no panic").expect("everything was read");
    output
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What it says on standard output; it must be content.
fn says(server: &Server, words: &[&str]) -> String {
    let output = run(server, words, b"");
    assert!(output.status.success(), "{words:?}: {}{}", out(&output), err(&output));
    assert_eq!(err(&output), "", "{words:?}");
    out(&output)
}

fn terminal(server: &Server, words: &str) -> (Terminal, TempDir) {
    // It keeps its history in the home directory.
    let home = tempfile::tempdir().expect("a temporary directory");
    let command = format!("redis-cli -p {} {words}", server.address.port());
    (Terminal::start(&command, home.path()), home)
}

/// Runs commands, none of which may fail.
fn prepare(server: &Server, lines: &[&str]) {
    let mut client = server.client();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let reply = client.call(&words).expect("a reply");
        assert!(!matches!(reply, Value::Error(_)), "{line}: {reply:?}");
    }
}

/// One key or more of every type.
fn fill(server: &Server) {
    prepare(
        server,
        &[
            "SET string:short abc",
            "SET string:long abcdefghijklmnopqrstuvwxyz",
            "RPUSH list a b c",
            "SADD set a b c d",
            "HSET hash f 1 g 2",
            "ZADD zset 1 a 2.5 b",
        ],
    );
}

#[test]
fn a_session_shows_prompt_hints_replies_and_errors() {
    if !has_terminal() {
        return;
    }
    let lines = [
        ("SET greeting hello", "OK"),
        ("get greeting", "\"hello\""),
        ("SETEX short 100 value", "OK"),
        ("del short nothing", "(integer) 1"),
        ("zadd z 1 a 2 b", "(integer) 2"),
        ("zrange z 0 -1 withscores", "4) \"2\""),
        ("config set maxmemory-policy noeviction", "OK"),
        ("hget z f", "(error) WRONGTYPE"),
        ("get", "(error) ERR wrong number"),
        ("nosuch thing", "(error) ERR unknown command"),
        ("multi", "OK"),
        ("incr n", "QUEUED"),
        ("exec", "1) (integer) 1"),
        ("select 3", "OK"),
    ];
    let mut transcripts = Vec::new();
    for server in servers() {
        let port = server.address.port().to_string();
        let (mut terminal, _home) = terminal(&server, "");
        for (line, answer) in lines {
            terminal.expect("> ");
            terminal.press(line);
            terminal.expect(line);
            terminal.press("\r");
            terminal.expect(answer);
        }
        terminal.expect("[3]> ");
        terminal.press("quit\r");
        assert_eq!(terminal.ended(), Some(0));
        transcripts.push(terminal.shown().replace(&port, "PORT"));
    }
    let ours = &transcripts[0];
    assert!(ours.contains("127.0.0.1:PORT(TX)> "), "{ours:?}");
    let grey = |text: &str| format!("\x1b[0;90;49m{text}");
    assert!(ours.contains(&grey("key value [NX|XX] [GET] [EX seconds|PX")), "{ours:?}");
    assert!(ours.contains(&grey("key [key ...]")), "{ours:?}");
    assert!(ours.contains(&grey("parameter value [parameter value ...]")), "{ours:?}");
    if let Some(theirs) = transcripts.get(1) {
        let pairs = ours.split("\r\n").zip(theirs.split("\r\n"));
        for (ours, theirs) in pairs {
            assert_eq!(ours, theirs);
        }
    }
}

#[test]
fn help_tells_what_a_command_takes_and_does() {
    if !has_terminal() {
        return;
    }
    let server = dse(&[]);
    let (mut terminal, _home) = terminal(&server, "");
    terminal.expect("> ");
    terminal.press("help object freq\r");
    terminal.expect("OBJECT FREQ");
    terminal.expect("key");
    terminal.expect("summary:");
    terminal.expect("since:");
    terminal.expect("group:");
    terminal.expect("> ");
    terminal.press("help @hash\r");
    terminal.expect("HSET");
    terminal.expect("key field value [field value ...]");
}

#[test]
fn stat_shows_keys_memory_clients_and_requests() {
    if !has_terminal() {
        return;
    }
    let server = dse(&[]);
    fill(&server);
    let (mut terminal, _home) = terminal(&server, "--stat -i 0.05");
    terminal.expect("keys       mem      clients blocked requests            connections");
    terminal.expect("\n");
    for _ in 0..3 {
        let line = terminal.expect("\n");
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(fields[0], "6", "keys in {line:?}");
        assert!(fields[1].ends_with(['K', 'M', 'G']), "memory in {line:?}");
        assert!(fields[2].parse::<u64>().is_ok_and(|clients| clients >= 1), "{line:?}");
        assert_eq!(fields[3], "0", "blocked in {line:?}");
        assert!(fields[4].parse::<u64>().is_ok_and(|requests| requests > 6), "{line:?}");
        assert!(fields[5].starts_with("(+"), "{line:?}");
    }
    terminal.press(INTERRUPT);
}

#[test]
fn scan_names_every_key_once() {
    if !has_cli() {
        return;
    }
    let server = dse(&[]);
    let mut client = server.client();
    for number in 0..3000 {
        client.call(&["SET", &format!("key:{number}"), "v"]).expect("a reply");
    }
    prepare(&server, &["RPUSH list a"]);
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let mut all: Vec<String> = (0..3000).map(|number| format!("key:{number}")).collect();
    all.push("list".into());
    all.sort();
    assert_eq!(sorted(&says(&server, &["--scan"])), all);
    let some = says(&server, &["--scan", "--pattern", "key:29?"]);
    assert_eq!(some.lines().count(), 10);
}

#[test]
fn the_biggest_keys_are_found() {
    if !has_cli() {
        return;
    }
    let mut summaries = Vec::new();
    for server in servers() {
        fill(&server);
        let said = says(&server, &["--bigkeys"]);
        let (_, summary) = said.split_once("-------- summary").expect("a summary");
        summaries.push(summary.to_owned());
        let said = says(&server, &["--memkeys"]);
        let (_, summary) = said.split_once("-------- summary").expect("a summary");
        assert!(summary.contains("Sampled 6 keys in the keyspace!"), "{summary}");
        for name in ["string:long", "list", "set", "hash", "zset"] {
            assert!(summary.contains(&format!("found '\"{name}\"' has ")), "{summary}");
        }
    }
    assert!(summaries[0].contains("Biggest   zset found '\"zset\"' has 2 members"));
    if let Some(theirs) = summaries.get(1) {
        // The types come in an order of the tool's own.
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let (mut ours, mut theirs) = (lines(&summaries[0]), lines(theirs));
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs);
    }
}

#[test]
fn latency_is_measured() {
    if !has_terminal() {
        return;
    }
    let server = dse(&[]);
    let said = says(&server, &["--latency", "-i", "0.2"]);
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers.len(), 4, "least, most, mean, samples: {said:?}");
    assert!(numbers[3] >= 1.0 && numbers[0] <= numbers[2] && numbers[2] <= numbers[1], "{said:?}");

    let (mut history, _home) = terminal(&server, "--latency-history -i 0.1");
    for _ in 0..2 {
        let line = history.expect(" seconds range");
        assert!(line.contains("min: ") && line.contains("samples)"), "{line:?}");
    }
    history.press(INTERRUPT);
    let (mut spectrum, _home) = terminal(&server, "--latency-dist -i 0.1");
    spectrum.expect("From 0 to 100%");
    spectrum.press(INTERRUPT);
}

#[test]
fn what_is_piped_in_is_executed_and_counted() {
    if !has_cli() {
        return;
    }
    let server = dse(&[]);
    let mut input = Vec::new();
    for number in 0..10_000 {
        let key = format!("key:{number}");
        input.extend(format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n$1\r\nv\r\n", key.len()).bytes());
    }
    let said = out(&run(&server, &["--pipe"], &input));
    assert!(said.contains("errors: 0, replies: 10000"), "{said}");
    assert_eq!(says(&server, &["DBSIZE"]), "10000\n");

    let output = run(&server, &["--pipe"], b"SET a 1\r\nLPUSH a x\r\nINCR a\r\n");
    assert!(out(&output).contains("errors: 1, replies: 3"), "{}", out(&output));
    assert!(err(&output).contains("WRONGTYPE"), "{}", err(&output));
    assert_eq!(says(&server, &["GET", "a"]), "2\n");
}

#[test]
fn replies_of_both_protocols_are_shown_as_those_of_redis() {
    if !has_cli() {
        return;
    }
    let lines = [
        "HGETALL hash",
        "HGET hash f",
        "SMISMEMBER set a z",
        "ZRANGE zset 0 -1 WITHSCORES",
        "ZSCORE zset b",
        "LRANGE list 0 -1",
        "GET nothing",
        "CONFIG GET maxmemory",
        "OBJECT ENCODING hash",
        "MGET string:short nothing",
        "LPUSH string:short x",
        "ZADD zset INCR 0.5 b",
        "INCRBYFLOAT float 0.1",
        "COMMAND COUNT extra",
        "LATENCY DOCTOR extra",
    ];
    let mut shown = Vec::new();
    for server in servers() {
        fill(&server);
        let mut all = String::new();
        for line in lines {
            for format in [&["--no-raw"][..], &["--no-raw", "-3"], &["--csv"], &["--json", "-3"]] {
                let words = [format, &line.split(' ').collect::<Vec<_>>()].concat();
                let output = run(&server, &words, b"");
                all += &format!("{words:?}\n{}{}", out(&output), err(&output));
            }
        }
        shown.push(all);
    }
    assert!(shown[0].contains("1# \"f\" => \"1\"\n2# \"g\" => \"2\""), "{}", shown[0]);
    assert!(shown[0].contains("(double) 2.5"), "{}", shown[0]);
    assert!(shown[0].contains("\"abc\",NULL"), "{}", shown[0]);
    if let Some(theirs) = shown.get(1) {
        shown[0].lines().zip(theirs.lines()).for_each(|(ours, theirs)| assert_eq!(ours, theirs));
    }
}

#[test]
fn monitor_sees_the_commands_of_others() {
    if !has_terminal() {
        return;
    }
    let server = dse(&[]);
    let (mut terminal, _home) = terminal(&server, "MONITOR");
    terminal.expect("OK");
    prepare(&server, &["SET watched value", "GET watched"]);
    let line = terminal.expect("\"SET\" \"watched\" \"value\"");
    assert!(line.contains(" [0 127.0.0.1:"), "{line:?}");
    terminal.expect("\"GET\" \"watched\"");
    terminal.press(INTERRUPT);
}

#[test]
fn a_subscriber_gets_messages() {
    if !has_terminal() {
        return;
    }
    for protocol in ["", "-3"] {
        let server = dse(&[]);
        let (mut subscriber, _home) = terminal(&server, &format!("{protocol} SUBSCRIBE news"));
        subscriber.expect("\"subscribe\"");
        subscriber.expect("\"news\"");
        subscriber.expect("(integer) 1");
        assert_eq!(says(&server, &["PUBLISH", "news", "hello there"]), "1\n");
        subscriber.expect("\"message\"");
        subscriber.expect("\"news\"");
        subscriber.expect("\"hello there\"");
        subscriber.press(INTERRUPT);
        let (mut pattern, _home) = terminal(&server, &format!("{protocol} PSUBSCRIBE n*"));
        pattern.expect("(integer) 1");
        prepare(&server, &["PUBLISH news again"]);
        pattern.expect("\"pmessage\"");
        pattern.expect("\"again\"");
        pattern.press(INTERRUPT);
    }
}

#[test]
fn options_of_the_command_line_work() {
    if !has_cli() {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("socket").display().to_string();
    let server = dse(&["--unixsocket", &socket]);
    assert_eq!(out(&run(&server, &["-x", "SET", "binary"], b"a\x00\r\nb")), "OK\n");
    assert_eq!(run(&server, &["GET", "binary"], b"").stdout, b"a\x00\r\nb\n");
    assert_eq!(out(&run(&server, &["-X", "TAG", "SET", "TAG", "v"], b"k")), "OK\n");
    assert_eq!(says(&server, &["GET", "k"]), "v\n");
    assert_eq!(says(&server, &["-n", "2", "DBSIZE"]), "0\n");
    assert_eq!(says(&server, &["-r", "3", "INCR", "n"]), "1\n2\n3\n");
    assert_eq!(says(&server, &["-s", &socket, "GET", "n"]), "3\n");
    let uri = format!("redis://127.0.0.1:{}/1", server.address.port());
    assert_eq!(says(&server, &["-u", &uri, "SET", "there", "1"]), "OK\n");
    assert_eq!(says(&server, &["-n", "1", "-D", ";", "GET", "there"]), "1;");
    let failed = run(&server, &["-e", "INCR", "k"], b"");
    assert_eq!(failed.status.code(), Some(1));
    assert!(err(&failed).contains("ERR value is not an integer"), "{}", err(&failed));
    let script = out(&run(&server, &[], b"SET a 1\nINCR a\nnosuch\nGET a\n"));
    assert!(script.starts_with("OK\n2\nERR unknown command"), "{script}");
    assert!(script.ends_with("\n2\n"), "{script}");
}

#[test]
fn a_password_is_asked_for_and_taken() {
    if !has_cli() {
        return;
    }
    let server = dse(&["--requirepass", "secret"]);
    assert!(out(&run(&server, &["GET", "k"], b"")).starts_with("NOAUTH"));
    assert_eq!(says(&server, &["--no-auth-warning", "-a", "secret", "SET", "k", "v"]), "OK\n");
    let warned = run(&server, &["-a", "secret", "GET", "k"], b"");
    assert_eq!(out(&warned), "v\n");
    assert!(err(&warned).starts_with("Warning: "), "{}", err(&warned));
    let words = ["--no-auth-warning", "--user", "default", "-a", "secret", "GET", "k"];
    assert_eq!(says(&server, &words), "v\n");
    let wrong = run(&server, &["--no-auth-warning", "-a", "wrong", "GET", "k"], b"");
    assert!(err(&wrong).contains("WRONGPASS"), "{}", err(&wrong));
}

#[test]
fn who_wants_an_rdb_file_is_told_how_to_get_one() {
    if !has_cli() {
        return;
    }
    let server = dse(&[]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("dump.rdb").display().to_string();
    for option in ["--rdb", "--functions-rdb"] {
        let output = run(&server, &[option, &file], b"");
        assert_eq!(output.status.code(), Some(1), "{option}");
        assert!(err(&output).contains("dse-admin export"), "{}", err(&output));
    }
    let output = run(&server, &["--replica"], b"");
    assert!(err(&output).contains("does not replicate"), "{}", err(&output));
    assert_eq!(says(&server, &["PING"]), "PONG\n");
}
