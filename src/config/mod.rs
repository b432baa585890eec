//! Configuration.

pub mod notify;

/// Live configuration.
#[derive(Default)]
pub struct Config {
    /// Values of the data path.
    pub hot: Hot,
}

/// Values that the data path reads without a lock.
#[derive(Default)]
pub struct Hot {}

macro_rules! hot {
    ($($name:ident: $kind:ty = $value:expr),* $(,)?) => {
        impl Hot {
            $(
                /// See the directive of this name.
                pub fn $name(&self) -> $kind {
                    $value
                }
            )*
        }
    };
}
hot! {
    proto_max_bulk_len: u64 = 512 << 20,
    maxclients: u64 = 10000,
    timeout_s: u64 = 0,
    tcp_keepalive_s: u64 = 300,
    notify_flags: u32 = 0,
    slowlog_log_slower_than_us: i64 = 10000,
    slowlog_max_len: u64 = 128,
    maxmemory: u64 = 0,
    latency_tracking: bool = true,
    requirepass_is_set: bool = false,
    protected_mode: bool = true,
}
