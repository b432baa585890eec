//! The log: level, form and place, as the configuration says.
//!
//! ```text
//! tracing events --> level (can change at run time) --> text or JSON --> Output --> stdout | file
//! ```
//!
//! A line that cannot be written is lost without a word: a full disk or a closed pipe must not
//! stop a server, and there is no other place to say it.
//!
//! Deliberately absent: a queue in front of the file. The data path does not log, so nobody
//! waits for the disk.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;

use crate::config::{Config, Values};

/// The log file could not be opened; the text names it.
#[derive(Debug)]
pub struct LogError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "logfile {}: {}", self.path.display(), self.source)
    }
}

impl std::error::Error for LogError {}

/// The log of the process.
#[derive(Clone)]
pub struct Logging {
    level: reload::Handle<LevelFilter, Registry>,
    output: Output,
}

impl Logging {
    /// Makes the log that `config` asks for the log of the process, once, and lets
    /// `CONFIG SET loglevel` change its level.
    pub fn start(config: &Config) -> Result<Logging, LogError> {
        let (subscriber, logging) = Logging::prepare(&config.values())?;
        // A second call finds the first log in place and leaves it there.
        _ = tracing::subscriber::set_global_default(subscriber);
        logging.follow(config);
        Ok(logging)
    }

    /// The same without making it the log of the process.
    fn prepare(
        values: &Values,
    ) -> Result<(impl Subscriber + Send + Sync + use<>, Logging), LogError> {
        let output = Output::open(values.text("logfile"))?;
        let (level, handle) = reload::Layer::new(level_filter(values.choice("loglevel")));
        let json = values.choice("log-format") == "json";
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(output.clone())
            .with_ansi(output.is_terminal())
            .with_target(false)
            .log_internal_errors(false);
        let lines = match json {
            true => lines.json().flatten_event(true).boxed(),
            false => lines.boxed(),
        };
        let subscriber = Registry::default().with(level).with(lines);
        Ok((subscriber, Logging { level: handle, output }))
    }

    /// Keeps the level equal to the directive.
    fn follow(&self, config: &Config) {
        let log = self.clone();
        config.on_change(&["loglevel"], move |config| {
            log.set_level(config.values().choice("loglevel"));
            Ok(())
        });
    }

    /// Sets the least importance of what is logged, by the names of `loglevel`.
    pub fn set_level(&self, name: &str) {
        // It fails only when the log of the process is gone, which it is never.
        _ = self.level.reload(level_filter(name));
    }

    /// True when the log goes to a file rather than to standard output.
    pub fn has_file(&self) -> bool {
        matches!(self.output, Output::File(_))
    }

    /// Opens the file again, after it was moved away. On an error the old file stays in use.
    pub fn reopen(&self) -> Result<(), LogError> {
        self.output.reopen()
    }
}

/// What of tracing's levels a word of `loglevel` lets through.
fn level_filter(name: &str) -> LevelFilter {
    match name {
        "debug" => LevelFilter::TRACE,
        "verbose" => LevelFilter::DEBUG,
        "warning" => LevelFilter::WARN,
        "nothing" => LevelFilter::OFF,
        _ => LevelFilter::INFO,
    }
}

/// Where lines go.
#[derive(Clone)]
enum Output {
    Stdout,
    File(Arc<LogFile>),
}

struct LogFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl Output {
    /// The file, or standard output when there is no name.
    fn open(name: &[u8]) -> Result<Output, LogError> {
        if name.is_empty() {
            return Ok(Output::Stdout);
        }
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(name));
        // Absolute, so that a later reopening finds the same place.
        let path = std::path::absolute(&path).unwrap_or(path);
        let file = Mutex::new(append_to(&path)?);
        Ok(Output::File(Arc::new(LogFile { path, file })))
    }

    fn is_terminal(&self) -> bool {
        use std::io::IsTerminal;
        matches!(self, Output::Stdout) && io::stdout().is_terminal()
    }

    fn reopen(&self) -> Result<(), LogError> {
        if let Output::File(log) = self {
            let file = append_to(&log.path)?;
            *log.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
        }
        Ok(())
    }
}

fn append_to(path: &Path) -> Result<File, LogError> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.map_err(|source| LogError { path: path.to_path_buf(), source })
}

impl Write for &Output {
    /// One call is one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Losing a line is better than whatever the caller would do about an error.
        _ = match self {
            Output::Stdout => io::stdout().lock().write_all(line),
            Output::File(log) => {
                log.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line)
            }
        };
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = &'a Output;

    fn make_writer(&'a self) -> &'a Output {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Caller;

    fn log_to(file: &Path, more: &[(&[u8], &[u8])]) -> (Config, Logging, impl Subscriber + use<>) {
        let mut flags = vec![("logfile", file.as_os_str().as_bytes().to_vec())];
        for (name, value) in more {
            flags.push((std::str::from_utf8(name).unwrap(), value.to_vec()));
        }
        let setting = |(name, value): (&str, Vec<u8>)| crate::config::Setting {
            name: name.into(),
            args: vec![value],
            origin: crate::config::Origin::Flag(name.into()),
        };
        let flags = flags.into_iter().map(setting).collect();
        let sources = crate::config::load::Sources { flags, ..Default::default() };
        let (config, _) = Config::load(sources).unwrap();
        let (subscriber, logging) = Logging::prepare(&config.values()).unwrap();
        logging.follow(&config);
        (config, logging, subscriber)
    }

    fn lines(file: &Path) -> Vec<String> {
        std::fs::read_to_string(file).unwrap().lines().map(String::from).collect()
    }

    #[test]
    fn the_level_can_change_while_the_server_runs() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("log");
        let (config, _logging, subscriber) = log_to(&file, &[]);
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("hidden");
            tracing::info!(port = 6379, "listening");
            config.set_many(Caller::Local, &[(b"loglevel", b"verbose")]).unwrap();
            tracing::debug!("shown");
            config.set_many(Caller::Local, &[(b"loglevel", b"nothing")]).unwrap();
            tracing::error!("hidden");
        });
        let lines = lines(&file);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("listening port=6379"), "{}", lines[0]);
        assert!(lines[1].ends_with("shown"));
    }

    #[test]
    fn json_lines_are_objects() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("log");
        let (_config, _logging, subscriber) = log_to(&file, &[(b"log-format", b"json")]);
        tracing::subscriber::with_default(subscriber, || tracing::warn!(pid = 7, "a \"word\""));
        let line = &lines(&file)[0];
        assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
        assert!(line.contains(r#""level":"WARN""#), "{line}");
        assert!(line.contains(r#""message":"a \"word\"""#), "{line}");
        assert!(line.contains(r#""pid":7"#), "{line}");
    }

    #[test]
    fn a_moved_file_is_left_for_a_new_one_when_reopened() {
        let directory = tempfile::tempdir().unwrap();
        let (file, moved) = (directory.path().join("log"), directory.path().join("log.1"));
        let (_config, logging, subscriber) = log_to(&file, &[]);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("one");
            std::fs::rename(&file, &moved).unwrap();
            tracing::info!("two");
            logging.reopen().unwrap();
            tracing::info!("three");
        });
        assert_eq!(lines(&moved).len(), 2);
        assert_eq!(lines(&file).len(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let error = Output::open(b"/no/such/directory/log").err().unwrap();
        assert!(error.to_string().contains("/no/such/directory/log"), "{error}");
    }
}
