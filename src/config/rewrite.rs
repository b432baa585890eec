//! CONFIG REWRITE: the file says what holds now, and keeps its comments and its order.
//!
//! Two steps. Every line of a directive is brought up to date where it stands; then the text is
//! read as a start would read it, includes and all, and whatever still differs is appended. So
//! the result gives the live values by construction, wherever an `include` may stand.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::directive::find;
use super::directives::{COUNT, TABLE};
use super::file::{parse_line, raw_lines};
use super::load::{LoadError, Loaded};
use super::value::Value;
use super::values::Values;

/// The comment over the lines that were appended.
const MARK: &str = "# Written by CONFIG REWRITE";

/// The text of the file at `path`, which holds `old` now, that gives `values`.
pub(super) fn render(path: &Path, old: &[u8], values: &Values) -> Result<Vec<u8>, LoadError> {
    let mut text = update_lines(old, values);
    let given = Loaded::of_text(path, &text)?;
    let missing = values.differing(&given);
    if missing.is_empty() {
        return Ok(text);
    }
    if !raw_lines(&text).any(|line| line == MARK.as_bytes()) {
        push_line(&mut text, MARK.as_bytes());
    }
    for index in missing {
        append(&mut text, index, values);
    }
    Ok(text)
}

/// `old` with each directive's first line saying its value, and its other lines gone.
fn update_lines(old: &[u8], values: &Values) -> Vec<u8> {
    let mut text = Vec::with_capacity(old.len());
    let mut done = [false; COUNT];
    for line in raw_lines(old.strip_suffix(b"\n").unwrap_or(old)) {
        // The number is of no interest: a line that cannot be read stays as it is.
        let said = parse_line(line, 0).ok().flatten();
        let named = said.and_then(|said| Some((find(said.name.as_bytes())?, said)));
        let Some((index, said)) = named else {
            push_line(&mut text, line);
            continue;
        };
        if done[index] {
            continue;
        }
        done[index] = true;
        if says(index, &said.args, values) {
            push_line(&mut text, line);
        } else {
            push_value(&mut text, &said.name, values.at(index));
        }
    }
    text
}

/// True when a line with these arguments gives the whole value, so that it can stay as it is.
fn says(index: usize, args: &[Vec<u8>], values: &Values) -> bool {
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    let default = TABLE[index].default_value();
    TABLE[index].kind.parse(&args, &default).is_ok_and(|value| value == *values.at(index))
}

fn append(text: &mut Vec<u8>, index: usize, values: &Values) {
    let name = TABLE[index].name;
    // `save` lines add up: those of an included file must not be added to ours.
    if matches!(values.at(index), Value::Save(rules) if !rules.is_empty()) {
        push_line(text, b"save \"\"");
    }
    push_value(text, name, values.at(index));
}

fn push_value(text: &mut Vec<u8>, name: &str, value: &Value) {
    for args in value.file_lines() {
        push_line(text, format!("{name} {args}").as_bytes());
    }
}

fn push_line(text: &mut Vec<u8>, line: &[u8]) {
    text.extend_from_slice(line);
    text.push(b'\n');
}

/// Puts `text` in the place of the file at `path` so that a crash leaves the old or the new one.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let temporary = temporary_name(&path);
    let written = write_synced(&temporary, &path, text);
    let renamed = written.and_then(|()| fs::rename(&temporary, &path));
    if renamed.is_err() {
        // The file is not ours to leave behind; the error that matters is the first one.
        _ = fs::remove_file(&temporary);
    }
    renamed?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

fn write_synced(temporary: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(temporary)?;
    file.set_permissions(fs::metadata(path)?.permissions())?;
    file.write_all(text)?;
    file.sync_all()
}

/// A name beside `path`, so that the rename stays within one file system.
fn temporary_name(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}
