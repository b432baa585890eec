//! LZF, the compression that DUMP payloads use for strings.
//!
//! ```text
//!   000LLLLL <L+1 bytes>                       literals, 1 to 32
//!   LLLooooo oooooooo                          L = 1..6: copy L+2 bytes from o+1 bytes back
//!   111ooooo LLLLLLLL oooooooo                 copy L+9 bytes from o+1 bytes back
//! ```

const LITERALS_MAX: usize = 32;
const MATCH_MIN: usize = 3;
const MATCH_MAX: usize = 264;
const DISTANCE_MAX: usize = 1 << 13;
const HASH_BITS: u32 = 13;

/// The `len` bytes that `input` stands for; `None` if it is damaged or holds another number of
/// bytes. Allocates no more than the input can expand to, whatever `len` says.
pub fn decompress(input: &[u8], len: usize) -> Option<Vec<u8>> {
    let expanded_max = input.len().saturating_mul(MATCH_MAX.div_ceil(MATCH_MIN));
    let mut out = Vec::with_capacity(len.min(expanded_max));
    let mut rest = input;
    while let Some((&control, tail)) = rest.split_first() {
        rest = if usize::from(control) < LITERALS_MAX {
            let (literals, tail) = tail.split_at_checked(usize::from(control) + 1)?;
            out.extend_from_slice(literals);
            tail
        } else {
            copy_match(control, tail, &mut out)?
        };
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

/// Carries a back reference out; returns the input behind it.
fn copy_match<'a>(control: u8, input: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let short = usize::from(control >> 5);
    let (extra, input) = match (short, input) {
        (7, [extra, rest @ ..]) => (usize::from(*extra), rest),
        (7, []) => return None,
        _ => (0, input),
    };
    let (&low, rest) = input.split_first()?;
    let distance = (usize::from(control & 0x1f) << 8 | usize::from(low)) + 1;
    let start = out.len().checked_sub(distance)?;
    // The source may reach into what is being written: then its bytes repeat.
    for at in start..start + short + extra + 2 {
        out.push(out[at]);
    }
    Some(rest)
}

/// `input` compressed; `None` if that would not make it shorter.
pub fn compress(input: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(input.len());
    // Where a hash of three bytes was last seen, plus one; 0 is nowhere.
    let mut seen = vec![0u32; 1 << HASH_BITS];
    let (mut at, mut literals_from) = (0, 0);
    while at + MATCH_MIN <= input.len() {
        let place = &mut seen[hash(&input[at..])];
        let candidate = (*place as usize).wrapping_sub(1);
        *place = u32::try_from(at + 1).ok()?;
        let Some(len) = match_len(input, candidate, at) else {
            at += 1;
            continue;
        };
        push_literals(&input[literals_from..at], &mut out);
        push_match(at - candidate, len, &mut out);
        at += len;
        literals_from = at;
        if out.len() >= input.len() {
            return None;
        }
    }
    push_literals(&input[literals_from..], &mut out);
    (out.len() < input.len()).then_some(out)
}

fn hash(bytes: &[u8]) -> usize {
    let three = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
    (three.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize
}

/// How many bytes at `at` repeat those at `candidate`, if a reference may say so.
fn match_len(input: &[u8], candidate: usize, at: usize) -> Option<usize> {
    if candidate >= at || at - candidate > DISTANCE_MAX {
        return None;
    }
    let pairs = input[at..].iter().zip(&input[candidate..]).take(MATCH_MAX);
    let len = pairs.take_while(|(a, b)| a == b).count();
    (len >= MATCH_MIN).then_some(len)
}

fn push_literals(literals: &[u8], out: &mut Vec<u8>) {
    for run in literals.chunks(LITERALS_MAX) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

fn push_match(distance: usize, len: usize, out: &mut Vec<u8>) {
    let (distance, len) = (distance - 1, len - 2);
    let high = (distance >> 8) as u8;
    if len < 7 {
        out.push((len as u8) << 5 | high);
    } else {
        out.push(7 << 5 | high);
        out.push((len - 7) as u8);
    }
    out.push(distance as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SplitMix64;

    #[test]
    fn literals_and_references_expand() {
        // As Redis dumps a string of 40 letters `a`.
        assert_eq!(decompress(b"\x01aa\xe0\x1d\x00", 40), Some(vec![b'a'; 40]));
        assert_eq!(decompress(b"\x02abc\x20\x02", 6).as_deref(), Some(&b"abcabc"[..]));
        assert_eq!(decompress(b"", 0), Some(Vec::new()));
    }

    #[test]
    fn damaged_input_is_refused() {
        let cases: &[(&[u8], usize)] = &[
            (b"\x01a", 2),
            (b"\x00a\x20", 4),
            (b"\x00a\xe0", 40),
            (b"\x00a\xe0\x01", 40),
            (b"\x00a\x20\x01", 4),
            (b"\x20\x00", 3),
            (b"\x01aa\xe0\x1d\x00", 39),
            (b"\x01aa\xe0\x1d\x00", 41),
            (b"\x01aa", usize::MAX),
            (b"", 1),
        ];
        for (input, len) in cases {
            assert_eq!(decompress(input, *len), None, "{} {len}", input.escape_ascii());
        }
    }

    #[test]
    fn what_was_compressed_comes_back() {
        let seed = 0x12f;
        let mut rng = SplitMix64::new(seed);
        for _ in 0..200 {
            let (len, letters) = (rng.below(20_000), 1 + rng.below(8));
            let mut bytes: Vec<u8> = Vec::new();
            while (bytes.len() as u64) < len {
                let start = rng.below(bytes.len() as u64 + 1) as usize;
                let end = (start + rng.below(600) as usize).min(bytes.len());
                bytes.extend_from_within(start..end);
                bytes.push(b'a' + rng.below(letters) as u8);
            }
            if let Some(packed) = compress(&bytes) {
                assert!(packed.len() < bytes.len());
                assert_eq!(decompress(&packed, bytes.len()), Some(bytes), "seed {seed:#x}");
            }
        }
    }

    #[test]
    fn what_does_not_shrink_is_left_alone() {
        let mut rng = SplitMix64::new(5);
        let noise: Vec<u8> = (0..1000).map(|_| rng.next_u64() as u8).collect();
        assert_eq!(compress(&noise), None);
        assert_eq!(compress(b""), None);
        assert_eq!(compress(b"ab"), None);
        assert!(compress(&[7; 1000]).is_some_and(|packed| packed.len() < 30));
    }
}
