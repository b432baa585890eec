//! What may differ between the replies of two servers that are both right. Everything else is
//! compared byte for byte. docs/compatibility.md shows the same table.

use super::value::Value;

/// How far replies may differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowed {
    /// Not at all.
    Nothing,
    /// In the order of elements.
    Order,
    /// In the order of pairs of elements.
    OrderOfPairs,
    /// In the number, by this much: the servers' clocks are read at different moments.
    Number(i64),
    /// A number on one side, of any size; on the other side it may be refused.
    NumberOrRefusal,
    /// In which of these texts the reply is.
    OneOf(&'static [&'static str]),
    /// In what chance chose, but not in how many elements of which kind.
    Choice,
    /// In the cursor; the elements only if the walk did not finish at once.
    Walk,
}

/// Command (with its sub-command), what may differ, and why.
pub const DIFFERENCES: &[(&str, Allowed, &str)] = &[
    ("SMEMBERS", Allowed::Order, "a set has no order"),
    ("KEYS", Allowed::Order, "the keyspace has no order"),
    ("HGETALL", Allowed::OrderOfPairs, "a hash has no order"),
    ("HKEYS", Allowed::Order, "a hash has no order"),
    ("HVALS", Allowed::Order, "a hash has no order"),
    ("CONFIG GET", Allowed::OrderOfPairs, "directives have no order"),
    ("PUBSUB CHANNELS", Allowed::Order, "channels have no order"),
    ("SCAN", Allowed::Walk, "a cursor means something to its server only"),
    ("SPOP", Allowed::Choice, "chance"),
    ("SRANDMEMBER", Allowed::Choice, "chance"),
    ("RANDOMKEY", Allowed::Choice, "chance"),
    ("TIME", Allowed::Choice, "time passes"),
    ("TTL", Allowed::Number(2), "time passes"),
    ("PTTL", Allowed::Number(2000), "time passes"),
    ("EXPIRETIME", Allowed::Number(2), "deadlines are set relative to different moments"),
    ("PEXPIRETIME", Allowed::Number(2000), "deadlines are set relative to different moments"),
    ("DUMP", Allowed::Choice, "another search finds other repetitions to compress"),
    ("OBJECT IDLETIME", Allowed::Number(i64::MAX), "a use is known to the length of a sweep"),
    ("OBJECT ENCODING", STRING_FORMS, "it follows from the value, not from how it was made"),
    ("OBJECT FREQ", Allowed::NumberOrRefusal, "it is estimated from a part of the uses"),
    ("OBJECT REFCOUNT", Allowed::Choice, "which small numbers are shared is each server's own"),
    ("MEMORY USAGE", Allowed::Number(i64::MAX), "entries have another layout"),
    ("HELLO", Allowed::Choice, "versions and connection ids"),
];

const STRING_FORMS: Allowed = Allowed::OneOf(&["int", "embstr", "raw"]);

/// What may differ in the reply to `command`.
pub fn allowed(command: &[Vec<u8>]) -> Allowed {
    let upper = |index: usize| {
        let word = command.get(index).map(|word| word.to_ascii_uppercase());
        String::from_utf8_lossy(&word.unwrap_or_default()).into_owned()
    };
    let name = upper(0);
    let with_subcommand = format!("{name} {}", upper(1));
    let row = DIFFERENCES.iter().find(|row| row.0 == name || row.0 == with_subcommand);
    row.map_or(Allowed::Nothing, |row| row.1)
}

impl Allowed {
    /// True if both replies may be answers to the same request in the same state.
    pub fn covers(self, left: &Value, right: &Value) -> bool {
        if left == right {
            return true;
        }
        match self {
            Allowed::Nothing => false,
            Allowed::Order => sorted(left, 1) == sorted(right, 1),
            Allowed::OrderOfPairs => sorted(left, 2) == sorted(right, 2),
            Allowed::Number(distance) => match (left, right) {
                (Value::Int(l), Value::Int(r)) => {
                    // Negative answers (no key, no deadline) are exact.
                    *l >= 0 && *r >= 0 && l.abs_diff(*r) <= distance.unsigned_abs()
                }
                _ => false,
            },
            Allowed::NumberOrRefusal => matches!(
                (left, right),
                (Value::Int(_), Value::Int(_) | Value::Error(_)) | (Value::Error(_), Value::Int(_))
            ),
            Allowed::OneOf(texts) => {
                let is_listed =
                    |value: &Value| texts.iter().any(|text| *value == Value::bulk(*text));
                is_listed(left) && is_listed(right)
            }
            Allowed::Choice => same_form(left, right),
            Allowed::Walk => same_walk(left, right),
        }
    }
}

/// The same value with its groups of `width` elements sorted, if it is an aggregate.
fn sorted(value: &Value, width: usize) -> Value {
    let Some(items) = value.elements() else { return value.clone() };
    let mut groups: Vec<&[Value]> = items.chunks(width).collect();
    groups.sort();
    value.with_elements(groups.concat()).unwrap_or_else(|| value.clone())
}

/// The same kind, and for aggregates the same kinds of elements in the same number.
fn same_form(left: &Value, right: &Value) -> bool {
    if left.is_error() || std::mem::discriminant(left) != std::mem::discriminant(right) {
        return false;
    }
    match (left.elements(), right.elements()) {
        (Some(l), Some(r)) => l.len() == r.len() && l.iter().zip(r).all(|(l, r)| same_form(l, r)),
        _ => true,
    }
}

fn same_walk(left: &Value, right: &Value) -> bool {
    let (Some([left_cursor, left_keys]), Some([right_cursor, right_keys])) =
        (left.elements(), right.elements())
    else {
        return false;
    };
    let zero = Value::bulk("0");
    let finished = *left_cursor == zero && *right_cursor == zero;
    !finished || sorted(left_keys, 1) == sorted(right_keys, 1)
}

#[test]
fn only_what_is_listed_may_differ() {
    let bulks = |texts: &[&str]| Value::Array(texts.iter().map(|t| Value::bulk(*t)).collect());
    let command = |line: &str| allowed(&[line.into()]);
    assert!(command("smembers").covers(&bulks(&["a", "b"]), &bulks(&["b", "a"])));
    assert!(!command("smembers").covers(&bulks(&["a", "b"]), &bulks(&["b", "b"])));
    assert!(!command("LRANGE").covers(&bulks(&["a", "b"]), &bulks(&["b", "a"])));
    assert!(command("TTL").covers(&Value::Int(99), &Value::Int(100)));
    assert!(!command("TTL").covers(&Value::Int(-1), &Value::Int(0)));
    assert!(!command("TTL").covers(&Value::Int(90), &Value::Int(100)));
    assert!(command("OBJECT FREQ").covers(&Value::Int(9), &Value::Error("ERR".into())));
    assert!(!command("OBJECT FREQ").covers(&Value::Null, &Value::Int(9)));
    assert!(command("SPOP").covers(&bulks(&["a"]), &bulks(&["b"])));
    assert!(!command("SPOP").covers(&bulks(&["a"]), &bulks(&[])));
    assert!(!command("SPOP").covers(&Value::Error("a".into()), &Value::Error("b".into())));
    let walk = |cursor: &str, keys| Value::Array(vec![Value::bulk(cursor), bulks(keys)]);
    assert!(command("SCAN").covers(&walk("0", &["a", "b"]), &walk("0", &["b", "a"])));
    assert!(!command("SCAN").covers(&walk("0", &["a"]), &walk("0", &["b"])));
    assert!(command("SCAN").covers(&walk("7", &["a"]), &walk("0", &["b", "a"])));
}
