//! Patterns of KEYS, SCAN, PSUBSCRIBE, CONFIG GET and the ACL: `*`, `?`, `[a-z]`, `[^...]`, `\`.
//!
//! A mismatch goes back to the last `*` only: what an earlier one could swallow, the last one
//! can as well. So the work is bounded by pattern length times text length, where trying every
//! star anew would take exponential time on `a*a*a*a*b`.

/// True if the whole of `text` matches `pattern`; `nocase` ignores the case of ASCII letters.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    matches_counting(pattern, text, nocase, &mut 0)
}

/// As [`matches()`]; adds the number of comparisons made to `steps`, which stays at or below
/// `2 * (pattern.len() + 1) * (text.len() + 1)`.
pub fn matches_counting(pattern: &[u8], text: &[u8], nocase: bool, steps: &mut u64) -> bool {
    // Redis' loop is not entered for an empty text: no pattern but the empty one matches it.
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut pattern_at, mut text_at) = (0, 0);
    // Behind the last star, and where the text that it does not swallow begins.
    let mut last_star: Option<(usize, usize)> = None;
    while text_at < text.len() {
        *steps += 1;
        if pattern.get(pattern_at) == Some(&b'*') {
            pattern_at += 1;
            if pattern_at == pattern.len() {
                return true;
            }
            last_star = Some((pattern_at, text_at));
        } else if let Some(len) = matching_element(&pattern[pattern_at..], text[text_at], nocase) {
            pattern_at += len;
            text_at += 1;
        } else if let Some((behind, start)) = last_star {
            last_star = Some((behind, start + 1));
            (pattern_at, text_at) = (behind, start + 1);
        } else {
            return false;
        }
    }
    pattern[pattern_at..].iter().all(|&byte| byte == b'*')
}

/// Length of the pattern's first element if it matches `byte`.
#[inline]
fn matching_element(pattern: &[u8], byte: u8, nocase: bool) -> Option<usize> {
    let (len, matched) = match pattern {
        [] => return None,
        [b'?', ..] => return Some(1),
        [b'[', class @ ..] => {
            let (len, matched) = match_class(class, byte, nocase);
            (1 + len, matched)
        }
        [b'\\', escaped, ..] => (2, equal(*escaped, byte, nocase)),
        [literal, ..] => (1, equal(*literal, byte, nocase)),
    };
    matched.then_some(len)
}

/// Length of the class that starts behind a `[`, and whether `byte` is one of its members.
/// A class that is not closed ends with the pattern.
fn match_class(class: &[u8], byte: u8, nocase: bool) -> (usize, bool) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut member = false;
    loop {
        let (len, hit) = match &class[at..] {
            [] => break,
            // Redis compares an escaped member as it stands, whatever the case rule.
            [b'\\', escaped, ..] => (2, *escaped == byte),
            [b']', ..] => {
                at += 1;
                break;
            }
            [low, b'-', high, ..] => (3, in_range(*low, *high, byte, nocase)),
            [literal, ..] => (1, equal(*literal, byte, nocase)),
        };
        member |= hit;
        at += len;
    }
    (at, member != negated)
}

/// Bounds in either order. Bytes count as signed, as `char` does on the machines Redis is used
/// on, and the case is taken away after the bounds were put in order: both can be observed.
fn in_range(low: u8, high: u8, byte: u8, nocase: bool) -> bool {
    let (low, high) = if (low as i8) > (high as i8) { (high, low) } else { (low, high) };
    let fold = |byte: u8| if nocase { byte.to_ascii_lowercase() as i8 } else { byte as i8 };
    (fold(low)..=fold(high)).contains(&fold(byte))
}

#[inline]
fn equal(a: u8, b: u8, nocase: bool) -> bool {
    a == b || nocase && a.eq_ignore_ascii_case(&b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SplitMix64;

    fn matches_str(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), false)
    }

    /// What KEYS finds.
    #[test]
    fn patterns_of_keys() {
        for (pattern, text) in [
            ("*", "a"),
            ("a*", "a"),
            ("a**", "a"),
            ("h?llo", "hello"),
            ("h*llo", "heeeello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            ("a\\*b", "a*b"),
            ("a\\", "a\\"),
            ("[\\]]", "]"),
            ("[a", "a"),
            ("[^", "x"),
            ("[^]", "x"),
            ("[a-", "-"),
            // The bracket is the end of a range here, so the class stays open.
            ("[a-]", "^"),
            ("[-a]", "-"),
            ("", ""),
        ] {
            assert!(matches_str(pattern, text), "{pattern:?} {text:?}");
        }
        for (pattern, text) in [
            ("*", ""),
            ("**", ""),
            ("?", ""),
            ("", "a"),
            ("a", ""),
            ("h?llo", "hllo"),
            ("h[^e]llo", "hello"),
            ("a\\*b", "axb"),
            ("[", "["),
            ("[]", "]"),
            ("[a-]", "b"),
            ("a*b", "ac"),
            ("A", "a"),
            ("\\?", "a"),
        ] {
            assert!(!matches_str(pattern, text), "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn case_is_folded_where_redis_folds_it() {
        assert!(matches(b"MaxMem*", b"maxmemory", true));
        assert!(matches(b"[A-Z]", b"q", true));
        assert!(!matches(b"[\\A]", b"a", true));
        // 'Z' is the lower bound; folded it lies above the upper one, so nothing is within.
        assert!(!matches(b"[a-Z]", b"b", true));
    }

    #[test]
    fn bytes_above_127_are_below_all_others_in_a_range() {
        assert!(matches(b"[\x80-a]", b"\xff", false));
        assert!(matches(b"[a-\xff]", b"A", false));
        assert!(!matches(b"[a-\xff]", b"b", false));
    }

    /// Every way of sharing the text among the stars, tried one after the other.
    fn naive(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', rest @ ..], _) => {
                (0..=text.len()).any(|swallowed| naive(rest, &text[swallowed..], nocase))
            }
            (_, []) => false,
            (_, [byte, rest @ ..]) => matching_element(pattern, *byte, nocase)
                .is_some_and(|len| naive(&pattern[len..], rest, nocase)),
        }
    }

    #[test]
    fn the_last_star_suffices() {
        let seed = 0x610b;
        let mut rng = SplitMix64::new(seed);
        let mut hits = 0;
        for _ in 0..50_000 {
            let mut draw = |alphabet: &[u8], len_max: u64| -> Vec<u8> {
                let len = rng.below(len_max + 1);
                (0..len).map(|_| alphabet[rng.below(alphabet.len() as u64) as usize]).collect()
            };
            let pattern = draw(b"aabb**?[]^-\\", 9);
            let mut text = draw(b"aabB]^-\\", 8);
            text.push(b'a');
            let want = naive(&pattern, &text, true);
            hits += u32::from(want);
            assert_eq!(
                matches(&pattern, &text, true),
                want,
                "{} {}, seed {seed:#x}",
                pattern.escape_ascii(),
                text.escape_ascii()
            );
        }
        assert!(hits > 1000, "{hits} of 50000 patterns match: the test is too easy");
    }

    #[test]
    fn work_is_bounded_by_the_product_of_the_lengths() {
        let text = vec![b'a'; 10_000];
        for pattern in ["a*".repeat(500) + "b", "*a".repeat(500) + "b", "*[a-b]?".repeat(99) + "b"]
        {
            let mut steps = 0;
            assert!(!matches_counting(pattern.as_bytes(), &text, false, &mut steps));
            let bound = 2 * (pattern.len() as u64 + 1) * (text.len() as u64 + 1);
            assert!(steps <= bound, "{steps} steps for {pattern}");
        }
    }
}
