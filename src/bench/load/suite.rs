//! The tests that `-t` names: those of redis-benchmark, by the same names and with the same
//! titles, in the same order.
//!
//! In an argument `__rand_int__` stands for twelve digits, `{tag}` for a hash tag (in cluster
//! mode; otherwise `{tag}:` is left out) and `__data__` for the value of `-d` bytes.

/// A test of the suite.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    /// The names by which `-t` asks for it.
    pub names: &'static [&'static str],
    /// What it is called in results.
    pub title: &'static str,
    /// The request.
    pub args: &'static [&'static str],
    /// How its replies can be checked.
    pub check: Check,
}

/// What is known about the reply to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The status `OK`; the model notes the value that was sent.
    Set,
    /// The value that the model has for the key, or none.
    Get,
    /// The number that the model has for the key, and one.
    Incr,
    /// The status `OK`; the model's number for the key is 0 from then on.
    Reset,
    /// The status `PONG`.
    Pong,
    /// Anything but an error.
    NoError,
}

const fn test(
    names: &'static [&'static str],
    title: &'static str,
    args: &'static [&'static str],
    check: Check,
) -> Test {
    Test { names, title, args, check }
}

const KEY: &str = "key:{tag}:__rand_int__";
const LIST: &str = "mylist:{tag}";
const PUSH: &[&str] = &["LPUSH", LIST, "__data__"];

/// The tests, in the order in which they run.
pub const SUITE: &[Test] = &[
    test(&["ping_inline", "ping"], "PING_INLINE", &["PING"], Check::Pong),
    test(&["ping_mbulk", "ping"], "PING_MBULK", &["PING"], Check::Pong),
    test(&["set"], "SET", &["SET", KEY, "__data__"], Check::Set),
    test(&["get"], "GET", &["GET", KEY], Check::Get),
    test(&["incr"], "INCR", &["INCR", "counter:{tag}:__rand_int__"], Check::Incr),
    test(&["lpush"], "LPUSH", PUSH, Check::NoError),
    test(&["rpush"], "RPUSH", &["RPUSH", LIST, "__data__"], Check::NoError),
    test(&["lpop"], "LPOP", &["LPOP", LIST], Check::NoError),
    test(&["rpop"], "RPOP", &["RPOP", LIST], Check::NoError),
    test(&["sadd"], "SADD", &["SADD", "myset:{tag}", "element:__rand_int__"], Check::NoError),
    test(
        &["hset"],
        "HSET",
        &["HSET", "myhash:{tag}", "element:__rand_int__", "__data__"],
        Check::NoError,
    ),
    test(&["spop"], "SPOP", &["SPOP", "myset:{tag}"], Check::NoError),
    test(
        &["zadd"],
        "ZADD",
        &["ZADD", "myzset:{tag}", "__rand_int__", "element:__rand_int__"],
        Check::NoError,
    ),
    test(&["zpopmin"], "ZPOPMIN", &["ZPOPMIN", "myzset:{tag}"], Check::NoError),
    test(
        &["lrange", "lrange_100", "lrange_300", "lrange_500", "lrange_600"],
        "LPUSH (needed to benchmark LRANGE)",
        PUSH,
        Check::NoError,
    ),
    test(
        &["lrange", "lrange_100"],
        "LRANGE_100 (first 100 elements)",
        &["LRANGE", LIST, "0", "99"],
        Check::NoError,
    ),
    test(
        &["lrange", "lrange_300"],
        "LRANGE_300 (first 300 elements)",
        &["LRANGE", LIST, "0", "299"],
        Check::NoError,
    ),
    test(
        &["lrange", "lrange_500"],
        "LRANGE_500 (first 500 elements)",
        &["LRANGE", LIST, "0", "499"],
        Check::NoError,
    ),
    test(
        &["lrange", "lrange_600"],
        "LRANGE_600 (first 600 elements)",
        &["LRANGE", LIST, "0", "599"],
        Check::NoError,
    ),
    test(
        &["mset"],
        "MSET (10 keys)",
        &[
            "MSET", KEY, "__data__", KEY, "__data__", KEY, "__data__", KEY, "__data__", KEY,
            "__data__", KEY, "__data__", KEY, "__data__", KEY, "__data__", KEY, "__data__", KEY,
            "__data__",
        ],
        Check::NoError,
    ),
];

/// The tests that a `-t` list names (all without a list), in the suite's order; or the name that
/// is none.
pub fn chosen(list: Option<&str>) -> Result<Vec<Test>, String> {
    let Some(list) = list else { return Ok(SUITE.to_vec()) };
    let wanted: Vec<String> =
        list.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
    let known = |name: &&String| SUITE.iter().any(|test| test.names.contains(&name.as_str()));
    if let Some(unknown) = wanted.iter().find(|name| !known(name)) {
        return Err(unknown.clone());
    }
    let is_wanted = |test: &&Test| wanted.iter().any(|name| test.names.contains(&name.as_str()));
    Ok(SUITE.iter().filter(is_wanted).copied().collect())
}

/// The test of exactly this name.
pub fn named(name: &str) -> Option<Test> {
    SUITE.iter().find(|test| test.names[0] == name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_chooses_tests_in_the_order_of_the_suite() {
        let titles = |list| -> Vec<&str> {
            chosen(list).expect("known names").iter().map(|test| test.title).collect()
        };
        assert_eq!(titles(None).len(), SUITE.len());
        assert_eq!(titles(Some("get,SET")), ["SET", "GET"]);
        assert_eq!(titles(Some("ping")), ["PING_INLINE", "PING_MBULK"]);
        assert_eq!(titles(Some("lrange_100")).len(), 2, "the list has to be filled first");
        assert_eq!(chosen(Some("get,gte")).err().as_deref(), Some("gte"));
        assert_eq!(named("set").map(|test| test.check), Some(Check::Set));
    }
}
