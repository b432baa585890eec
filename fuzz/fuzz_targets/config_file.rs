//! A configuration file never brings the server down, and what it says can be written again.

#![no_main]

use std::fmt::Write;

use dse::config::load::{FileSource, Sources};
use dse::config::{Config, TABLE, file};
use libfuzzer_sys::fuzz_target;

fn load(text: Vec<u8>) -> Option<Config> {
    let sources = Sources { file: FileSource::Text(text), ..Sources::default() };
    Config::load(sources).ok().map(|(config, _)| config)
}

fuzz_target!(|data: &[u8]| {
    let Ok(lines) = file::parse(data) else { return };
    // Every word reads back from its quoted form.
    for line in &lines {
        let words: Vec<String> = line.args.iter().map(|word| file::quote(word)).collect();
        let again = file::parse(format!("port {}", words.join(" ")).as_bytes()).unwrap();
        assert_eq!(again[0].args, line.args);
    }
    // Whatever stands on this machine is none of the fuzzer's business.
    if lines.iter().any(|line| line.name == "include") {
        return;
    }
    let Some(config) = load(data.to_vec()) else { return };
    let values = config.values();
    let mut text = String::new();
    for (index, row) in TABLE.iter().enumerate() {
        for line in values.at(index).file_lines() {
            writeln!(text, "{} {line}", row.name).unwrap();
        }
        // What CONFIG GET gives can be set.
        let value = values.at(index);
        let again = row.kind.parse(&[&value.format()], value);
        assert_eq!(again.as_ref(), Ok(value), "{}", row.name);
    }
    let again = load(text.into_bytes()).expect("what was written can be read");
    assert_eq!(again.values(), values);
});
