//! Layers: flags over environment over file over defaults.
//!
//! Within a layer a later line replaces an earlier one, except that `save` lines add up (an empty
//! one starts over) and `client-output-buffer-limit` lines name one class each. A layer that says
//! `save` at all replaces the rules of the layers below.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::directive::{Flags, find, nearest};
use super::directives::{COUNT, TABLE};
use super::file::{self, SyntaxError};
use super::setting::{BadSetting, Origin, Setting};
use super::value::Value;
use super::values::Values;
use crate::limits::{CONFIG_FILE_BYTES_MAX, CONFIG_FILES_MAX, CONFIG_INCLUDE_DEPTH_MAX};
use crate::util::glob;

/// Directives of old files that mean nothing any more, to Redis neither.
const OBSOLETE: [&str; 3] =
    ["list-max-ziplist-entries", "list-max-ziplist-value", "lua-replicate-commands"];

/// How the name of every variable starts.
const VARIABLE_PREFIX: &str = "DSE_";

/// The file of a configuration.
#[derive(Clone, Debug, Default)]
pub enum FileSource {
    /// There is none.
    #[default]
    None,
    /// A file that CONFIG REWRITE and a reload can return to.
    Path(PathBuf),
    /// Text from standard input.
    Text(Vec<u8>),
}

/// Everything that was said at start-up.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The lowest layer over the defaults.
    pub file: FileSource,
    /// Settings of the environment.
    pub environment: Vec<Setting>,
    /// Settings of the command line, the highest layer.
    pub flags: Vec<Setting>,
}

/// The values of all layers together.
#[derive(Debug)]
pub struct Loaded {
    /// The values.
    pub values: Values,
    /// Where each value of the table was said last; `None` for a default.
    pub origins: Vec<Option<Origin>>,
    /// What was accepted but deserves a warning.
    pub notices: Vec<Notice>,
}

/// Something that was accepted but deserves a warning; its text is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The directive is from an old version and means nothing.
    Obsolete(Setting),
    /// The directive differs from its default and has no effect.
    WithoutEffect(Setting),
    /// A variable looks like one of ours but names no directive.
    UnknownVariable(String),
    /// A variable holds the address of a Kubernetes service, not a value for us.
    ServiceLink(String),
}

/// Why a configuration could not be loaded; its text is one line.
#[derive(Debug)]
pub enum LoadError {
    /// A setting was refused.
    Setting(BadSetting),
    /// A file could not be read.
    Read {
        /// The file.
        path: PathBuf,
        /// The line that includes it, if one does.
        by: Option<Origin>,
        /// What the system said.
        source: io::Error,
    },
    /// A line cannot be cut into words.
    Syntax {
        /// The file.
        path: PathBuf,
        /// Its line.
        source: SyntaxError,
    },
    /// Files include each other too deeply, or too many times.
    Include(Origin),
}

impl Loaded {
    /// Puts the layers of `sources` over the defaults.
    pub fn from(sources: &Sources) -> Result<Loaded, LoadError> {
        let mut loaded = Loaded::default();
        loaded.apply(read_source(&sources.file)?)?;
        loaded.apply(sources.environment.clone())?;
        loaded.apply(sources.flags.clone())?;
        loaded.note_without_effect();
        Ok(loaded)
    }

    /// The values that a file with this text would give, if it lay at `path`.
    pub(super) fn of_text(path: &Path, text: &[u8]) -> Result<Values, LoadError> {
        let mut reader = Reader::default();
        reader.read_text(path, text, 0)?;
        let mut loaded = Loaded::default();
        loaded.apply(reader.settings)?;
        Ok(loaded.values)
    }

