// SPDX-License-Identifier: GPL-2.0
//! The operations of a thread, how often it chooses each, and which errors each may end in while
//! other threads do the same.

use crate::errno::Errno;

/// Kinds of operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Create,
    Delete,
    Resize,
    Map,
    Align,
    Bind,
    Unbind,
    Rebind,
    NewId,
    RemoveId,
    Kmem,
    Open,
    Touch,
    Split,
    Fork,
    Pin,
    Look,
}

/// Errors of calls on a path whose device goes away meanwhile.
const GONE: [Errno; 3] = [Errno::ENOENT, Errno::ENODEV, Errno::ENXIO];

impl Kind {
    /// All of them, by number.
    pub const ALL: [Kind; 17] = [
        Kind::Create,
        Kind::Delete,
        Kind::Resize,
        Kind::Map,
        Kind::Align,
        Kind::Bind,
        Kind::Unbind,
        Kind::Rebind,
        Kind::NewId,
        Kind::RemoveId,
        Kind::Kmem,
        Kind::Open,
        Kind::Touch,
        Kind::Split,
        Kind::Fork,
        Kind::Pin,
        Kind::Look,
    ];

    /// Number of times that it is chosen, compared with the others.
    pub fn weight(self) -> u64 {
        match self {
            Kind::Create => 80,
            Kind::Delete => 60,
            Kind::Resize => 200,
            Kind::Map => 120,
            Kind::Align => 40,
            Kind::Bind => 180,
            Kind::Unbind => 80,
            Kind::Rebind => 1,
            Kind::NewId => 25,
            Kind::RemoveId => 25,
            Kind::Kmem => 6,
            Kind::Open => 200,
            Kind::Touch => 150,
            Kind::Split => 30,
            Kind::Fork => 15,
            Kind::Pin => 20,
            Kind::Look => 100,
        }
    }

    /// Whether `errno` may be its answer.
    pub fn may_end_in(self, errno: Errno) -> bool {
        let own: &[Errno] = match self {
            Kind::Create => &[Errno::ENOSPC],
            Kind::Delete => &[Errno::EBUSY],
            // EINVAL: not a multiple of the alignment, which may be 1 GiB.
            Kind::Resize => &[Errno::EBUSY, Errno::EINVAL, Errno::ENOSPC],
            Kind::Map | Kind::Align => &[Errno::EBUSY, Errno::EINVAL],
            // EAGAIN: the driver core has not finished adding the device.
            Kind::Bind => &[Errno::EBUSY, Errno::EAGAIN],
            Kind::Unbind | Kind::Rebind => &[Errno::EBUSY],
            Kind::NewId | Kind::RemoveId | Kind::Kmem | Kind::Look => &[],
            // EINVAL: the length is not a multiple of the alignment.
            Kind::Open => &[Errno::EINVAL],
            Kind::Split => &[Errno::EINVAL],
            Kind::Touch => &[],
            Kind::Fork => &[Errno::EAGAIN],
            // EFAULT: the mapping is dead.
            Kind::Pin => &[Errno::EFAULT],
        };
        own.contains(&errno) || (self.is_about_devices() && GONE.contains(&errno))
    }

    /// Whether others may take away the object of the operation.
    fn is_about_devices(self) -> bool {
        !matches!(self, Kind::Touch | Kind::Split | Kind::Fork | Kind::Pin)
    }

    /// Number of its first allocations that may be made to fail; none unless it is a write
    /// to sysfs.
    ///
    /// Operations that may plug memory in starve only before they do that: if `__add_pages()` fails
    /// half way, sections and the kernel's own mapping stay, whichever driver asked, and that
    /// memory can never be bound again.
    pub fn may_starve(self) -> Option<u64> {
        match self {
            Kind::Create
            | Kind::Delete
            | Kind::Resize
            | Kind::Map
            | Kind::Align
            | Kind::Unbind
            | Kind::RemoveId => Some(60),
            Kind::Bind | Kind::Rebind | Kind::NewId | Kind::Kmem => Some(10),
            Kind::Open | Kind::Touch | Kind::Split | Kind::Fork | Kind::Pin | Kind::Look => None,
        }
    }
}
