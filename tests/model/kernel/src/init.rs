// SPDX-License-Identifier: GPL-2.0

//! Initialisation in place, as the crate pin-init has it.

use core::convert::Infallible;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::pin::Pin;

/// Something that makes a `T` where it is to stay.
///
/// # Safety
///
/// If [`PinInit::init_at`] returns `Ok`, there is a `T`; else there is none.
pub unsafe trait PinInit<T, E = Infallible>: Sized {
    /// Makes it.
    ///
    /// # Safety
    ///
    /// `slot` has room for a `T`, which is not moved later.
    ///
    /// # Errors
    ///
    /// The error of making the value.
    unsafe fn init_at(self, slot: *mut T) -> Result<(), E>;
}

/// The same here; nothing depends on whether the value may move.
pub use PinInit as Init;

// SAFETY: Writes the value.
unsafe impl<T> PinInit<T> for T {
    unsafe fn init_at(self, slot: *mut T) -> Result<(), Infallible> {
        // SAFETY: By the contract.
        unsafe { slot.write(self) };
        Ok(())
    }
}

/// An initialiser that is a function.
pub struct Closure<F, T, E>(F, PhantomData<fn(T, E)>);

// SAFETY: By the contract of `from_closure`.
unsafe impl<F: FnOnce(*mut T) -> Result<(), E>, T, E> PinInit<T, E> for Closure<F, T, E> {
    unsafe fn init_at(self, slot: *mut T) -> Result<(), E> {
        (self.0)(slot)
    }
}

/// An initialiser that calls `f`.
///
/// # Safety
///
/// `f` keeps the promise of [`PinInit`].
pub unsafe fn from_closure<T, E>(f: impl FnOnce(*mut T) -> Result<(), E>) -> impl PinInit<T, E> {
    Closure(f, PhantomData)
}

/// Types that may be all zeroes.
///
/// # Safety
///
/// They may.
pub unsafe trait Zeroable {}

/// All zeroes.
pub fn init_zeroed<T: Zeroable>() -> impl PinInit<T> {
    // SAFETY: All zeroes is a `T`.
    unsafe {
        from_closure(|slot: *mut T| {
            slot.write_bytes(0, 1);
            Ok(())
        })
    }
}

/// Destructors of pinned values, see `pin_data(PinnedDrop)`.
pub trait PinnedDrop {
    /// Runs once.
    fn drop(self: Pin<&mut Self>);
}

/// Drops a field that was made when a later one fails.
pub struct DropGuard<T>(*mut T);

impl<T> DropGuard<T> {
    /// # Safety
    ///
    /// There is a `T`, which nobody else drops unless the guard is forgotten.
    pub unsafe fn new(field: *mut T) -> Self {
        Self(field)
    }
}

impl<T> Drop for DropGuard<T> {
    fn drop(&mut self) {
        // SAFETY: By the contract of `new`.
        unsafe { self.0.drop_in_place() };
    }
}

/// Makes a value on the heap of the host.
pub(crate) fn boxed<T, E>(init: impl PinInit<T, E>) -> Result<Box<T>, E> {
    let mut slot = Box::<MaybeUninit<T>>::new(MaybeUninit::uninit());
    // SAFETY: The slot has room; the value stays there.
    unsafe { init.init_at(slot.as_mut_ptr()) }?;
    // SAFETY: It was initialised; `MaybeUninit<T>` and `T` are alike.
    Ok(unsafe { Box::from_raw(Box::into_raw(slot).cast::<T>()) })
}

/// `pin_init!`: an initialiser that cannot fail.
#[macro_export]
macro_rules! pin_init {
    ($($all:tt)*) => {
        $crate::try_pin_init!($($all)* ? ::core::convert::Infallible)
    };
}