    /// Applies one layer.
    fn apply(&mut self, layer: Vec<Setting>) -> Result<(), LoadError> {
        let mut said = [false; COUNT];
        for setting in layer {
            if OBSOLETE.contains(&setting.name.as_str()) {
                self.notices.push(Notice::Obsolete(setting));
                continue;
            }
            let index = setting.row()?;
            let value = setting.value(index, self.values.at(index))?;
            let value = match (said[index], self.values.at(index), value) {
                (true, Value::Save(before), Value::Save(more)) if !more.is_empty() => {
                    Value::Save([before.as_slice(), &more].concat())
                }
                (_, _, value) => value,
            };
            self.values.set(index, value);
            self.origins[index] = Some(setting.origin);
            said[index] = true;
        }
        Ok(())
    }

    /// Names every directive that was set to something and does nothing.
    fn note_without_effect(&mut self) {
        for index in self.values.differing(&Values::default()) {
            let row = &TABLE[index];
            // Flags of our own, such as --role, are accepted on purpose.
            let silent = !row.is(Flags::ACCEPTED) || row.is(Flags::OWN);
            if let (false, Some(origin)) = (silent, &self.origins[index]) {
                let args = vec![self.values.at(index).format()];
                let setting = Setting { name: row.name.into(), args, origin: origin.clone() };
                self.notices.push(Notice::WithoutEffect(setting));
            }
        }
    }
}

impl Default for Loaded {
    fn default() -> Loaded {
        Loaded { values: Values::default(), origins: vec![None; COUNT], notices: Vec::new() }
    }
}

/// Settings of the variables whose names start with `DSE_`; the others are passed over.
pub fn environment<'a>(
    variables: impl Iterator<Item = (&'a OsStr, &'a OsStr)>,
) -> (Vec<Setting>, Vec<Notice>) {
    let (mut settings, mut notices) = (Vec::new(), Vec::new());
    for (variable, value) in variables {
        let Some(name) = variable.to_str().filter(|name| name.starts_with(VARIABLE_PREFIX)) else {
            continue;
        };
        let value = value.as_bytes();
        // Kubernetes puts DSE_PORT=tcp://10.0.0.1:6379 and more like it into every container
        // that runs beside a service named "dse".
        if value.starts_with(b"tcp://") || value.starts_with(b"udp://") {
            notices.push(Notice::ServiceLink(name.into()));
            continue;
        }
        match variable_row(name) {
            Some(index) => settings.push(Setting {
                name: TABLE[index].name.into(),
                args: vec![value.to_vec()],
                origin: Origin::Environment(name.into()),
            }),
            None => notices.push(Notice::UnknownVariable(name.into())),
        }
    }
    (settings, notices)
}

/// The row that a variable such as `DSE_TCP_BACKLOG` means.
fn variable_row(variable: &str) -> Option<usize> {
    let name = variable.strip_prefix(VARIABLE_PREFIX)?.to_ascii_lowercase();
    // A few names of Redis have underscores themselves.
    find(name.replace('_', "-").as_bytes()).or_else(|| find(name.as_bytes()))
}

fn read_source(source: &FileSource) -> Result<Vec<Setting>, LoadError> {
    let mut reader = Reader::default();
    match source {
        FileSource::None => {}
        FileSource::Path(path) => reader.read_file(path, None, 0)?,
        FileSource::Text(text) if text.len() > CONFIG_FILE_BYTES_MAX => {
            let source = io::Error::from(io::ErrorKind::FileTooLarge);
            return Err(LoadError::Read { path: "-".into(), by: None, source });
        }
        FileSource::Text(text) => reader.read_text(Path::new("-"), text, 0)?,
    }
    Ok(reader.settings)
}

/// Reads a file and what it includes, in the order of the lines.
#[derive(Default)]
struct Reader {
    settings: Vec<Setting>,
    files: usize,
}

impl Reader {
    fn read_file(
        &mut self,
        path: &Path,
        by: Option<Origin>,
        depth: usize,
    ) -> Result<(), LoadError> {
        self.files += 1;
        let text = read_bounded(path).map_err(|source| {
            let path = path.to_path_buf();
            LoadError::Read { path, by, source }
        })?;
        self.read_text(path, &text, depth)
    }

