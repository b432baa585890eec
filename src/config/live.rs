//! The live configuration: read by everybody, changed by CONFIG SET and by a reload.
//!
//! ```text
//! set_many --> check all names --> check all values --> publish --> hooks --> generation + 1
//!                                                          ^          | one refuses
//!                                                          +-- old ---+
//! ```
//!
//! Invariants: one change at a time (`change` is held from the first check to the last hook); a
//! change that fails leaves every value, and what the hooks made of them, as before.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::bind::{self, BindError, Listen};
use super::directive::{Directive, Flags, find};
use super::directives::TABLE;
use super::hot::Hot;
use super::load::{FileSource, LoadError, Loaded, Notice, Sources, words};
use super::password::Password;
use super::reason::Reason;
use super::rewrite;
use super::setting::{Origin, accept};
use super::value::{Kind, Value};
use super::values::Values;
use crate::util::glob;

/// Who asks for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client on this machine: the unix socket or a loopback address.
    Local,
    /// A client from elsewhere.
    Remote,
}

/// One directive that changed. Values that must not be logged are masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The directive.
    pub name: &'static str,
    /// What it was, as CONFIG GET gives it.
    pub old: String,
    /// What it is now.
    pub new: String,
}

/// The directives that changed, by name.
pub type Changed = Vec<Change>;

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What holds from now on.
    pub changed: Changed,
    /// What only a restart can change; the old values hold.
    pub ignored: Changed,
    /// What the file says that deserves a warning.
    pub notices: Vec<Notice>,
}

/// Why a value that fits its directive could not be put into effect, from a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// None of the addresses could be listened on.
    Bind,
    /// The port could not be listened on.
    Port,
    /// The limit of open files does not allow so many clients.
    Clients {
        /// How many it allows.
        possible: u64,
    },
    /// It takes a restart.
    Restart,
    /// The system refused.
    System(io::ErrorKind),
}

/// Why CONFIG SET, CONFIG REWRITE or a reload was refused; the text is what Redis answers, without
/// the leading `ERR`.
#[derive(Debug)]
pub enum ConfigError {
    /// No directive has the name.
    Unknown {
        /// The name as it was given.
        name: String,
    },
    /// A directive was refused.
    Set {
        /// The directive.
        name: String,
        /// Why.
        why: Refusal,
    },
    /// A directive of a file that was read again could not be put into effect.
    Reload {
        /// The directive.
        name: &'static str,
        /// Why.
        why: ApplyError,
    },
    /// There is no file to rewrite or to read again.
    NoFile,
    /// The file could not be written.
    Rewrite(io::Error),
    /// The file could not be read, or a line of it is bad.
    Load(LoadError),
}

/// Why one directive was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It cannot be changed at run time.
    Immutable,
    /// `enable-protected-configs` guards it.
    Protected,
    /// It was named twice.
    Duplicate,
    /// The value does not fit.
    Invalid(Reason),
    /// The value could not be put into effect.
    Apply(ApplyError),
}

/// What to do when one of some directives changed. It sees the new values; an error takes them
/// back, after which the hook is called once more with the old ones.
type Apply = dyn Fn(&Config) -> Result<(), ApplyError> + Send + Sync;

struct Hook {
    rows: Vec<usize>,
    apply: Box<Apply>,
}

/// The configuration of a running server. See the module for its invariants.
pub struct Config {
    /// The values of the data path.
    pub hot: Hot,
    values: RwLock<Arc<Values>>,
    password: Password,
    origins: Vec<Option<Origin>>,
    sources: Sources,
    hooks: RwLock<Vec<Hook>>,
    change: Mutex<()>,
    generation: AtomicU64,
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

impl Config {
    /// The defaults, without a file.
    pub fn new() -> Config {
        Config::with(Sources::default(), Loaded::default())
    }

