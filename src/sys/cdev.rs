// SPDX-License-Identifier: GPL-2.0

//! `struct cdev`, and the file and VMA operations of a dax device.

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
        self,
        FromDevice,
        Object, //
    },
    vma::{
        Fault,
        VmFault,
        VmaDesc, //
    }, //
};

/// The callbacks of a character device. A file owns an `Arc<Self>` from open to release.
pub(crate) trait CharDev: Sized + Send + Sync + 'static {
    /// The device that the cdev belongs to.
    type Device: Object + Sync + AsRef<RawDevDax>;

    /// `open(2)`: returns the object that the new file owns. May sleep.
    ///
    /// # Errors
    ///
    /// The errno of `open(2)`.
    fn open(device: &Self::Device) -> Result<Arc<Self>>;
    /// The liveness of the pages that VMAs of the file map.
    fn liveness(&self) -> &Arc<Liveness>;
    /// `mmap(2)`: checks the VMA that is about to be made. May sleep; the mmap lock is
    /// held.
    ///
    /// # Errors
    ///
    /// The errno of `mmap(2)`.
    fn mmap(&self, desc: &mut VmaDesc) -> Result;
    /// `mmap(2)`: returns the address of a new VMA of `len` bytes from page `pgoff` of the
    /// file, or an errno, which is not a multiple of `PAGE_SIZE`. `hint` is the address
    /// that the user wants, or must get if `is_fixed`; 0 is any address. `find(hint, len)`
    /// finds free address space in the same way.
    fn unmapped_area(
        &self,
        hint: usize,
        len: usize,
        pgoff: usize,
        is_fixed: bool,
        find: &dyn Fn(usize, usize) -> usize,
    ) -> usize;
    /// Size of what the file maps in bytes, for `lseek(2)` with `SEEK_END`.
    ///
    /// # Errors
    ///
    /// The errno of `lseek(2)`.
    fn size(&self) -> Result<u64>;
    /// Handles a page fault of 2^`order` pages of `PAGE_SIZE`. May sleep; the mmap lock or
    /// the lock of the VMA is held.
    fn fault(&self, fault: &mut Fault, order: u32) -> VmFault;
    /// Checks whether a VMA may be split at `addr`.
    ///
    /// # Errors
    ///
    /// The errno of `munmap(2)`, `mprotect(2)` and the like.
    fn may_split(&self, addr: usize) -> Result;
    /// Size of the pages that VMAs map, in bytes.
    fn page_size(&self) -> usize;
}

/// A character device that can be opened. Dropping it removes the cdev; open files still
/// refer to it.
///
/// Each binding allocates a new one. To initialise a `struct cdev` again while old files
/// refer to it would corrupt its reference count.
///
/// # Invariants
///
/// The cdev was added, and this owns a reference to it.
pub(crate) struct Cdev(NonNull<bindings::cdev>);

// SAFETY: `cdev_del()` may be called from any task.
unsafe impl Send for Cdev {}

impl Cdev {
    /// Makes `device` openable under its number. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and the errors of `cdev_add()`.
    pub(crate) fn add<C: CharDev>(device: &C::Device) -> Result<Self> {
        // SAFETY: `cdev_alloc()` has no precondition.
        let cdev = NonNull::new(unsafe { bindings::cdev_alloc() }).ok_or(ENOMEM)?;
        let raw = cdev.as_ptr();
        // SAFETY: `raw` was just allocated, and nobody else knows it.
        unsafe {
            (*raw).ops = Ops::<C>::FILE;
            (*raw).owner = THIS_MODULE;
        }
        let dev = object::raw(device);
        // SAFETY: `raw` was not added yet, and both pointers are valid. Once it is added,
        // the cdev holds a reference to the device until the last file is closed.
        unsafe { bindings::cdev_set_parent(raw, &raw mut (*dev).kobj) };
        // SAFETY: `raw` is initialised: its operations, owner and parent are set. The
        // number belongs to the device alone.
        let added = to_result(unsafe { bindings::cdev_add(raw, device.as_ref().dax().devt(), 1) });
        if added.is_err() {
            // SAFETY: This drops the reference of cdev_alloc(). The parent is cleared
            // first, since cdev_add() takes a reference to it only on success.
            unsafe {
                (*raw).kobj.parent = core::ptr::null_mut();
                bindings::kobject_put(&raw mut (*raw).kobj);
            }
        }
        added?;
        // INVARIANT: The cdev was added just now, and we own the reference of cdev_alloc().
        Ok(Self(cdev))
    }
}

impl Drop for Cdev {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the cdev was added, and we own a reference to it.
        unsafe { bindings::cdev_del(self.0.as_ptr()) };
    }
}

struct Ops<C>(PhantomData<C>);

