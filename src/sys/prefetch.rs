//! A hint to the processor that a line will be read soon.

/// Starts loading the cache line at `address`. Any address will do: a wrong one is ignored by the
/// processor, and nothing is read as far as the program can tell.
#[inline(always)]
pub fn prefetch_read(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: [sys-002] I-PREFETCH: a prefetch faults on no address and changes no memory.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast())
    };
    #[cfg(target_arch = "aarch64")]
    // SAFETY: [sys-003] I-PREFETCH: a prefetch faults on no address and changes no memory.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address,
            options(readonly, nostack, preserves_flags))
    };
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_can_be_prefetched() {
        let value = 5u64;
        prefetch_read((&raw const value).cast());
        for address in [0usize, 1, 4095, usize::MAX, 1 << 47, 1 << 63] {
            prefetch_read(std::ptr::without_provenance(address));
        }
        assert_eq!(value, 5);
    }
}
