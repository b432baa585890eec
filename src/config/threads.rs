//! How many workers to start when `threads` says `auto`, and why.

use std::fmt;

use crate::limits::WORKERS_MAX;

/// The word of `threads` that leaves the choice to the machine.
pub const AUTO: &str = "auto";

/// What the machine allows; found out by `sys`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Processors in the affinity mask of the process.
    pub affinity_cpus: usize,
    /// Processors' worth of time that the control group may use; `None` for no quota.
    pub quota_cpus: Option<f64>,
}

/// Where the number of workers came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// `threads` names a number.
    Configured,
    /// One for each processor in the affinity mask.
    Affinity,
    /// The control group's quota is less than the affinity mask.
    Quota,
}

/// A number of workers with its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    /// How many to start: 1..=`WORKERS_MAX`.
    pub count: usize,
    /// Why.
    pub cause: Cause,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Configured => "as configured",
            Cause::Affinity => "one for each CPU of the affinity mask",
            Cause::Quota => "the CPU quota of the control group, rounded up",
        })
    }
}

/// The workers to start. `configured` is the value of `threads`, 0 for `auto`.
pub fn resolve(configured: usize, machine: Machine) -> Workers {
    if configured > 0 {
        return Workers { count: configured.min(WORKERS_MAX), cause: Cause::Configured };
    }
    let cpus = machine.affinity_cpus.max(1);
    let quota = machine.quota_cpus.map_or(usize::MAX, |quota| (quota.ceil() as usize).max(1));
    let cause = if quota < cpus { Cause::Quota } else { Cause::Affinity };
    Workers { count: cpus.min(quota).min(WORKERS_MAX), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(affinity_cpus: usize, quota_cpus: Option<f64>) -> Workers {
        resolve(0, Machine { affinity_cpus, quota_cpus })
    }

    #[test]
    fn the_smaller_of_mask_and_quota_decides() {
        assert_eq!(auto(8, None), Workers { count: 8, cause: Cause::Affinity });
        assert_eq!(auto(8, Some(2.5)), Workers { count: 3, cause: Cause::Quota });
        assert_eq!(auto(2, Some(4.0)), Workers { count: 2, cause: Cause::Affinity });
        assert_eq!(auto(4, Some(0.1)).count, 1);
        assert_eq!(auto(0, Some(-1.0)).count, 1);
        assert_eq!(auto(10_000, None).count, WORKERS_MAX);
    }

    #[test]
    fn a_configured_number_stands() {
        let machine = Machine { affinity_cpus: 2, quota_cpus: Some(1.0) };
        assert_eq!(resolve(8, machine), Workers { count: 8, cause: Cause::Configured });
    }
}