    /// Defaults without limits: for a replay, which refuses nothing that was accepted once.
    pub fn permissive() -> Config {
        let config = Config::new();
        config.hot.lift_limits();
        config
    }

    /// The layers of `sources` over the defaults, and what deserves a warning.
    pub fn load(sources: Sources) -> Result<(Config, Vec<Notice>), LoadError> {
        let mut loaded = Loaded::from(&sources)?;
        let notices = std::mem::take(&mut loaded.notices);
        Ok((Config::with(sources, loaded), notices))
    }

    fn with(sources: Sources, loaded: Loaded) -> Config {
        let config = Config {
            hot: Hot::default(),
            values: RwLock::default(),
            password: Password::default(),
            origins: loaded.origins,
            sources,
            hooks: RwLock::default(),
            change: Mutex::default(),
            generation: AtomicU64::new(0),
        };
        config.publish(Arc::new(loaded.values));
        config
    }

    /// All values of one moment.
    pub fn values(&self) -> Arc<Values> {
        self.values.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Grows with every change, so that caches of derived values know when to look again.
    pub fn generation(&self) -> u64 {
        // Acquire: pairs with the Release in `publish`: who sees the number sees the values.
        self.generation.load(Ordering::Acquire)
    }

    /// Where the value of a directive was said at start-up; `None` for a default.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        find(name.as_bytes()).and_then(|index| self.origins[index].as_ref())
    }