/// `try_pin_init!`: an initialiser of a struct, field by field, in the order in which
/// they are written. The fields that are made can be used by name.
#[macro_export]
macro_rules! try_pin_init {
    (&$this:ident in $t:ident { $($fields:tt)* } ? $e:ty) => {
        $crate::__init_struct!(@start $this $t ($e) { $($fields)* })
    };
    ($t:ident { $($fields:tt)* } ? $e:ty) => {
        $crate::__init_struct!(@start __this $t ($e) { $($fields)* })
    };
}

/// The parts that `try_pin_init!` consists of.
#[doc(hidden)]
#[macro_export]
macro_rules! __init_struct {
    (@start $this:ident $t:ident ($e:ty) { $($fields:tt)* }) => {{
        let __init = move |__slot: *mut $t| -> ::core::result::Result<(), $e> {
            #[allow(unused_variables)]
            // SAFETY: There is room, so it is not null.
            let $this = unsafe { ::core::ptr::NonNull::new_unchecked(__slot) };
            $crate::__init_struct!(@field __slot $t ($e) [] { $($fields)* })
        };
        // SAFETY: Every field is made, and those that are made are dropped when a later
        // one fails.
        unsafe { $crate::init::from_closure::<$t, $e>(__init) }
    }};
    // All done: each field exists and none was left out.
    (@field $slot:ident $t:ident ($e:ty) [$($done:ident)*] { $(,)? }) => {{
        #[allow(unreachable_code, clippy::diverging_sub_expression)]
        if false {
            let _: $t = $t { $($done: panic!()),* };
        }
        Ok(())
    }};
    (@field $slot:ident $t:ident ($e:ty) [$($done:ident)*] { $name:ident <- $init:expr , $($rest:tt)* }) => {{
        let __init = $init;
        // SAFETY: The field is inside the slot.
        unsafe { $crate::init::PinInit::init_at(__init, &raw mut (*$slot).$name) }?;
        $crate::__init_struct!(@made $slot $t ($e) [$($done)*] $name { $($rest)* })
    }};
    (@field $slot:ident $t:ident ($e:ty) [$($done:ident)*] { $name:ident <- $init:expr }) => {
        $crate::__init_struct!(@field $slot $t ($e) [$($done)*] { $name <- $init , })
    };
    (@field $slot:ident $t:ident ($e:ty) [$($done:ident)*] { $name:ident : $value:expr , $($rest:tt)* }) => {{
        let __value = $value;
        // SAFETY: The field is inside the slot.
        unsafe { (&raw mut (*$slot).$name).write(__value) };
        $crate::__init_struct!(@made $slot $t ($e) [$($done)*] $name { $($rest)* })
    }};
    (@field $slot:ident $t:ident ($e:ty) [$($done:ident)*] { $name:ident : $value:expr }) => {
        $crate::__init_struct!(@field $slot $t ($e) [$($done)*] { $name : $value , })
    };
    (@field $slot:ident $t:ident ($e:ty) [$($done:ident)*] { $name:ident , $($rest:tt)* }) => {
        $crate::__init_struct!(@field $slot $t ($e) [$($done)*] { $name : $name , $($rest)* })
    };
    (@field $slot:ident $t:ident ($e:ty) [$($done:ident)*] { $name:ident }) => {
        $crate::__init_struct!(@field $slot $t ($e) [$($done)*] { $name : $name , })
    };
    (@made $slot:ident $t:ident ($e:ty) [$($done:ident)*] $name:ident { $($rest:tt)* }) => {{
        // SAFETY: The field was made, and is this guard's until all are.
        let __guard = unsafe { $crate::init::DropGuard::new(&raw mut (*$slot).$name) };
        #[allow(unused_variables)]
        // SAFETY: It was made.
        let $name = unsafe { &mut (*$slot).$name };
        let __result: ::core::result::Result<(), $e> =
            $crate::__init_struct!(@field $slot $t ($e) [$($done)* $name] { $($rest)* });
        ::core::mem::forget(__guard);
        __result
    }};
}
