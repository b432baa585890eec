//! One row of the table of directives, and how a row is found.

use super::directives::TABLE;
use super::value::{Kind, Value};

/// What is said of a directive besides its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// Nothing in particular: it can be changed at run time.
    pub const NONE: Flags = Flags(0);
    /// Cannot be set at run time, not even to what it is: so does Redis.
    pub const IMMUTABLE: Flags = Flags(1);
    /// Changed at run time only where `enable-protected-configs` allows it.
    pub const PROTECTED: Flags = Flags(1 << 1);
    /// Found by its exact name only, not by a pattern.
    pub const HIDDEN: Flags = Flags(1 << 2);
    /// Never written to a log.
    pub const SENSITIVE: Flags = Flags(1 << 3);
    /// Accepted and given back, without effect.
    pub const ACCEPTED: Flags = Flags(1 << 4);
    /// Redis does not have it.
    pub const OWN: Flags = Flags(1 << 5);
    /// Any value but the default is refused: to ignore it would break a promise.
    pub const DEFAULT_ONLY: Flags = Flags(1 << 6);

    /// Changes with a restart only. Setting it to what it is does nothing, so that a client that
    /// writes back all it has read is not refused.
    pub const RESTART: Flags = Flags(1 << 7);

    /// True when all flags of `other` are set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// What a directive is about; `--help` and the documentation are ordered by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Addresses, sockets, limits of connections.
    Network,
    /// The process: workers, supervision, shutdown.
    Process,
    /// Who may do what.
    Security,
    /// Memory limit, eviction and what frees memory.
    Memory,
    /// Encodings, expiry, notifications, databases.
    Keyspace,
    /// Log, snapshot and the directory for both.
    Persistence,
    /// Nodes, peers and replicas.
    Cluster,
    /// Log output, slow log, latency tracking.
    Logging,
    /// Encryption of connections.
    Tls,
}

impl Group {
    /// All groups in the order in which they are shown.
    pub const ALL: [Group; 9] = [
        Group::Network,
        Group::Process,
        Group::Security,
        Group::Memory,
        Group::Keyspace,
        Group::Persistence,
        Group::Cluster,
        Group::Logging,
        Group::Tls,
    ];

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Group::Network => "Network",
            Group::Process => "Process",
            Group::Security => "Security",
            Group::Memory => "Memory",
            Group::Keyspace => "Keyspace",
            Group::Persistence => "Persistence",
            Group::Cluster => "Cluster and replication",
            Group::Logging => "Logging and diagnostics",
            Group::Tls => "TLS",
        }
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Directive {
    /// The name, in lower case.
    pub name: &'static str,
    /// Other names of Redis for the same value, in lower case; CONFIG GET lists them as well.
    pub aliases: &'static [&'static str],
    /// Names of our own for the same value; found, and listed nowhere.
    pub synonyms: &'static [&'static str],
    /// What it takes.
    pub kind: Kind,
    /// The default as a file line would have it.
    pub default: &'static str,
    /// What is said of it.
    pub flags: Flags,
    /// What it is about.
    pub group: Group,
    /// One sentence.
    pub doc: &'static str,
}

/// A row without aliases and flags; the group comes from the list that the row is in.
pub(super) const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Directive {
    let group = Group::Network;
    Directive { name, aliases: &[], synonyms: &[], kind, default, flags: Flags::NONE, group, doc }
}

impl Directive {
    /// The row with other names.
    pub(super) const fn alias(mut self, aliases: &'static [&'static str]) -> Directive {
        self.aliases = aliases;
        self
    }

    /// The row with names of our own.
    pub(super) const fn synonym(mut self, synonyms: &'static [&'static str]) -> Directive {
        self.synonyms = synonyms;
        self
    }

    /// The row with one more flag.
    pub(super) const fn with(mut self, flag: Flags) -> Directive {
        self.flags = self.flags.and(flag);
        self
    }

    /// The row, accepted without effect.
    pub(super) const fn accepted(self) -> Directive {
        self.with(Flags::ACCEPTED)
    }

    /// The row, which Redis does not let anybody set at run time.
    pub(super) const fn fixed(self) -> Directive {
        self.with(Flags::IMMUTABLE)
    }

    /// The row of a directive that Redis does not have, or can change at run time.
    pub(super) const fn restart(self) -> Directive {
        self.with(Flags::RESTART)
    }

    /// True when only a restart changes the value.
    pub const fn needs_restart(&self) -> bool {
        self.is(Flags::IMMUTABLE) || self.is(Flags::RESTART)
    }

    /// True when `flag` is set.
    pub const fn is(&self, flag: Flags) -> bool {
        self.flags.has(flag)
    }

    /// The names that CONFIG GET lists, the main one first.
    pub fn listed_names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// All names, the main one first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.listed_names().chain(self.synonyms.iter().copied())
    }

    /// The value that holds when nobody says anything.
    pub fn default_value(&self) -> Value {
        let words: Vec<&[u8]> = vec![self.default.as_bytes()];
        let none = Value::Bool(false);
        self.kind.parse(&words, &none).unwrap_or_else(|reason| {
            unreachable!("the default of '{}' does not fit its kind: {reason}", self.name)
        })
    }
}

