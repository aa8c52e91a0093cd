// SPDX-License-Identifier: GPL-2.0

//! Attributes as tables: name, mode, show, store, visibility.
//!
//! A store handler returns `Result<()>`. This file turns that into the result of
//! `write(2)`: a negative errno or the full count, never 0. The count includes the NUL that
//! daxctl writes after its text.

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

/// The buffer of a show handler: one page.
pub(crate) struct Text<'a>(Formatter<'a>);

impl Write for Text<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0.write_str(s)
    }
}

type Show<T> = fn(&T, &mut Text<'_>) -> Result;
type Store<T> = fn(&T, &CStr) -> Result;
type Mode<T> = fn(&T) -> u16;

/// An attribute of devices that belong to a `T`.
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
    /// A read-only attribute.
    pub(crate) const fn ro(name: &'static CStr, mode: u16, show: Show<T>) -> Self {
        Self::new(name, mode, Some(show), None)
    }

    /// A write-only attribute.
    pub(crate) const fn wo(name: &'static CStr, mode: u16, store: Store<T>) -> Self {
        Self::new(name, mode, None, Some(store))
    }

    /// An attribute that can be read and written.
    pub(crate) const fn rw(name: &'static CStr, mode: u16, show: Show<T>, store: Store<T>) -> Self {
        Self::new(name, mode, Some(show), Some(store))
    }

    /// Makes the mode depend on the object: `mode` returns the mode, and 0 hides the file.
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

/// Calls `show` with the page that sysfs provides.
///
/// # Safety
///
/// `buf` is a page that nobody else uses.
unsafe fn show_text(
    buf: *mut kernel::ffi::c_char,
    show: impl FnOnce(&mut Text<'_>) -> Result,
) -> isize {
    // SAFETY: By the contract this is a page, and nobody else uses it.
    let page = unsafe { core::slice::from_raw_parts_mut(buf.cast::<u8>(), PAGE_SIZE) };
    let mut text = Text(Formatter::new(page));
    // CAST: A page has less than 2^31 bytes, and an errno is less than 4096.
    match show(&mut text) {
        Ok(()) => text.0.bytes_written() as isize,
        Err(e) => e.to_errno() as isize,
    }
}

/// Calls `store` with the text up to its first NUL.
///
/// # Safety
///
/// `buf` has `count` bytes and a NUL behind them, and nobody changes these during the call.
pub(super) unsafe fn store_text(
    buf: *const kernel::ffi::c_char,
    count: usize,
    store: impl FnOnce(&CStr) -> Result,
) -> isize {
    // SAFETY: By the contract the text ends with a NUL and does not change.
    let text = unsafe { CStr::from_char_ptr(buf) };
    // CAST: `write(2)` takes less than 2^31 bytes, and an errno is less than 4096.
    match store(text) {
        Ok(()) => count as isize,
        Err(e) => e.to_errno() as isize,
    }
}

/// # Safety
///
/// sysfs calls this. `attr` is inside an `Attribute<T>`, which is on `dev`.
unsafe extern "C" fn show_callback<T: FromDevice>(
    dev: *mut bindings::device,
    attr: *mut bindings::device_attribute,
    buf: *mut kernel::ffi::c_char,
) -> isize {
    // SAFETY: By the contract `attr` is inside an `Attribute<T>`, of which it is the first
    // field, and attributes are static.
    let attr = unsafe { &*attr.cast_const().cast::<Attribute<T>>() };
    // SAFETY: The attribute is on `dev`, so by the contract of `FromDevice` `dev` is the
    // device of a `T`. Removing the attribute waits for this call.
    let object = unsafe { T::from_device(dev) };
    let show = |text: &mut Text<'_>| attr.show.map_or(Err(EIO), |show| show(object, text));
    // SAFETY: sysfs gives each show handler a page that nobody else uses.
    unsafe { show_text(buf, show) }
}

/// # Safety
///
/// See [`show_callback`].
unsafe extern "C" fn store_callback<T: FromDevice>(
    dev: *mut bindings::device,
    attr: *mut bindings::device_attribute,
    buf: *const kernel::ffi::c_char,
    count: usize,
) -> isize {
    // SAFETY: As in `show_callback`.
    let attr = unsafe { &*attr.cast_const().cast::<Attribute<T>>() };
    // SAFETY: As in `show_callback`.
    let object = unsafe { T::from_device(dev) };
    let store = |text: &CStr| {
        let stored = attr.store.map_or(Err(EIO), |store| store(object, text));
        stored.inspect_err(|e| {
            // SAFETY: The attribute is static, and its name was set when it was made. `dev`
            // lives for this call.
            unsafe { bindings::dax_glue_dbg_store(dev, (*attr.raw.get()).attr.name, e.to_errno()) }
        })
    };
    // SAFETY: sysfs appends a NUL to the bytes that were written, and keeps both for this
    // call.
    unsafe { store_text(buf, count, store) }
}

/// # Safety
///
/// sysfs calls this for a group of [`Attribute<T>`]s. `kobj` is inside a device that
/// belongs to a `T`, and `attr` is inside an `Attribute<T>`.
unsafe extern "C" fn visible_callback<T: FromDevice>(
    kobj: *mut bindings::kobject,
    attr: *mut bindings::attribute,
    _index: kernel::ffi::c_int,
) -> bindings::umode_t {
    let dev = kobj
        .wrapping_byte_sub(core::mem::offset_of!(bindings::device, kobj))
        .cast::<bindings::device>();
    // SAFETY: By the contract `attr` is inside an `Attribute<T>`, of which it is the first
    // field, and attributes are static.
    let attribute = unsafe { &*attr.cast_const().cast::<Attribute<T>>() };
    match attribute.mode {
        // SAFETY: The group is being created on `dev`, so by the contract of `FromDevice`
        // `dev` is the device of a `T`, which lives for this call.
        Some(mode) => mode(unsafe { T::from_device(dev) }),
        // SAFETY: `attr` is valid by the contract.
        None => unsafe { (*attr).mode },
    }
}

/// The type of `is_visible` of a group.
pub(super) type Visible = unsafe extern "C" fn(
    *mut bindings::kobject,
    *mut bindings::attribute,
    kernel::ffi::c_int,
) -> bindings::umode_t;

/// An attribute that can be in a group.
///
/// # Safety
///
/// `Self` begins with a `struct attribute`. [`GroupMember::VISIBLE`] may be called for that
/// attribute and every object that the group is added to.
pub(crate) unsafe trait GroupMember: 'static {
    /// The function that returns the mode of an attribute; `None` if modes are constant.
    const VISIBLE: Option<Visible>;
}

// SAFETY: `raw.attr` is the first field of the first field. Groups of these attributes
// reach a device only through its type or `DriverData`, so the device belongs to a `T`.
unsafe impl<T: FromDevice> GroupMember for Attribute<T> {
    const VISIBLE: Option<Visible> = Some(visible_callback::<T>);
}

/// The attributes of a group, as a NULL-terminated array for C.
#[repr(C)]
pub(crate) struct AttributeList<A, const N: usize> {
    attrs: [*const bindings::attribute; N],
    end: *const bindings::attribute,
    of: PhantomData<fn(A)>,
}

// SAFETY: Never written after construction; points to statics only.
unsafe impl<A, const N: usize> Sync for AttributeList<A, N> {}

impl<A: GroupMember, const N: usize> AttributeList<A, N> {
    /// Makes a list of static attributes.
    // Evaluated at compile time, so an index out of bounds does not compile.
    #[allow(clippy::indexing_slicing)]
    pub(crate) const fn new(attributes: [&'static A; N]) -> Self {
        let mut attrs = [core::ptr::null(); N];
        let mut i = 0;
        while i < N {
            // CAST: By the contract of `GroupMember` each begins with a `struct attribute`.
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

/// A `struct attribute_group` whose attributes are of type `A`.
#[repr(transparent)]
pub(crate) struct Group<A>(Opaque<bindings::attribute_group>, PhantomData<fn(A)>);

// SAFETY: Never written after construction.
unsafe impl<A> Sync for Group<A> {}

impl<A: GroupMember> Group<A> {
    /// A group in the subdirectory `name`; in the directory of the object itself if that is
    /// `None`.
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
        // CAST: The first field of the list is the array, and its second the NULL behind it.
        raw.__bindgen_anon_2.attrs_const = core::ptr::from_ref(list).cast();
        Self(Opaque::new(raw), PhantomData)
    }
}

/// A NULL-terminated array of one group.
#[repr(C)]
pub(crate) struct Groups<A>([*const bindings::attribute_group; 2], PhantomData<fn(A)>);

// SAFETY: Never written after construction; points to a static only.
unsafe impl<A> Sync for Groups<A> {}

impl<A: GroupMember> Groups<A> {
    /// The array that has only `group`.
    pub(crate) const fn new(group: &'static Group<A>) -> Self {
        Self([group.0.get().cast_const(), core::ptr::null()], PhantomData)
    }

    /// The pointer that C keeps.
    pub(super) const fn as_ptr(&'static self) -> *const *const bindings::attribute_group {
        // CAST: The array is the first field.
        core::ptr::from_ref(self).cast()
    }
}