    fn read_text(&mut self, path: &Path, text: &[u8], depth: usize) -> Result<(), LoadError> {
        let lines = file::parse(text).map_err(|source| {
            let path = path.to_path_buf();
            LoadError::Syntax { path, source }
        })?;
        for line in lines {
            let origin = Origin::File { path: path.to_path_buf(), line: line.number };
            if line.name == "include" {
                self.include(path, &line.args, origin, depth)?;
            } else {
                self.settings.push(Setting { name: line.name, args: line.args, origin });
            }
        }
        Ok(())
    }

    /// Reads the files that an `include` line names, relative to the file it stands in.
    fn include(
        &mut self,
        from: &Path,
        args: &[Vec<u8>],
        origin: Origin,
        depth: usize,
    ) -> Result<(), LoadError> {
        let parent = from.parent().unwrap_or(Path::new(""));
        for arg in args {
            for path in expand(&parent.join(OsStr::from_bytes(arg))) {
                if depth >= CONFIG_INCLUDE_DEPTH_MAX || self.files >= CONFIG_FILES_MAX {
                    return Err(LoadError::Include(origin));
                }
                self.read_file(&path, Some(origin.clone()), depth + 1)?;
            }
        }
        Ok(())
    }
}

/// The files that match `path`, sorted, when its last component is a pattern; else `path` itself,
/// whether it exists or not.
fn expand(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap_or_default().as_bytes();
    if !name.iter().any(|byte| b"*?[".contains(byte)) {
        return vec![path.to_path_buf()];
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let Ok(entries) = std::fs::read_dir(parent.unwrap_or(Path::new("."))) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    // As in a shell, a pattern does not find hidden files.
    let fitting = names.filter(|found| {
        !found.as_bytes().starts_with(b".") && glob::matches(name, found.as_bytes(), false)
    });
    let mut paths: Vec<PathBuf> = fitting.map(|found| path.with_file_name(found)).collect();
    paths.sort();
    paths
}

/// The bytes of a file of reasonable size.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut text = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(CONFIG_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut text)?;
    if text.len() > CONFIG_FILE_BYTES_MAX {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(text)
}

impl From<BadSetting> for LoadError {
    fn from(bad: BadSetting) -> LoadError {
        LoadError::Setting(bad)
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Setting(bad) => write!(f, "{bad}"),
            LoadError::Read { path, by, source } => {
                if let Some(origin) = by {
                    write!(f, "{origin}: ")?;
                }
                write!(f, "cannot read {}: {}", path.display(), words(source))
            }
            LoadError::Syntax { path, source } => {
                write!(f, "{}:{}: {source}", path.display(), source.line)
            }
            LoadError::Include(origin) => write!(
                f,
                "{origin}: include goes deeper than {CONFIG_INCLUDE_DEPTH_MAX} files, \
                 or over more than {CONFIG_FILES_MAX} in all"
            ),
        }
    }
}

impl std::error::Error for LoadError {}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Obsolete(setting) => {
                write!(
                    f,
                    "{}: '{}' means nothing any more; remove it",
                    setting.origin, setting.name
                )
            }
            Notice::WithoutEffect(setting) => write!(
                f,
                "{}: '{}' is accepted but has no effect in this version",
                setting.origin,
                setting.shown()
            ),
            Notice::UnknownVariable(name) => {
                write!(f, "{name} in the environment names no directive and is ignored")?;
                let directive = name.trim_start_matches(VARIABLE_PREFIX).replace('_', "-");
                match nearest(&directive) {
                    Some(near) => write!(f, "; did you mean {}?", variable(near)),
                    None => Ok(()),
                }
            }
            Notice::ServiceLink(name) => write!(
                f,
                "{name} in the environment is a service link and is ignored; \
                 set enableServiceLinks: false in the pod"
            ),
        }
    }
}