impl<C: CharDev> Ops<C> {
    const FILE: &'static bindings::file_operations = &{
        // SAFETY: All zeroes is a valid `struct file_operations`.
        let mut ops: bindings::file_operations = unsafe { core::mem::zeroed() };
        ops.owner = THIS_MODULE;
        ops.llseek = Some(llseek_callback::<C>);
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

/// Returns the object that `open_callback` stored in `file`.
///
/// # Safety
///
/// [`open_callback`] opened `file` for the same `C`, and `file` stays open for `'a`.
unsafe fn file_data<'a, C: CharDev>(file: *const bindings::file) -> &'a C {
    // SAFETY: By the contract `private_data` points into an `Arc<C>` that the file owns for
    // `'a`.
    unsafe { &*(*file).private_data.cast_const().cast::<C>() }
}

/// # Safety
///
/// The VFS or the memory manager calls this, and the callbacks below, for a file or a VMA
/// of a [`Cdev`] that was added for the same `C`.
unsafe extern "C" fn open_callback<C: CharDev>(
    inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> kernel::ffi::c_int {
    from_result(|| {
        // SAFETY: The VFS got here through the inode's cdev and holds a reference to that;
        // `Cdev::add` set its parent.
        let dev = unsafe { bindings::dax_glue_inode_device(inode) };
        // SAFETY: `Cdev::add` made the device inside a `C::Device` the cdev's parent. The
        // cdev refers to it.
        let device = unsafe { C::Device::from_device(dev) };
        let data = C::open(device)?;
        // Only the file gets the shared address space; C also puts it into the inode. The
        // inode may outlive the device, and the pointer would dangle.
        // SAFETY: The file is being opened, so nobody else uses it. The address space
        // lives as long as `data`, which the file owns.
        unsafe {
            bindings::dax_glue_file_set_mapping(inode, file, data.liveness().address_space())
        };
        // SAFETY: The file is being opened, so nobody else uses it.
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
    // SAFETY: `open_callback` stored the result of `Arc::into_raw`. The file is being
    // closed, so nobody uses the pointer after this.
    drop(unsafe { Arc::<C>::from_raw((*file).private_data.cast_const().cast()) });
    0
}

/// Answers `SEEK_END` with the size. As in C, no other seek does anything; nor does this one
/// move the position, which nobody uses.
///
/// # Safety
///
/// See [`open_callback`].
unsafe extern "C" fn llseek_callback<C: CharDev>(
    file: *mut bindings::file,
    offset: bindings::loff_t,
    whence: kernel::ffi::c_int,
) -> bindings::loff_t {
    if u32::try_from(whence) != Ok(bindings::SEEK_END) {
        // SAFETY: The arguments are those of this call.
        return unsafe { bindings::noop_llseek(file, offset, whence) };
    }
    // SAFETY: `open_callback` opened the file, and it stays open for this call.
    let size = unsafe { file_data::<C>(file) }.size();
    let end = size.and_then(|size| {
        let end = i64::try_from(size)
            .ok()
            .and_then(|size| size.checked_add(offset));
        end.filter(|end| *end >= 0).ok_or(EINVAL)
    });
    end.unwrap_or_else(|e| e.to_errno().into())
}

/// # Safety
///
/// See [`open_callback`].
unsafe extern "C" fn mmap_callback<C: CharDev>(
    desc: *mut bindings::vm_area_desc,
) -> kernel::ffi::c_int {
    from_result(|| {
        // SAFETY: The descriptor is valid, and nobody else uses it for this call. `VmaDesc`
        // is a transparent wrapper of it.
        let desc = unsafe { &mut *desc.cast::<VmaDesc>() };
        // SAFETY: `open_callback` opened the file, and it stays open for this call.
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
        // SAFETY: The arguments are those of this call, except for the hint and the length,
        // which may have any value.
        unsafe { bindings::mm_get_unmapped_area(file, hint, len, pgoff, flags) }
    };
    // CAST: The flag is a bit of an `unsigned long`.
    let is_fixed = flags & bindings::MAP_FIXED as kernel::ffi::c_ulong != 0;
    // SAFETY: `open_callback` opened the file, and it stays open for this call.
    unsafe { file_data::<C>(file) }.unmapped_area(addr, len, pgoff, is_fixed, &find)
}

/// # Safety
///
/// See [`open_callback`].
unsafe extern "C" fn fault_callback<C: CharDev>(
    vmf: *mut bindings::vm_fault,
) -> bindings::vm_fault_t {
    // SAFETY: The contract is the same.
    unsafe { fault::<C>(vmf, 0) }
}

/// # Safety
///
/// See [`open_callback`].
unsafe extern "C" fn huge_fault_callback<C: CharDev>(
    vmf: *mut bindings::vm_fault,
    order: kernel::ffi::c_uint,
) -> bindings::vm_fault_t {
    // SAFETY: The contract is the same.
    unsafe { fault::<C>(vmf, order) }
}

/// Handles a fault. Inlined, so that the code for a page of `PAGE_SIZE` does without what only
/// larger pages need.
///
/// # Safety
///
/// See [`open_callback`].
#[inline(always)]
unsafe fn fault<C: CharDev>(
    vmf: *mut bindings::vm_fault,
    order: kernel::ffi::c_uint,
) -> bindings::vm_fault_t {
    // SAFETY: The fault is valid, and nobody else uses it for this call. `Fault` is a
    // transparent wrapper of it.
    let fault = unsafe { &mut *vmf.cast::<Fault>() };
    // SAFETY: `open_callback` opened the file. The VMA is locked and keeps it open.
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
        // SAFETY: `open_callback` opened the file. The VMA is locked and keeps it open.
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
    // SAFETY: `open_callback` opened the file. The VMA is locked and keeps it open.
    unsafe { file_data::<C>((*vma).vm_file) }.page_size()
}
