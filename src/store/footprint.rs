//! What an allocation really takes, for exact accounting of memory.

/// Bytes that the allocator sets aside for a request of `size` bytes.
///
/// Known from the size classes of the allocator that the program is built with; the true figure
/// of a large block, which is rounded to pages, differs by a fraction that does not matter.
#[inline]
pub const fn footprint(size: usize) -> usize {
    if cfg!(feature = "mimalloc") { mimalloc_class(size) } else { glibc_class(size) }
}

/// Steps of 16 bytes up to 64, then four classes for each doubling.
const fn mimalloc_class(size: usize) -> usize {
    if size <= 8 {
        return 8;
    }
    if size <= 64 {
        return size.next_multiple_of(16);
    }
    let step = 1 << ((size - 1).ilog2() - 2);
    size.next_multiple_of(step)
}

/// Eight bytes of header, steps of 16, 32 at least.
const fn glibc_class(size: usize) -> usize {
    let with_header = (size + 8).next_multiple_of(16);
    if with_header < 32 { 32 } else { with_header }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_the_allocators() {
        let mimalloc = [(1, 8), (9, 16), (24, 32), (64, 64), (65, 80), (97, 112), (129, 160)];
        for (size, class) in mimalloc {
            assert_eq!(mimalloc_class(size), class, "{size}");
        }
        assert_eq!(mimalloc_class(4097), 5120);
        assert_eq!(mimalloc_class(16 * 1024), 16 * 1024);
        for (size, class) in [(1, 32), (24, 32), (25, 48), (100, 112)] {
            assert_eq!(glibc_class(size), class, "{size}");
        }
    }
}