/// The variable of a directive.
pub fn variable(name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// The words of the operating system, without the error number that Rust adds.
pub(super) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].into(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Loaded, String> {
        let file = FileSource::Text(text.as_bytes().to_vec());
        let sources = Sources { file, ..Sources::default() };
        Loaded::from(&sources).map_err(|error| error.to_string())
    }

    fn value(loaded: &Loaded, name: &str) -> String {
        String::from_utf8(loaded.values.named(name).format()).unwrap()
    }

    fn flag(name: &str, args: &[&str]) -> Setting {
        Setting {
            name: name.into(),
            args: args.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
            origin: Origin::Flag(name.into()),
        }
    }

    fn variables(pairs: &[(&str, &str)]) -> (Vec<Setting>, Vec<Notice>) {
        environment(pairs.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value))))
    }

    #[test]
    fn flags_win_over_environment_over_file_over_defaults() {
        let sources = Sources {
            file: FileSource::Text(b"port 1\nhz 11\ntimeout 3\n".to_vec()),
            environment: variables(&[("DSE_PORT", "2"), ("DSE_HZ", "12")]).0,
            flags: vec![flag("port", &["4"])],
        };
        let loaded = Loaded::from(&sources).unwrap();
        let values = ["port", "hz", "timeout", "maxclients"].map(|name| value(&loaded, name));
        assert_eq!(values, ["4", "12", "3", "10000"]);
        let origin = |name: &str| loaded.origins[find(name.as_bytes()).unwrap()].clone();
        assert_eq!(origin("hz"), Some(Origin::Environment("DSE_HZ".into())));
        assert_eq!(origin("maxclients"), None);
    }

    #[test]
    fn save_lines_of_a_layer_add_up_and_replace_those_below() {
        let text = "save 900 1\nsave 300 10\n";
        assert_eq!(value(&load(text).unwrap(), "save"), "900 1 300 10");
        assert_eq!(value(&load("bind 127.0.0.1 -::1").unwrap(), "bind"), "127.0.0.1 -::1");
        assert_eq!(value(&load("bind \"\"").unwrap(), "bind"), "");
        let text = "save 900 1\nsave \"\"\nsave 60 1\n";
        assert_eq!(value(&load(text).unwrap(), "save"), "60 1");
        let sources = Sources {
            file: FileSource::Text(b"save 900 1\n".to_vec()),
            flags: vec![flag("save", &["60", "1"]), flag("save", &["10", "5"])],
            ..Sources::default()
        };
        assert_eq!(value(&Loaded::from(&sources).unwrap(), "save"), "60 1 10 5");
    }

    #[test]
    fn output_limit_lines_name_one_class_each() {
        let text =
            "client-output-buffer-limit normal 1 2 3\nclient-output-buffer-limit pubsub 4 5 6";
        let loaded = load(text).unwrap();
        assert_eq!(
            value(&loaded, "client-output-buffer-limit"),
            "normal 1 2 3 slave 268435456 67108864 60 pubsub 4 5 6"
        );
    }

    #[test]
    fn a_bad_line_is_told_with_place_value_and_what_was_expected() {
        for (text, said) in [
            ("\nmaxclient 3", "-:2: unknown directive 'maxclient'; did you mean 'maxclients'?"),
            ("xyzzy 3", "-:1: unknown directive 'xyzzy'"),
            ("port 70000", "-:1: port 70000: expected a whole number from 0 to 65535"),
            ("port", "-:1: port: a value is missing; expected a whole number from 0 to 65535"),
            (
                "port 1 2",
                "-:1: port 1 2: wrong number of values; expected a whole number from 0 to 65535",
            ),
            ("maxmemory -1", "-:1: maxmemory -1: expected a size such as 100mb"),
            ("appendonly \"a b\"", "-:1: appendonly \"a b\": expected yes or no"),
            ("threads 0", "-:1: threads 0: expected a whole number from 1 to 256, or auto"),
            ("port \"1", "-:1: unbalanced quotes"),
            (
                "rename-command GET \"\"",
                "-:1: rename-command: commands cannot be renamed; remove the line",
            ),
            ("tls-port 1", "-:1: tls-port 1: this server does not support it; only 0 is accepted"),
            ("requirepass a b", "-:1: requirepass ***: wrong number of values; expected a text"),
            ("include /no/such/file", "-:1: cannot read /no/such/file: No such file or directory"),
        ] {
            assert_eq!(load(text).unwrap_err(), said, "{text}");
        }
        let long = format!("port {}", "9".repeat(500));
        assert!(load(&long).unwrap_err().len() < 200);
    }

    #[test]
    fn what_has_no_effect_is_loaded_with_a_notice() {
        let loaded = load("rdbchecksum no\nlist-max-ziplist-entries 3\nappendonly yes\n").unwrap();
        let texts: Vec<String> = loaded.notices.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "-:2: 'list-max-ziplist-entries' means nothing any more; remove it",
                "-:1: 'rdbchecksum no' is accepted but has no effect in this version",
            ]
        );
    }

    #[test]
    fn variables_of_others_and_of_kubernetes_are_left_alone() {
        let (settings, notices) = variables(&[
            ("PATH", "/bin"),
            ("DSE_TCP_BACKLOG", "7"),
            ("DSE_SERVER_CPULIST", "1-3"),
            ("DSE_PORT", "tcp://10.0.0.1:6379"),
            ("DSE_MAXCLIENT", "7"),
        ]);
        let names: Vec<_> = settings.iter().map(|setting| setting.name.as_str()).collect();
        assert_eq!(names, ["tcp-backlog", "server_cpulist"]);
        assert_eq!(notices[0], Notice::ServiceLink("DSE_PORT".into()));
        assert!(notices[1].to_string().ends_with("did you mean DSE_MAXCLIENTS?"), "{}", notices[1]);
        let sources =
            Sources { environment: variables(&[("DSE_PORT", "x")]).0, ..Sources::default() };
        assert_eq!(
            Loaded::from(&sources).unwrap_err().to_string(),
            "DSE_PORT=x: expected a whole number from 0 to 65535"
        );
    }

    fn load_file(path: &Path) -> Result<Loaded, String> {
        let sources = Sources { file: FileSource::Path(path.into()), ..Sources::default() };
        Loaded::from(&sources).map_err(|error| error.to_string())
    }

    #[test]
    fn included_files_are_found_beside_the_one_that_names_them() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        file("conf.d/b.conf", "hz 22\n");
        file("conf.d/a.conf", "hz 21\ninclude deeper.inc\n");
        file("conf.d/deeper.inc", "timeout 4\n");
        file("conf.d/.hidden.conf", "nonsense\n");
        let main = file("main.conf", "hz 20\ninclude conf.d/*.conf none.d/*.conf\nport 7\n");
        let loaded = load_file(&main).unwrap();
        let values = ["hz", "timeout", "port"].map(|name| value(&loaded, name));
        assert_eq!(values, ["22", "4", "7"]);
        let bad = file("conf.d/c.conf", "\nnonsense\n");
        let error = load_file(&main).unwrap_err();
        assert_eq!(error, format!("{}:2: unknown directive 'nonsense'", bad.display()));
    }

    #[test]
    fn files_that_include_each_other_without_end_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("loop.conf");
        std::fs::write(&path, "include loop.conf\n".repeat(100)).unwrap();
        let error = load_file(&path).unwrap_err();
        assert!(error.contains("include goes deeper than 8 files"), "{error}");
        let wide = directory.path().join("wide.conf");
        std::fs::write(directory.path().join("empty"), "").unwrap();
        std::fs::write(&wide, "include empty\n".repeat(300)).unwrap();
        assert!(load_file(&wide).unwrap_err().contains("over more than 256 in all"));
    }

    #[test]
    fn a_file_of_absurd_size_is_not_read_to_its_end() {
        let error = load_file(Path::new("/dev/zero")).unwrap_err();
        assert!(error.starts_with("cannot read /dev/zero"), "{error}");
    }
}
