//! Sizes and modes as configuration writes them, where `util::int` does not already do it.

/// A file mode in octal digits, or `None`.
pub fn parse_octal(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(|byte| matches!(byte, b'0'..=b'7')) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(text).ok()?, 8).ok()
}

/// A size as a person would write it: the largest binary unit that divides it.
pub fn format_memory(bytes: u64) -> String {
    const BINARY: [(&str, u64); 3] = [("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)];
    let unit = BINARY.iter().find(|(_, size)| bytes != 0 && bytes.is_multiple_of(*size));
    match unit {
        Some((name, size)) => format!("{}{name}", bytes / size),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::int::parse_memory;

    #[test]
    fn a_formatted_size_parses_to_itself() {
        for bytes in [0, 1, 1_000, 1_024, 1 << 20, 3 << 30, (1 << 30) + 1, u64::MAX] {
            assert_eq!(parse_memory(format_memory(bytes).as_bytes()), Some(bytes));
        }
        assert_eq!(format_memory(268_435_456), "256mb");
    }

    #[test]
    fn octal_modes() {
        assert_eq!(parse_octal(b"700"), Some(0o700));
        for bad in ["", "8", "-1", "0x1", "99999999999"] {
            assert_eq!(parse_octal(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
