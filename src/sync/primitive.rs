//! The one switch between std and loom, and the places where a model check plants a mistake.
//!
//! A model that passes proves little until it is seen to fail. So each ordering that carries an
//! argument names a [`Site`]; under loom a test may weaken one site (`plant`) and demands that
//! the model then fails. In a normal build [`ordering`] and [`skips`] are constants that vanish.

pub use std::sync::atomic::Ordering;

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, fence};
#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, fence};

#[cfg(not(loom))]
pub use crossbeam_utils::Backoff;
#[cfg(loom)]
pub use model::Backoff;

#[cfg(loom)]
pub use loom::cell::{MutPtr, UnsafeCell};
#[cfg(not(loom))]
pub use plain::{MutPtr, UnsafeCell};

#[cfg(loom)]
pub use model::{plant, planted};

/// A place whose ordering, or whose whole step, an argument depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// [`super::ring::Ring`]: the store that makes a pushed value visible.
    RingPublish,
    /// The claim of a push, which makes "full" exact.
    RingClaim,
    /// [`super::seqlock::ControlWord`]: the fence between the lock bit and the data.
    SeqlockBegin,
    /// The store that ends a write.
    SeqlockEnd,
    /// The fence between a reader's data and its second look.
    SeqlockValidate,
    /// [`super::exclusive::ExclusiveSeq`]: the fence behind the raise.
    ExclusiveRaise,
    /// The look of a reader.
    ExclusiveCheck,
    /// The store that announces a move.
    ExclusiveMoved,
    /// [`super::turn::TurnCell`]: the transition into a turn.
    TurnEnter,
    /// The transition out of a turn.
    TurnFinish,
    /// The transition that notes flags.
    TurnNotify,
    /// The check of the generation.
    TurnGeneration,
    /// The look at the dirty state on the way out of a turn.
    TurnDirty,
    /// [`super::park::Parker`]: the fence of the one who parks.
    ParkFence,
    /// The fence of the one who pushes.
    WakeFence,
    /// [`super::log_ring::LogRing`]: the store of a record's tag.
    LogPublish,
    /// The load of it.
    LogTake,
}

/// `strong`, unless a model check has planted a mistake at `site`.
#[cfg(not(loom))]
#[inline(always)]
pub const fn ordering(_site: Site, strong: Ordering) -> Ordering {
    strong
}

/// False, unless a model check has planted a mistake at `site`.
#[cfg(not(loom))]
#[inline(always)]
pub const fn skips(_site: Site) -> bool {
    false
}

/// `strong`, unless a model check has planted a mistake at `site`.
#[cfg(loom)]
pub fn ordering(site: Site, strong: Ordering) -> Ordering {
    if planted() == Some(site) { Ordering::Relaxed } else { strong }
}

/// False, unless a model check has planted a mistake at `site`.
#[cfg(loom)]
pub fn skips(site: Site) -> bool {
    planted() == Some(site)
}

#[cfg(not(loom))]
mod plain {
    /// `std::cell::UnsafeCell` in the shape of loom's, which tracks who looks.
    #[derive(Debug, Default)]
    pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        /// Wraps a value.
        pub const fn new(value: T) -> UnsafeCell<T> {
            UnsafeCell(std::cell::UnsafeCell::new(value))
        }

        /// A pointer for exclusive access; that it is exclusive is the caller's argument.
        #[inline(always)]
        pub fn get_mut(&self) -> MutPtr<T> {
            MutPtr(self.0.get())
        }
    }

    /// A pointer that its holder has exclusively.
    #[derive(Debug)]
    pub struct MutPtr<T>(*mut T);

    impl<T> MutPtr<T> {
        /// The value behind the pointer.
        ///
        /// # Safety
        ///
        /// The cell is alive, and nobody else reads or writes it while the reference lives.
        #[inline(always)]
        #[allow(clippy::mut_from_ref)]
        pub unsafe fn deref(&self) -> &mut T {
            // SAFETY: [sync-001] I-TURN: the caller has the cell to itself.
            unsafe { &mut *self.0 }
        }
    }
}

#[cfg(loom)]
mod model {
    use super::Site;
    use std::cell::Cell;

    thread_local! {
        // A model runs on one thread of the system, and each test has its own.
        static PLANTED: Cell<Option<Site>> = const { Cell::new(None) };
    }

    /// Plants a mistake at `site` for the models that this thread runs from now on.
    pub fn plant(site: Option<Site>) {
        PLANTED.set(site);
    }

    /// The site of the planted mistake.
    pub fn planted() -> Option<Site> {
        PLANTED.get()
    }

    /// Waits by letting the other threads of the model run.
    pub struct Backoff;

    impl Backoff {
        /// A fresh one.
        pub fn new() -> Backoff {
            Backoff
        }
        /// The other threads get their chance.
        pub fn spin(&self) {
            loom::thread::yield_now();
        }
        /// The other threads get their chance.
        pub fn snooze(&self) {
            loom::thread::yield_now();
        }
    }
}