/// The position in `TABLE` of a name or an alias, in any case.
pub fn find(name: &[u8]) -> Option<usize> {
    let lower = name.to_ascii_lowercase();
    let main = TABLE.binary_search_by(|row| row.name.as_bytes().cmp(&lower)).ok();
    main.or_else(|| TABLE.iter().position(|row| row.names().any(|alias| alias.as_bytes() == lower)))
}

/// The known name that looks most like `name`, when one is near enough to be meant.
pub fn nearest(name: &str) -> Option<&'static str> {
    const SIMILARITY_MIN: f64 = 0.72;
    let lower = name.to_ascii_lowercase();
    let known = TABLE.iter().flat_map(Directive::names);
    let scored = known.map(|known| (strsim::normalized_damerau_levenshtein(&lower, known), known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score >= SIMILARITY_MIN).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_table_is_sorted() {
        let mut names: Vec<_> = TABLE.iter().flat_map(Directive::names).collect();
        assert!(TABLE.is_sorted_by(|a, b| a.name < b.name));
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(names.iter().all(|name| name.to_ascii_lowercase() == *name));
    }

    #[test]
    fn every_name_and_alias_is_found_in_any_case() {
        for (index, row) in TABLE.iter().enumerate() {
            for name in row.names() {
                assert_eq!(find(name.as_bytes()), Some(index));
                assert_eq!(find(name.to_ascii_uppercase().as_bytes()), Some(index));
            }
        }
        assert_eq!(find(b"maxclient"), None);
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_nonsense_is_not() {
        assert_eq!(nearest("maxclient"), Some("maxclients"));
        assert_eq!(nearest("max-memory"), Some("maxmemory"));
        assert_eq!(nearest("Prot"), Some("port"));
        assert_eq!(nearest("xyzzy"), None);
    }

    #[test]
    fn every_row_has_a_default_that_fits_and_a_sentence() {
        for row in &TABLE {
            let value = row.default_value();
            let text = value.format();
            let again = row.kind.parse(&[&text], &value).unwrap();
            assert_eq!(again, value, "{}", row.name);
            assert!(row.doc.ends_with('.') && row.doc.len() > 10, "{}", row.name);
            assert!(row.doc.len() <= 160, "{}", row.name);
        }
    }

    /// Directives whose values go by another name where they are read.
    const READ_AS: [(&str, &str); 7] = [
        ("bind", "listen::open"),
        ("client-output-buffer-limit", ".output_limit("),
        ("enable-protected-configs", "Caller::Local"),
        ("latency-tracking-info-percentiles", ".percentiles("),
        ("notify-keyspace-events", ".notify_flags("),
        ("requirepass", ".password_matches("),
        ("unixsocketperm", "listen::open"),
    ];

    #[test]
    fn a_directive_that_nobody_reads_is_marked_as_without_effect() {
        let mut code = String::new();
        read_code(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut code);
        for row in TABLE.iter().filter(|row| !row.is(Flags::ACCEPTED)) {
            let other = READ_AS.iter().find(|(name, _)| *name == row.name);
            let read = code.contains(&format!("\"{}\"", row.name))
                || code.contains(&format!(".{}", row.name.replace('-', "_")))
                || other.is_some_and(|(_, text)| code.contains(text));
            assert!(read, "nobody reads '{}': use it, or mark its row accepted()", row.name);
        }
    }

    /// All code outside of this room, without unit tests.
    fn read_code(directory: &std::path::Path, code: &mut String) {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.ends_with("src/config") {
                continue;
            }
            if path.is_dir() {
                read_code(&path, code);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                code.push_str(text.split("#[cfg(test)]").next().unwrap_or_default());
            }
        }
    }
}
