// SPDX-License-Identifier: GPL-2.0

//! `struct cdev` and the file and mapping operations of a dax device.

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    sync::Arc, //
};

use super::{
    dev_dax::RawDevDax,
    liveness::Liveness,
    module::THIS_MODULE,
    object::{
        FromDevice,
        Object, //
    },
    vma::{
        Fault,
        VmFault,
        VmaDesc, //
    }, //
};

/// What a character device does. A file carries an `Arc<Self>` from open to
/// release.
pub(crate) trait CharDev: Sized + Send + Sync + 'static {
    /// The device whose `devt` is opened.
    type Device: Object + Sync + AsRef<RawDevDax>;

    /// `open(2)`: what the new file belongs to.
    ///
    /// # Errors
    ///
    /// What `open(2)` fails with.
    fn open(device: &Self::Device) -> Result<Arc<Self>>;
    /// Whose pages the file's mappings show.
    fn liveness(&self) -> &Arc<Liveness>;
    /// `mmap(2)`: whether the mapping may be made.
    ///
    /// # Errors
    ///
    /// What `mmap(2)` fails with.
    fn mmap(&self, desc: &mut VmaDesc) -> Result;
    /// `mmap(2)`: where a mapping of `len` bytes from page `pgoff` should go. `hint` is
    /// where the user wants it, or must have it if that `is_fixed`; 0 is anywhere.
    /// `find` finds room for so many bytes, given a hint; what is no multiple of a page
    /// is an errno.
    fn unmapped_area(
        &self,
        hint: usize,
        len: usize,
        pgoff: usize,
        is_fixed: bool,
        find: &dyn Fn(usize, usize) -> usize,
    ) -> usize;
    /// A page fault of size 2^`order` pages.
    fn fault(&self, fault: &mut Fault, order: u32) -> VmFault;
    /// Whether a mapping may be cut at `addr`.
    ///
    /// # Errors
    ///
    /// What `munmap(2)`, `mprotect(2)`, ... fail with.
    fn may_split(&self, addr: usize) -> Result;
    /// The size of the pages in mappings, in bytes.
    fn page_size(&self) -> usize;
}

/// A character device that can be opened; dropping it takes it away. Files
/// that are open go on to refer to it.
///
/// Allocated per binding: a second life of a `struct cdev` that old files still
/// refer to would corrupt its reference count.
///
/// # Invariants
///
/// The cdev was added, and we own a reference of it.
pub(crate) struct Cdev(NonNull<bindings::cdev>);

// SAFETY: The character device core synchronises.
unsafe impl Send for Cdev {}

impl Cdev {
    /// Makes `device` openable under its number. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and what `cdev_add()` fails with.
    pub(crate) fn add<C: CharDev>(device: &C::Device) -> Result<Self> {
        // SAFETY: Has no precondition.
        let cdev = NonNull::new(unsafe { bindings::cdev_alloc() }).ok_or(ENOMEM)?;
        let raw = cdev.as_ptr();
        // SAFETY: Fresh and ours.
        unsafe {
            (*raw).ops = Ops::<C>::FILE;
            (*raw).owner = THIS_MODULE;
        }
        let dev = super::object::as_raw(super::object::device(device));
        // SAFETY: The cdev is fresh; while files refer to it, it refers to the
        // device, from which `open_callback` finds its way.
        unsafe { bindings::cdev_set_parent(raw, &raw mut (*dev).kobj) };
        // SAFETY: Complete; the number is the device's own.
        let added = to_result(unsafe { bindings::cdev_add(raw, device.as_ref().dax().devt(), 1) });
        if added.is_err() {
            // SAFETY: Drops the reference that cdev_alloc() gave us. cdev_add()
            // takes one of the parent only when it succeeds.
            unsafe {
                (*raw).kobj.parent = core::ptr::null_mut();
                bindings::kobject_put(&raw mut (*raw).kobj);
            }
        }
        added?;
        // INVARIANT: Added, with the reference of cdev_alloc().
        Ok(Self(cdev))
    }
}

impl Drop for Cdev {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::cdev_del(self.0.as_ptr()) };
    }
}

struct Ops<C>(PhantomData<C>);

impl<C: CharDev> Ops<C> {
    const FILE: &'static bindings::file_operations = &{
        // SAFETY: All zeroes is a valid `struct file_operations`.
        let mut ops: bindings::file_operations = unsafe { core::mem::zeroed() };
        ops.owner = THIS_MODULE;
        ops.llseek = Some(bindings::noop_llseek);
        ops.open = Some(open_callback::<C>);
        ops.release = Some(release_callback::<C>);
        ops.mmap_prepare = Some(mmap_callback::<C>);
        ops.get_unmapped_area = Some(unmapped_area_callback::<C>);
        ops.fop_flags = bindings::FOP_MMAP_SYNC;
        ops
    };

    const VM: &'static bindings::vm_operations_struct = &{
        // SAFETY: All zeroes is a valid `struct vm_operations_struct`.
        let mut ops: bindings::vm_operations_struct = unsafe { core::mem::zeroed() };
        ops.fault = Some(fault_callback::<C>);
        ops.huge_fault = Some(huge_fault_callback::<C>);
        ops.may_split = Some(may_split_callback::<C>);
        ops.pagesize = Some(page_size_callback::<C>);
        ops
    };
}

