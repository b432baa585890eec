//! redis-benchmark as people use it: parts of what `scripts/redis_benchmark_matrix` runs in full.

mod common;

use common::terminal::are_there;
use std::path::Path;
use std::process::Command;

#[test]
fn a_part_of_the_matrix_of_redis_benchmark_runs_clean() {
    if !are_there(&["redis-benchmark", "redis-cli", "python3", "timeout"]) {
        return;
    }
    let runs = ["default", "P16-r-resp3", "d100000"];
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/redis_benchmark_matrix");
    let output = Command::new(script)
        .args(["--only", &runs.join(",")])
        .env("SERVER_PROGRAM", env!("CARGO_BIN_EXE_dse-server"))
        .envs([("N", "1000"), ("LRANGE_N", "200"), ("ROUNDS", "1")])
        .output()
        .expect("it is there");
    let table = String::from_utf8_lossy(&output.stdout);
    let said = format!("{table}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    for run in runs {
        let row = table.lines().find(|line| line.starts_with(&format!("| {run} |")));
        assert!(row.is_some_and(|row| row.contains("| ok |")), "{run}: {said}");
    }
}
