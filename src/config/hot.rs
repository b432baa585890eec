//! The values that the data path reads: plain atomics, one load each.
//!
//! A value follows a change before CONFIG SET answers. All loads and stores are Relaxed: each
//! value stands for itself, no reader concludes anything about other memory from it, and two
//! values of one change may be seen apart for a moment.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use super::output_limit::{ClientClass, OutputLimit};
use super::values::Values;

/// What to evict when memory runs out: `maxmemory-policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EvictionPolicy {
    /// Keys with a deadline, least recently used first.
    VolatileLru,
    /// Keys with a deadline, least frequently used first.
    VolatileLfu,
    /// Keys with a deadline, any.
    VolatileRandom,
    /// Keys with a deadline, the nearest first.
    VolatileTtl,
    /// All keys, least recently used first.
    AllKeysLru,
    /// All keys, least frequently used first.
    AllKeysLfu,
    /// All keys, any.
    AllKeysRandom,
    /// None: writes are refused.
    NoEviction,
}

impl EvictionPolicy {
    /// The names, in the order of the variants.
    pub const NAMES: &'static [&'static str] = &[
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "noeviction",
    ];

    const ALL: [EvictionPolicy; 8] = [
        Self::VolatileLru,
        Self::VolatileLfu,
        Self::VolatileRandom,
        Self::VolatileTtl,
        Self::AllKeysLru,
        Self::AllKeysLfu,
        Self::AllKeysRandom,
        Self::NoEviction,
    ];

    /// The name that the directive takes.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    fn of_name(name: &str) -> EvictionPolicy {
        let found = Self::ALL.into_iter().find(|policy| policy.name() == name);
        found.unwrap_or(Self::NoEviction)
    }

    fn of_code(code: u32) -> EvictionPolicy {
        Self::ALL.get(code as usize).copied().unwrap_or(Self::NoEviction)
    }
}

