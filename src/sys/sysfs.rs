// SPDX-License-Identifier: GPL-2.0

//! Attributes as tables: name, mode, show, store, visibility.
//!
//! A store handler returns `Result<()>`; only this file turns that into what
//! `write(2)` sees: the full count (which covers the NUL that daxctl writes
//! behind its text) or a negative errno, never 0.

use core::marker::PhantomData;

use kernel::{
    bindings,
    fmt::{
        self,
        Write, //
    },
    page::PAGE_SIZE,
    prelude::*,
    str::{
        as_char_ptr_in_const_context,
        Formatter, //
    },
    types::Opaque, //
};

use super::object::FromDevice;

/// Where a show handler writes: one page, as sysfs gives it.
pub(crate) struct Text<'a>(Formatter<'a>);

impl Write for Text<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0.write_str(s)
    }
}

type Show<T> = fn(&T, &mut Text<'_>) -> Result;
type Store<T> = fn(&T, &CStr) -> Result;
type Mode<T> = fn(&T) -> u16;

/// One attribute of devices that belong to a `T`.
#[repr(C)]
pub(crate) struct Attribute<T> {
    raw: Opaque<bindings::device_attribute>,
    show: Option<Show<T>>,
    store: Option<Store<T>>,
    mode: Option<Mode<T>>,
}

// SAFETY: Never written after construction.
unsafe impl<T> Sync for Attribute<T> {}

impl<T: FromDevice> Attribute<T> {
    /// An attribute that can be read.
    pub(crate) const fn ro(name: &'static CStr, mode: u16, show: Show<T>) -> Self {
        Self::new(name, mode, Some(show), None)
    }

    /// An attribute that can be written.
    pub(crate) const fn wo(name: &'static CStr, mode: u16, store: Store<T>) -> Self {
        Self::new(name, mode, None, Some(store))
    }

    /// An attribute that can be read and written.
    pub(crate) const fn rw(name: &'static CStr, mode: u16, show: Show<T>, store: Store<T>) -> Self {
        Self::new(name, mode, Some(show), Some(store))
    }

    /// The mode depends on the object: `mode` returns it, 0 hides the file.
    pub(crate) const fn mode_of(mut self, mode: Mode<T>) -> Self {
        self.mode = Some(mode);
        self
    }

    const fn new(
        name: &'static CStr,
        mode: u16,
        show: Option<Show<T>>,
        store: Option<Store<T>>,
    ) -> Self {
        // SAFETY: All zeroes is a valid `struct device_attribute`.
        let mut raw: bindings::device_attribute = unsafe { core::mem::zeroed() };
        raw.attr.name = as_char_ptr_in_const_context(name);
        raw.attr.mode = mode;
        if show.is_some() {
            raw.__bindgen_anon_1.show = Some(show_callback::<T>);
        }
        if store.is_some() {
            raw.__bindgen_anon_2.store = Some(store_callback::<T>);
        }
        Self {
            raw: Opaque::new(raw),
            show,
            store,
            mode: None,
        }
    }
}

/// Calls `show` with the page that sysfs hands out.
fn show_text(buf: *mut kernel::ffi::c_char, show: impl FnOnce(&mut Text<'_>) -> Result) -> isize {
    // SAFETY: The callers got `buf` from sysfs, which gives each show handler
    // a page of its own.
    let page = unsafe { core::slice::from_raw_parts_mut(buf.cast::<u8>(), PAGE_SIZE) };
    let mut text = Text(Formatter::new(page));
    match show(&mut text) {
        Ok(()) => text.0.bytes_written() as isize,
        Err(e) => e.to_errno() as isize,
    }
}

/// Calls `store` with the text up to its first NUL.
pub(super) fn store_text(
    buf: *const kernel::ffi::c_char,
    count: usize,
    store: impl FnOnce(&CStr) -> Result,
) -> isize {
    // SAFETY: The callers got `buf` from sysfs, which puts a NUL behind the
    // `count` bytes that were written.
    let text = unsafe { CStr::from_char_ptr(buf) };
    match store(text) {
        Ok(()) => count as isize,
        Err(e) => e.to_errno() as isize,
    }
}

/// # Safety
///
/// Called by sysfs: `attr` is inside an `Attribute<T>`, which is on `dev`.
unsafe extern "C" fn show_callback<T: FromDevice>(
    dev: *mut bindings::device,
    attr: *mut bindings::device_attribute,
    buf: *mut kernel::ffi::c_char,
) -> isize {
    // SAFETY: `raw` is the first field of the attribute, which is static.
    let attr = unsafe { &*attr.cast_const().cast::<Attribute<T>>() };
    // SAFETY: The attribute is on `dev`, and the core removes it, waiting for
    // this call, before the object goes.
    let object = unsafe { T::from_device(dev) };
    show_text(buf, |text| {
        attr.show.map_or(Err(EIO), |show| show(object, text))
    })
}

/// # Safety
///
/// As [`show_callback`].
unsafe extern "C" fn store_callback<T: FromDevice>(
    dev: *mut bindings::device,
    attr: *mut bindings::device_attribute,
    buf: *const kernel::ffi::c_char,
    count: usize,
) -> isize {
    // SAFETY: `raw` is the first field of the attribute, which is static.
    let attr = unsafe { &*attr.cast_const().cast::<Attribute<T>>() };
    // SAFETY: As in `show_callback`.
    let object = unsafe { T::from_device(dev) };
    store_text(buf, count, |text| {
        attr.store.map_or(Err(EIO), |store| store(object, text))
    })
}

/// # Safety
///
/// Called by sysfs for a group of [`Attribute<T>`]s: `kobj` is inside a
/// device that belongs to a `T`, `attr` inside an `Attribute<T>`.
unsafe extern "C" fn visible_callback<T: FromDevice>(
    kobj: *mut bindings::kobject,
    attr: *mut bindings::attribute,
    _index: kernel::ffi::c_int,
) -> bindings::umode_t {
    let dev = kobj
        .wrapping_byte_sub(core::mem::offset_of!(bindings::device, kobj))
        .cast::<bindings::device>();
    // SAFETY: `attr` is the first field of `raw`, which is the first of the
    // attribute.
    let attribute = unsafe { &*attr.cast_const().cast::<Attribute<T>>() };
    match attribute.mode {
        // SAFETY: The group is being created on `dev`, whose object exists.
        Some(mode) => mode(unsafe { T::from_device(dev) }),
        // SAFETY: `attr` is valid by the contract.
        None => unsafe { (*attr).mode },
    }
}

/// `is_visible` of a group.
pub(super) type Visible = unsafe extern "C" fn(
    *mut bindings::kobject,
    *mut bindings::attribute,
    kernel::ffi::c_int,
) -> bindings::umode_t;

/// An attribute that C finds in a group.
///
/// # Safety
///
/// `Self` begins with a `struct attribute`, and [`GroupMember::VISIBLE`] may be
/// called for it on whatever the group is added to.
pub(crate) unsafe trait GroupMember: 'static {
    /// Says which mode an attribute has, if that is not always the same.
    const VISIBLE: Option<Visible>;
}

// SAFETY: `raw.attr` is the first field of the first field. Groups of these
// reach a device only through its type or `DriverData`, so it belongs to a `T`.
unsafe impl<T: FromDevice> GroupMember for Attribute<T> {
    const VISIBLE: Option<Visible> = Some(visible_callback::<T>);
}

/// The attributes of a group, as the NULL-terminated array that C wants.
#[repr(C)]
pub(crate) struct AttributeList<A, const N: usize> {
    attrs: [*const bindings::attribute; N],
    end: *const bindings::attribute,
    of: PhantomData<fn(A)>,
}

// SAFETY: Never written after construction; points to statics.
unsafe impl<A, const N: usize> Sync for AttributeList<A, N> {}

impl<A: GroupMember, const N: usize> AttributeList<A, N> {
    /// A list of static attributes.
    // Evaluated when the driver is compiled.
    #[allow(clippy::indexing_slicing)]
    pub(crate) const fn new(attributes: [&'static A; N]) -> Self {
        let mut attrs = [core::ptr::null(); N];
        let mut i = 0;
        while i < N {
            // CAST: By the contract of `GroupMember` it begins with one.
            attrs[i] = core::ptr::from_ref(attributes[i]).cast();
            i += 1;
        }
        Self {
            attrs,
            end: core::ptr::null(),
            of: PhantomData,
        }
    }
}

/// `struct attribute_group` of attributes of type `A`.
#[repr(transparent)]
pub(crate) struct Group<A>(Opaque<bindings::attribute_group>, PhantomData<fn(A)>);

// SAFETY: Never written after construction.
unsafe impl<A> Sync for Group<A> {}

impl<A: GroupMember> Group<A> {
    /// A group in a folder `name` of what it is added to, or in its own.
    pub(crate) const fn new<const N: usize>(
        name: Option<&'static CStr>,
        list: &'static AttributeList<A, N>,
    ) -> Self {
        // SAFETY: All zeroes is a valid `struct attribute_group`.
        let mut raw: bindings::attribute_group = unsafe { core::mem::zeroed() };
        if let Some(name) = name {
            raw.name = as_char_ptr_in_const_context(name);
        }
        raw.__bindgen_anon_1.is_visible = A::VISIBLE;
        raw.__bindgen_anon_2.attrs_const = core::ptr::from_ref(list).cast();
        Self(Opaque::new(raw), PhantomData)
    }
}

/// A NULL-terminated array with one group.
#[repr(C)]
pub(crate) struct Groups<A>([*const bindings::attribute_group; 2], PhantomData<fn(A)>);

// SAFETY: Never written after construction; points to a static.
unsafe impl<A> Sync for Groups<A> {}

impl<A: GroupMember> Groups<A> {
    /// The array for `group`.
    pub(crate) const fn new(group: &'static Group<A>) -> Self {
        Self([group.0.get().cast_const(), core::ptr::null()], PhantomData)
    }

    /// What C stores.
    pub(super) const fn as_ptr(&'static self) -> *const *const bindings::attribute_group {
        core::ptr::from_ref(self).cast()
    }
}