    /// The configuration file, if there is one, as an absolute path.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.sources.file {
            FileSource::Path(path) => Some(std::path::absolute(path).unwrap_or(path.clone())),
            FileSource::None | FileSource::Text(_) => None,
        }
    }

    /// The sockets that `bind` and `port` ask for; none when `port` is 0. Asks the resolver when
    /// an address is a name.
    pub fn listen_addresses(&self) -> Result<Vec<Listen>, BindError> {
        let values = self.values();
        let words: Vec<String> = values.words("bind").iter().map(|word| lossy(word)).collect();
        match u16::try_from(values.int("port")) {
            Ok(port @ 1..) => bind::resolve(&words, port),
            _ => Ok(Vec::new()),
        }
    }

    /// True when `requirepass` is set and `guess` is it; compared in constant time.
    pub fn password_matches(&self, guess: &[u8]) -> bool {
        self.password.matches(guess)
    }

    /// Calls `apply` after a change of any of `names`, in the thread that makes the change and
    /// before the change is answered. A hook must not change the configuration itself.
    pub fn on_change(
        &self,
        names: &[&str],
        apply: impl Fn(&Config) -> Result<(), ApplyError> + Send + Sync + 'static,
    ) {
        let rows = names.iter().filter_map(|name| find(name.as_bytes())).collect();
        let hook = Hook { rows, apply: Box::new(apply) };
        self.hooks.write().unwrap_or_else(PoisonError::into_inner).push(hook);
    }

    /// CONFIG GET: names and values that match any of `patterns`, each name once. A pattern
    /// without `*`, `?` and `[` is a name, which comes back as it was asked for.
    pub fn get_matching(&self, patterns: &[&[u8]]) -> Vec<(String, Vec<u8>)> {
        let values = self.values();
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        let mut add = |name: String, index: usize| {
            if found.iter().all(|(known, _)| *known != name) {
                found.push((name, values.at(index).format()));
            }
        };
        for pattern in patterns {
            if !pattern.iter().any(|byte| b"*?[".contains(byte)) {
                if let Some(index) = find(pattern) {
                    add(String::from_utf8_lossy(pattern).into_owned(), index);
                }
                continue;
            }
            for (index, row) in TABLE.iter().enumerate().filter(|(_, row)| !row.is(Flags::HIDDEN)) {
                let names = row.listed_names();
                for name in names.filter(|name| glob::matches(pattern, name.as_bytes(), true)) {
                    add(name.into(), index);
                }
            }
        }
        found
    }

    /// CONFIG SET: all `pairs` of names and values, or none.
    pub fn set_many(
        &self,
        caller: Caller,
        pairs: &[(&[u8], &[u8])],
    ) -> Result<Changed, ConfigError> {
        let _alone = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.values();
        let rows = self.choose(caller, pairs)?;
        let mut new = Values::clone(&old);
        for (&index, (name, text)) in rows.iter().zip(pairs) {
            let value = checked(&TABLE[index], text, old.at(index));
            new.set(index, value.map_err(|why| refused(name, why))?);
        }
        let name_of = |index: usize| {
            let at = rows.iter().rposition(|row| *row == index).unwrap_or(0);
            lossy(pairs[at].0)
        };
        self.switch(&old, new)
            .map_err(|(index, error)| refused(name_of(index).as_bytes(), Refusal::Apply(error)))
    }

    /// CONFIG REWRITE: brings the file up to date; returns it.
    pub fn rewrite(&self) -> Result<PathBuf, ConfigError> {
        let _alone = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.file().ok_or(ConfigError::NoFile)?;
        let old = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(ConfigError::Rewrite)?,
        };
        let text = rewrite::render(&path, &old, &self.values()).map_err(ConfigError::Load)?;
        rewrite::replace(&path, &text).map_err(ConfigError::Rewrite)?;
        Ok(path)
    }

    /// Reads the file again, under the same environment and flags, and takes over what a restart
    /// would give, as far as it can change at run time. A bad line refuses the whole file.
    pub fn reload(&self) -> Result<Reloaded, ConfigError> {
        let _alone = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        self.file().ok_or(ConfigError::NoFile)?;
        let loaded = Loaded::from(&self.sources).map_err(ConfigError::Load)?;
        let old = self.values();
        let mut new = loaded.values;
        let mut ignored = Changed::new();
        for index in old.differing(&new) {
            if TABLE[index].needs_restart() {
                ignored.push(change(index, &old, &new));
                new.set(index, old.at(index).clone());
            }
        }
        let changed = self
            .switch(&old, new)
            .map_err(|(index, why)| ConfigError::Reload { name: TABLE[index].name, why })?;
        Ok(Reloaded { changed, ignored, notices: loaded.notices })
    }

    /// The rows that `pairs` name, if the caller may change them.
    fn choose(&self, caller: Caller, pairs: &[(&[u8], &[u8])]) -> Result<Vec<usize>, ConfigError> {
        let mut rows = Vec::with_capacity(pairs.len());
        for (position, (name, _)) in pairs.iter().enumerate() {
            let Some(index) = find(name) else {
                return Err(ConfigError::Unknown { name: lossy(name) });
            };
            let row = &TABLE[index];
            let earlier = pairs[..position].iter();
            let why = if row.is(Flags::IMMUTABLE) {
                Some(Refusal::Immutable)
            } else if row.is(Flags::PROTECTED) && !self.allows_protected(caller) {
                Some(Refusal::Protected)
            } else if earlier.into_iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                Some(Refusal::Duplicate)
            } else {
                None
            };
            if let Some(why) = why {
                return Err(refused(name, why));
            }
            rows.push(index);
        }
        Ok(rows)
    }

    fn allows_protected(&self, caller: Caller) -> bool {
        match self.values().choice("enable-protected-configs") {
            "yes" => true,
            "local" => caller == Caller::Local,
            _ => false,
        }
    }

    /// Puts `new` in the place of `old` and tells the hooks. On an error the old values are back,
    /// and the row of a directive that the refusing hook is for is returned.
    fn switch(&self, old: &Arc<Values>, new: Values) -> Result<Changed, (usize, ApplyError)> {
        let rows = old.differing(&new);
        if rows.is_empty() {
            return Ok(Changed::new());
        }
        let new = Arc::new(new);
        self.publish(new.clone());
        let hooks = self.hooks.read().unwrap_or_else(PoisonError::into_inner);
        let concerned = |hook: &&Hook| hook.rows.iter().any(|row| rows.contains(row));
        for (told, hook) in hooks.iter().filter(concerned).enumerate() {
            if let Err(error) = (hook.apply)(self) {
                self.publish(old.clone());
                for again in hooks.iter().filter(concerned).take(told + 1) {
                    // The old values were in effect a moment ago; if they fail now there is
                    // nothing left to go back to, and the first error is the one to tell.
                    _ = (again.apply)(self);
                }
                let row = hook.rows.iter().find(|row| rows.contains(row));
                return Err((row.copied().unwrap_or(rows[0]), error));
            }
        }
        Ok(rows.into_iter().map(|index| change(index, old, &new)).collect())
    }

    fn publish(&self, values: Arc<Values>) {
        self.password.set(values.text("requirepass"));
        self.hot.refresh(&values);
        *self.values.write().unwrap_or_else(PoisonError::into_inner) = values;
        // Release: pairs with the Acquire in `generation`.
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// The value that `text` gives to `row`, which is `old` now.
fn checked(row: &Directive, text: &[u8], old: &Value) -> Result<Value, Refusal> {
    let value = row.kind.parse(&[text], old).and_then(|value| accept(row, value));
    let value = value.map_err(Refusal::Invalid)?;
    if row.is(Flags::RESTART) && value != *old {
        return Err(Refusal::Immutable);
    }
    if let (Kind::Directory, Value::Text(path)) = (row.kind, &value) {
        check_directory(path).map_err(|kind| Refusal::Invalid(Reason::Directory(kind)))?;
    }
    Ok(value)
}

fn check_directory(path: &[u8]) -> Result<(), io::ErrorKind> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(io::ErrorKind::NotADirectory),
        Err(error) => Err(error.kind()),
    }
}