/// Makes `Hot` from a list of values: for each a field, the method that reads it, and its part of
/// `refresh`.
macro_rules! hot {
    ($($(#[$doc:meta])* $name:ident: $plain:ty, $atomic:ident = $read:expr;)*) => {
        /// The values of the data path.
        #[derive(Debug, Default)]
        pub struct Hot {
            $($name: $atomic,)*
            maxmemory_policy: AtomicU32,
            clients_missing: AtomicU64,
            output_limits: [LiveLimit; 3],
        }

        impl Hot {
            $(
                $(#[$doc])*
                #[inline(always)]
                pub fn $name(&self) -> $plain {
                    self.$name.load(Ordering::Relaxed)
                }
            )*

            /// Lets every string be as long as it likes.
            pub(super) fn lift_limits(&self) {
                self.proto_max_bulk_len.store(u64::MAX, Ordering::Relaxed);
            }

            /// Takes over the values that are a single number.
            fn refresh_numbers(&self, values: &Values) {
                $(
                    let read: fn(&Values) -> $plain = $read;
                    self.$name.store(read(values), Ordering::Relaxed);
                )*
            }
        }
    };
}

hot! {
    /// Longest bulk of a request, bytes.
    proto_max_bulk_len: u64, AtomicU64 = |of| of.bytes("proto-max-bulk-len");
    /// Unparsed bytes that a client may hold.
    client_query_buffer_limit: u64, AtomicU64 = |of| of.bytes("client-query-buffer-limit");
    /// Connections that `maxclients` asks for, whether there are descriptors for them or not.
    maxclients_wanted: u64, AtomicU64 = |of| of.count("maxclients");
    /// Seconds after which an idle client is closed; 0 for never.
    timeout_s: u64, AtomicU64 = |of| of.count("timeout");
    /// Seconds before keepalive probes; 0 for none.
    tcp_keepalive_s: u64, AtomicU64 = |of| of.count("tcp-keepalive");
    /// Microseconds to look for events before sleeping; 0 for none.
    busy_poll_us: u64, AtomicU64 = |of| of.count("busy-poll");
    /// Refuse clients from elsewhere while there is no password.
    protected_mode: bool, AtomicBool = |of| of.flag("protected-mode");
    /// True when clients must authenticate.
    requirepass_is_set: bool, AtomicBool = |of| !of.text("requirepass").is_empty();
    /// Background passes per second.
    hz: u64, AtomicU64 = |of| of.count("hz");
    /// Bits of `config::notify`; 0 when nothing is published.
    notify_flags: u32, AtomicU32 = |of| of.events();
    /// Microseconds from which a command is slow; 0 for all, -1 for none.
    slowlog_log_slower_than_us: i64, AtomicI64 = |of| of.int("slowlog-log-slower-than");
    /// Entries of the slow log.
    slowlog_max_len: u64, AtomicU64 = |of| of.count("slowlog-max-len");
    /// Keep histograms of latencies.
    latency_tracking: bool, AtomicBool = |of| of.flag("latency-tracking");
    /// Memory limit in bytes; 0 for none.
    maxmemory: u64, AtomicU64 = |of| of.bytes("maxmemory");
    /// How slowly a use counter grows.
    lfu_log_factor: u64, AtomicU64 = |of| of.count("lfu-log-factor");
    /// Minutes after which a use counter is halved.
    lfu_decay_time_min: u64, AtomicU64 = |of| of.count("lfu-decay-time");
    /// Free evicted values in the background.
    lazyfree_lazy_eviction: bool, AtomicBool = |of| of.flag("lazyfree-lazy-eviction");
    /// Free expired values in the background.
    lazyfree_lazy_expire: bool, AtomicBool = |of| of.flag("lazyfree-lazy-expire");
    /// Free replaced values in the background.
    lazyfree_lazy_server_del: bool, AtomicBool = |of| of.flag("lazyfree-lazy-server-del");
    /// DEL behaves as UNLINK.
    lazyfree_lazy_user_del: bool, AtomicBool = |of| of.flag("lazyfree-lazy-user-del");
    /// FLUSHALL and FLUSHDB default to ASYNC.
    lazyfree_lazy_user_flush: bool, AtomicBool = |of| of.flag("lazyfree-lazy-user-flush");
    /// 1..=10: how eagerly expired keys are looked for.
    active_expire_effort: u64, AtomicU64 = |of| of.count("active-expire-effort");
    /// Fields up to which a hash is compact.
    hash_max_listpack_entries: u64, AtomicU64 = |of| of.count("hash-max-listpack-entries");
    /// Longest field or value of a compact hash, bytes.
    hash_max_listpack_value: u64, AtomicU64 = |of| of.bytes("hash-max-listpack-value");
    /// Elements of a list node when positive; -1..=-5 for 4 to 64 KiB.
    list_max_listpack_size: i64, AtomicI64 = |of| of.int("list-max-listpack-size");
    /// Members up to which a set of integers is compact.
    set_max_intset_entries: u64, AtomicU64 = |of| of.count("set-max-intset-entries");
    /// Members up to which a set is compact.
    set_max_listpack_entries: u64, AtomicU64 = |of| of.count("set-max-listpack-entries");
    /// Longest member of a compact set, bytes.
    set_max_listpack_value: u64, AtomicU64 = |of| of.bytes("set-max-listpack-value");
    /// Members up to which a sorted set is compact.
    zset_max_listpack_entries: u64, AtomicU64 = |of| of.count("zset-max-listpack-entries");
    /// Longest member of a compact sorted set, bytes.
    zset_max_listpack_value: u64, AtomicU64 = |of| of.bytes("zset-max-listpack-value");
}

/// The limit of one class of clients.
#[derive(Debug, Default)]
struct LiveLimit {
    hard_bytes: AtomicU64,
    soft_bytes: AtomicU64,
    soft_seconds: AtomicU64,
}

impl LiveLimit {
    fn load(&self) -> OutputLimit {
        OutputLimit {
            hard_bytes: self.hard_bytes.load(Ordering::Relaxed),
            soft_bytes: self.soft_bytes.load(Ordering::Relaxed),
            soft_seconds: self.soft_seconds.load(Ordering::Relaxed),
        }
    }

    fn store(&self, limit: OutputLimit) {
        self.hard_bytes.store(limit.hard_bytes, Ordering::Relaxed);
        self.soft_bytes.store(limit.soft_bytes, Ordering::Relaxed);
        self.soft_seconds.store(limit.soft_seconds, Ordering::Relaxed);
    }
}

impl Hot {
    /// Connections served at once: those that are wanted, as far as there are descriptors.
    #[inline]
    pub fn maxclients(&self) -> u64 {
        let possible = u64::MAX - self.clients_missing.load(Ordering::Relaxed);
        self.maxclients_wanted().min(possible)
    }

    /// No more than `possible` connections can be served, whatever is wanted.
    pub fn limit_clients(&self, possible: u64) {
        // Kept as the distance from no limit, which is what a new `Hot` has.
        self.clients_missing.store(u64::MAX - possible, Ordering::Relaxed);
    }

    /// What to evict when memory runs out.
    #[inline]
    pub fn maxmemory_policy(&self) -> EvictionPolicy {
        EvictionPolicy::of_code(self.maxmemory_policy.load(Ordering::Relaxed))
    }

    /// How much unsent output a client of `class` may hold.
    #[inline]
    pub fn output_limit(&self, class: ClientClass) -> OutputLimit {
        self.output_limits[class as usize].load()
    }

    /// Takes over `values`.
    pub(super) fn refresh(&self, values: &Values) {
        self.refresh_numbers(values);
        let policy = EvictionPolicy::of_name(values.choice("maxmemory-policy"));
        self.maxmemory_policy.store(policy as u32, Ordering::Relaxed);
        for class in ClientClass::ALL {
            self.output_limits[class as usize].store(values.output_limits().of(class));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_arrive() {
        let hot = Hot::default();
        hot.refresh(&Values::default());
        assert_eq!(hot.maxclients(), 10_000);
        assert_eq!(hot.proto_max_bulk_len(), 512 << 20);
        assert_eq!(hot.slowlog_log_slower_than_us(), 10_000);
        assert_eq!(hot.maxmemory_policy(), EvictionPolicy::NoEviction);
        assert_eq!(hot.list_max_listpack_size(), -2);
        assert_eq!(hot.output_limit(ClientClass::PubSub).soft_bytes, 8 << 20);
        assert!(hot.protected_mode());
        assert!(!hot.requirepass_is_set());
    }

    #[test]
    fn every_policy_survives_its_code_and_its_name() {
        for policy in EvictionPolicy::ALL {
            assert_eq!(EvictionPolicy::of_code(policy as u32), policy);
            assert_eq!(EvictionPolicy::of_name(policy.name()), policy);
        }
    }

    #[test]
    fn a_lack_of_descriptors_limits_clients_without_changing_what_is_wanted() {
        let hot = Hot::default();
        hot.refresh(&Values::default());
        hot.limit_clients(100);
        hot.refresh(&Values::default());
        assert_eq!((hot.maxclients(), hot.maxclients_wanted()), (100, 10_000));
        hot.limit_clients(20_000);
        assert_eq!(hot.maxclients(), 10_000);
    }
}