/// What `open_callback` stored in a file.
///
/// # Safety
///
/// `file` was opened by [`open_callback`] for the same `C` and is open for `'a`.
unsafe fn file_data<'a, C: CharDev>(file: *const bindings::file) -> &'a C {
    // SAFETY: By the contract the pointer is that of an `Arc` that the file owns.
    unsafe { &*(*file).private_data.cast_const().cast::<C>() }
}

/// # Safety
///
/// As all callbacks below called by the VFS or the memory manager, for a file
/// of a [`Cdev`] that was made for the same `C`.
unsafe extern "C" fn open_callback<C: CharDev>(
    inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> kernel::ffi::c_int {
    from_result(|| {
        // SAFETY: The VFS got here through the inode's cdev and holds a
        // reference of it; its parent is the device.
        let dev = unsafe { bindings::dax_glue_inode_device(inode) };
        // SAFETY: The cdev was added for a `C::Device`, and refers to it.
        let device = unsafe { C::Device::from_device(dev) };
        let data = C::open(device)?;
        // Only the file points to the shared address space. The inode that was
        // opened may outlive the device, and a pointer in it would dangle.
        // SAFETY: The file is being opened; the mapping lives as long as `data`.
        unsafe { bindings::dax_glue_file_set_mapping(inode, file, data.liveness().mapping()) };
        // SAFETY: The file is being opened, so it is ours.
        unsafe { (*file).private_data = Arc::into_raw(data).cast_mut().cast() };
        Ok(0)
    })
}

/// # Safety
///
/// See [`open_callback`].
unsafe extern "C" fn release_callback<C: CharDev>(
    _inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> kernel::ffi::c_int {
    // SAFETY: `open_callback` stored the pointer, and this is the file's end.
    drop(unsafe { Arc::<C>::from_raw((*file).private_data.cast_const().cast()) });
    0
}

/// # Safety
///
/// See [`open_callback`].
unsafe extern "C" fn mmap_callback<C: CharDev>(
    desc: *mut bindings::vm_area_desc,
) -> kernel::ffi::c_int {
    from_result(|| {
        // SAFETY: The descriptor is ours for this call; `VmaDesc` is
        // transparent.
        let desc = unsafe { &mut *desc.cast::<VmaDesc>() };
        // SAFETY: The file is open.
        let data = unsafe { file_data::<C>(desc.file()) };
        data.mmap(desc)?;
        desc.set_ops(Ops::<C>::VM);
        Ok(0)
    })
}

/// # Safety
///
/// See [`open_callback`].
unsafe extern "C" fn unmapped_area_callback<C: CharDev>(
    file: *mut bindings::file,
    addr: kernel::ffi::c_ulong,
    len: kernel::ffi::c_ulong,
    pgoff: kernel::ffi::c_ulong,
    flags: kernel::ffi::c_ulong,
) -> kernel::ffi::c_ulong {
    let find = |hint, len| {
        // SAFETY: The arguments are those of our own call, but for hint and length.
        unsafe { bindings::mm_get_unmapped_area(file, hint, len, pgoff, flags) }
    };
    let is_fixed = flags & bindings::MAP_FIXED as kernel::ffi::c_ulong != 0;
    // SAFETY: The file is open.
    unsafe { file_data::<C>(file) }.unmapped_area(addr, len, pgoff, is_fixed, &find)
}

/// # Safety
///
/// See [`open_callback`].
unsafe extern "C" fn fault_callback<C: CharDev>(
    vmf: *mut bindings::vm_fault,
) -> bindings::vm_fault_t {
    // SAFETY: The same contract.
    unsafe { huge_fault_callback::<C>(vmf, 0) }
}

/// # Safety
///
/// See [`open_callback`].
unsafe extern "C" fn huge_fault_callback<C: CharDev>(
    vmf: *mut bindings::vm_fault,
    order: kernel::ffi::c_uint,
) -> bindings::vm_fault_t {
    // SAFETY: The fault is ours for this call; `Fault` is transparent.
    let fault = unsafe { &mut *vmf.cast::<Fault>() };
    // SAFETY: The VMA refers to the file.
    let data = unsafe { file_data::<C>(fault.file()) };
    data.fault(fault, order).0
}

/// # Safety
///
/// See [`open_callback`].
unsafe extern "C" fn may_split_callback<C: CharDev>(
    vma: *mut bindings::vm_area_struct,
    addr: kernel::ffi::c_ulong,
) -> kernel::ffi::c_int {
    from_result(|| {
        // SAFETY: The VMA is locked and refers to the file.
        unsafe { file_data::<C>((*vma).vm_file) }.may_split(addr)?;
        Ok(0)
    })
}

/// # Safety
///
/// See [`open_callback`].
unsafe extern "C" fn page_size_callback<C: CharDev>(
    vma: *mut bindings::vm_area_struct,
) -> kernel::ffi::c_ulong {
    // SAFETY: The VMA is locked and refers to the file.
    unsafe { file_data::<C>((*vma).vm_file) }.page_size()
}