fn change(index: usize, old: &Values, new: &Values) -> Change {
    let row = &TABLE[index];
    let text = |values: &Values| match row.is(Flags::SENSITIVE) {
        true => "***".into(),
        false => lossy(&values.at(index).format()),
    };
    Change { name: row.name, old: text(old), new: text(new) }
}

fn refused(name: &[u8], why: Refusal) -> ConfigError {
    ConfigError::Set { name: lossy(name), why }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Immutable => f.write_str("can't set immutable config"),
            Refusal::Protected => f.write_str("can't set protected config"),
            Refusal::Duplicate => f.write_str("duplicate parameter"),
            Refusal::Invalid(reason) => write!(f, "{reason}"),
            Refusal::Apply(error) => write!(f, "{error}"),
        }
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApplyError::Bind => f.write_str("Failed to bind to specified addresses."),
            ApplyError::Port => f.write_str("Unable to listen on this port. Check server logs."),
            ApplyError::Clients { possible } => write!(
                f,
                "The operating system is not able to handle the specified number of clients, \
                 try with {possible}"
            ),
            ApplyError::Restart => {
                f.write_str("it can only be changed in the configuration file, for the next start")
            }
            ApplyError::System(kind) => write!(f, "{kind}"),
        }
    }
}

impl std::error::Error for ApplyError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unknown { name } => {
                write!(f, "Unknown option or number of arguments for CONFIG SET - '{name}'")
            }
            ConfigError::Set { name, why } => {
                write!(f, "CONFIG SET failed (possibly related to argument '{name}') - {why}")
            }
            ConfigError::Reload { name, why } => write!(f, "{name}: {why}"),
            ConfigError::NoFile => f.write_str("The server is running without a config file"),
            ConfigError::Rewrite(error) => write!(f, "Rewriting config file: {}", words(error)),
            ConfigError::Load(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::super::setting::Setting;
    use super::*;

    fn set(config: &Config, pairs: &[(&str, &str)]) -> Result<Changed, String> {
        let pairs: Vec<(&[u8], &[u8])> =
            pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        config.set_many(Caller::Remote, &pairs).map_err(|error| error.to_string())
    }

    fn get(config: &Config, name: &str) -> String {
        let found = config.get_matching(&[name.as_bytes()]);
        assert_eq!(found.len(), 1, "{name}");
        lossy(&found[0].1)
    }

    fn names(config: &Config, patterns: &[&str]) -> Vec<String> {
        let patterns: Vec<&[u8]> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
        config.get_matching(&patterns).into_iter().map(|(name, _)| name).collect()
    }

    fn with_flags(flags: &[(&str, &str)]) -> Config {
        let setting = |(name, value): &(&str, &str)| Setting {
            name: (*name).into(),
            args: vec![value.as_bytes().to_vec()],
            origin: Origin::Flag((*name).into()),
        };
        let flags = flags.iter().map(setting).collect();
        Config::load(Sources { flags, ..Sources::default() }).unwrap().0
    }

    /// The text of the refusal of one pair, behind the part that names the directive.
    fn refusal(config: &Config, name: &str, value: &str) -> String {
        let text = set(config, &[(name, value)]).unwrap_err();
        let head = format!("CONFIG SET failed (possibly related to argument '{name}') - ");
        text.strip_prefix(&head).unwrap_or_else(|| panic!("{text}")).into()
    }

    #[test]
    fn every_directive_takes_back_what_it_gave() {
        let config = Config::new();
        let before = config.get_matching(&[b"*"]);
        for (name, value) in &before {
            let row = &TABLE[find(name.as_bytes()).unwrap()];
            let result = config.set_many(Caller::Remote, &[(name.as_bytes(), value)]);
            match result {
                Ok(changed) => assert_eq!(changed, [], "{name}"),
                Err(error) => {
                    let fixed = row.is(Flags::IMMUTABLE) || row.is(Flags::PROTECTED);
                    assert!(fixed, "{name}: {error}");
                }
            }
        }
        assert_eq!(config.get_matching(&[b"*"]), before);
    }

    #[test]
    fn refusals_have_the_words_of_redis() {
        let config = Config::new();
        for (name, value, words) in [
            ("port", "abc", "argument couldn't be parsed into an integer"),
            ("port", "70000", "argument must be between 0 and 65535 inclusive"),
            ("timeout", "1kb", "argument couldn't be parsed into an integer"),
            ("timeout", "01", "argument couldn't be parsed into an integer"),
            ("daemonize", "yes", "can't set immutable config"),
            ("dir", "/", "can't set protected config"),
            ("maxmemory", "1.5gb", "argument must be a memory value"),
            ("maxmemory-clients", "101%", "percentage argument must be less or equal to 100"),
            ("maxmemory-clients", "-5", "argument must be a memory or percent value"),
            ("appendonly", "maybe", "argument must be 'yes' or 'no'"),
            ("appendfsync", "x", "argument(s) must be one of the following: everysec, always, no"),
            ("save", "60", "Invalid save parameters"),
            ("save", "0 1", "Invalid save parameters"),
            ("save", "60  1", "Invalid save parameters"),
            (
                "client-output-buffer-limit",
                "normal 1 2",
                "Wrong number of arguments in buffer limit configuration.",
            ),
            (
                "notify-keyspace-events",
                "q",
                "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.",
            ),
            (
                "latency-tracking-info-percentiles",
                "50 101",
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
            ),
            ("oom-score-adj-values", "1 2", "wrong number of arguments"),
            (
                "oom-score-adj-values",
                "1 2 3000",
                "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
            ),
            (
                "shutdown-on-sigint",
                "nosave save",
                "shutdown options SAVE and NOSAVE can't be used simultaneously",
            ),
            (
                "proto-max-bulk-len",
                "1",
                "argument must be between 1048576 and 9223372036854775807 inclusive",
            ),
            (
                "proc-title-template",
                "{bad}",
                "template format is invalid or contains unknown variables",
            ),
            (
                "cluster-announce-hostname",
                "bad host!",
                "Hostnames may only contain alphanumeric characters, hyphens or dots",
            ),
            ("bind", "a b c d e f g h i j k l m n o p q", "Too many bind addresses specified."),
        ] {
            assert_eq!(refusal(&config, name, value), words, "{name} {value}");
        }
    }

    #[test]
    fn the_first_mistake_is_the_one_that_is_told() {
        let config = Config::new();
        assert_eq!(
            set(&config, &[("foo", "1"), ("daemonize", "no")]).unwrap_err(),
            "Unknown option or number of arguments for CONFIG SET - 'foo'"
        );
        assert_eq!(
            set(&config, &[("maxclients", "5"), ("hz", "5"), ("MAXCLIENTS", "6")]).unwrap_err(),
            "CONFIG SET failed (possibly related to argument 'MAXCLIENTS') - duplicate parameter"
        );
    }

    #[test]
    fn values_come_back_in_their_canonical_form() {
        let config = Config::new();
        for (name, given, back) in [
            ("maxmemory", "1Gb", "1073741824"),
            ("maxmemory", "18446744073709551615", "18446744073709551615"),
            ("maxmemory-clients", "5%", "5%"),
            ("maxmemory-policy", "ALLKEYS-LRU", "allkeys-lru"),
            ("appendonly", "YES", "yes"),
            ("save", "60 1 300 10", "60 1 300 10"),
            ("save", "", ""),
            ("notify-keyspace-events", "KEA", "AKE"),
            ("latency-tracking-info-percentiles", "50.0 33.33333333 0.001", "50 33.333333 0.001"),
            ("latency-tracking-info-percentiles", "", ""),
            ("shutdown-on-sigterm", "force default now", "now force"),
            ("oom-score-adj-values", "3 2 1", "3 2 1"),
            (
                "client-output-buffer-limit",
                "normal 1mb 2k 3 replica 7 8 9",
                "normal 1048576 2000 3 slave 7 8 9 pubsub 33554432 8388608 60",
            ),
        ] {
            set(&config, &[(name, given)]).unwrap();
            assert_eq!(get(&config, name), back, "{name} {given}");
        }
    }

    #[test]
    fn one_bad_value_leaves_all_as_they_were() {
        let config = Config::new();
        let generation = config.generation();
        set(&config, &[("maxmemory", "1mb"), ("timeout", "x")]).unwrap_err();
        assert_eq!(get(&config, "maxmemory"), "0");
        assert_eq!(config.hot.maxmemory(), 0);
        assert_eq!(config.generation(), generation);
        let changed = set(&config, &[("maxmemory", "1mb"), ("timeout", "7")]).unwrap();
        assert_eq!(changed.len(), 2);
        assert_eq!((config.hot.maxmemory(), config.hot.timeout_s()), (1 << 20, 7));
        assert!(config.generation() > generation);
    }

    #[test]
    fn a_refusing_hook_takes_the_whole_change_back() {
        let config = Config::new();
        let (seen, witness) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (counter, counts) = (seen.clone(), witness.clone());
        config.on_change(&["maxmemory"], move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        config.on_change(&["maxclients", "timeout"], move |config| {
            let clients = config.values().int("maxclients");
            counts.lock().unwrap().push(clients);
            if clients > 20_000 { Err(ApplyError::Clients { possible: 19_968 }) } else { Ok(()) }
        });
        let error = set(&config, &[("maxmemory", "1mb"), ("maxclients", "30000")]).unwrap_err();
        assert_eq!(
            error,
            "CONFIG SET failed (possibly related to argument 'maxclients') - The operating system \
             is not able to handle the specified number of clients, try with 19968"
        );
        assert_eq!((get(&config, "maxclients"), config.hot.maxmemory()), ("10000".into(), 0));
        assert_eq!(*witness.lock().unwrap(), [30_000, 10_000], "told again with the old value");
        assert_eq!(seen.load(Ordering::Relaxed), 2);
        set(&config, &[("maxclients", "700")]).unwrap();
        assert_eq!(*witness.lock().unwrap(), [30_000, 10_000, 700]);
        set(&config, &[("maxclients", "700")]).unwrap();
        assert_eq!(witness.lock().unwrap().len(), 3, "no change, no call");
    }

    #[test]
    fn aliases_are_the_same_value() {
        let config = Config::new();
        set(&config, &[("hash-max-ziplist-entries", "7")]).unwrap();
        assert_eq!(get(&config, "hash-max-listpack-entries"), "7");
        assert_eq!(config.hot.hash_max_listpack_entries(), 7);
        set(&config, &[("slave-priority", "3"), ("replica-priority", "4")]).unwrap();
        assert_eq!(get(&config, "slave-priority"), "4");
        assert_eq!(
            names(&config, &["list-max-*-size"]),
            ["list-max-listpack-size", "list-max-ziplist-size"]
        );
    }

    #[test]
    fn protected_directives_follow_their_switch() {
        let pairs: [(&[u8], &[u8]); 1] = [(b"dbfilename", b"x.rdb")];
        for (switch, local, remote) in
            [("no", false, false), ("local", true, false), ("yes", true, true)]
        {
            let config = with_flags(&[("enable-protected-configs", switch)]);
            assert_eq!(config.set_many(Caller::Local, &pairs).is_ok(), local, "{switch}");
            assert_eq!(config.set_many(Caller::Remote, &pairs).is_ok(), remote, "{switch}");
        }
        let config = with_flags(&[("enable-protected-configs", "yes")]);
        assert_eq!(refusal(&config, "dir", "/no/such/place"), "No such file or directory");
        assert_eq!(refusal(&config, "dir", ""), "No such file or directory");
        assert_eq!(refusal(&config, "dir", "/dev/null"), "Not a directory");
        assert_eq!(
            refusal(&config, "dbfilename", "a/b"),
            "dbfilename can't be a path, just a filename"
        );
        set(&config, &[("data", "/")]).unwrap();
        assert_eq!(get(&config, "dir"), "/");
    }

    #[test]
    fn what_would_break_a_promise_if_ignored_is_refused() {
        let config = Config::new();
        assert_eq!(refusal(&config, "tls-port", "6380"), "this server does not support it");
        set(&config, &[("tls-port", "0")]).unwrap();
        let error = Config::load(Sources {
            file: FileSource::Text(b"replicaof 10.0.0.1 6379".to_vec()),
            ..Sources::default()
        });
        let text = error.err().unwrap().to_string();
        assert!(text.contains("this server does not support it"), "{text}");
    }

    #[test]
    fn what_needs_a_restart_can_be_set_to_what_it_is() {
        let config = with_flags(&[("threads", "3")]);
        set(&config, &[("threads", "3")]).unwrap();
        assert_eq!(refusal(&config, "threads", "4"), "can't set immutable config");
        set(&config, &[("port", "1")]).unwrap();
    }

    #[test]
    fn patterns_find_names_in_any_case_and_each_once() {
        let config = Config::new();
        assert_eq!(names(&config, &["MAXC*"]), ["maxclients"]);
        assert_eq!(names(&config, &["max[c]lients", "maxclients"]), ["maxclients"]);
        assert_eq!(names(&config, &["PoRt"]), ["PoRt"], "a plain name comes back as it came");
        assert_eq!(names(&config, &["nothing", "nothing*"]), [""; 0]);
        assert_eq!(names(&config, &["key-load-delay"]), ["key-load-delay"]);
        assert_eq!(names(&config, &["key-load*", "data*"]), ["databases"], "hidden ones are not");
    }

    #[test]
    fn a_password_is_neither_lost_nor_shown() {
        let config = Config::new();
        let pairs: [(&[u8], &[u8]); 1] = [(b"requirepass", b"\xffsecret")];
        let changed = config.set_many(Caller::Local, &pairs).unwrap();
        assert_eq!((changed[0].old.as_str(), changed[0].new.as_str()), ("***", "***"));
        assert!(config.hot.requirepass_is_set());
        assert!(config.password_matches(b"\xffsecret") && !config.password_matches(b"secret"));
        assert_eq!(config.get_matching(&[b"requirepass"])[0].1, b"\xffsecret");
        set(&config, &[("requirepass", "")]).unwrap();
        assert!(!config.hot.requirepass_is_set() && !config.password_matches(b""));
    }

    #[test]
    fn without_a_file_there_is_nothing_to_rewrite_or_reload() {
        let config = Config::new();
        let text = "The server is running without a config file";
        assert_eq!(config.rewrite().unwrap_err().to_string(), text);
        assert_eq!(config.reload().unwrap_err().to_string(), text);
    }

    fn with_file(text: &str) -> (tempfile::TempDir, PathBuf, Config) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dse.conf");
        std::fs::write(&path, text).unwrap();
        let flags = vec![Setting {
            name: "hz".into(),
            args: vec![b"50".to_vec()],
            origin: Origin::Flag("hz".into()),
        }];
        let sources = Sources { file: FileSource::Path(path.clone()), flags, ..Sources::default() };
        let config = Config::load(sources).unwrap().0;
        (directory, path, config)
    }

    #[test]
    fn a_reload_does_what_a_restart_would_as_far_as_it_can() {
        let (_directory, path, config) = with_file("maxmemory 1mb\nthreads 2\nhz 20\n");
        set(&config, &[("timeout", "9")]).unwrap();
        std::fs::write(&path, "maxmemory 2mb\nthreads 4\nhz 30\nrequirepass x\n").unwrap();
        let reloaded = config.reload().unwrap();
        let texts: Vec<String> = reloaded
            .changed
            .iter()
            .map(|change| format!("{} {}->{}", change.name, change.old, change.new))
            .collect();
        assert_eq!(
            texts,
            ["maxmemory 1048576->2097152", "requirepass ***->***", "timeout 9->0"],
            "the flag stands over the file"
        );
        assert_eq!(reloaded.ignored.len(), 1);
        assert_eq!(reloaded.ignored[0].name, "threads");
        assert_eq!(get(&config, "threads"), "2");
    }

    #[test]
    fn a_bad_line_refuses_the_whole_file() {
        let (_directory, path, config) = with_file("maxmemory 1mb\n");
        std::fs::write(&path, "maxmemory 2mb\nmaxclient 7\n").unwrap();
        let error = config.reload().unwrap_err().to_string();
        assert!(
            error
                .ends_with("dse.conf:2: unknown directive 'maxclient'; did you mean 'maxclients'?")
        );
        assert_eq!(config.hot.maxmemory(), 1 << 20);
        std::fs::remove_file(&path).unwrap();
        assert!(config.reload().unwrap_err().to_string().contains("cannot read"));
    }

    #[test]
    fn a_rewritten_file_gives_the_same_values_on_the_next_start() {
        let (_directory, path, config) = with_file("# ours\nmaxmemory 1mb\n\ntimeout 5\n");
        set(
            &config,
            &[("timeout", "6"), ("save", "60 1 300 10"), ("maxmemory-policy", "allkeys-lfu")],
        )
        .unwrap();
        assert_eq!(config.rewrite().unwrap(), path);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# ours\nmaxmemory 1mb\n\ntimeout 6\n"), "{text}");
        let file = FileSource::Path(path.clone());
        let again = Config::load(Sources { file, ..Sources::default() }).unwrap().0;
        assert_eq!(*again.values(), *config.values());
        config.rewrite().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "a second time changes nothing");
    }
}
