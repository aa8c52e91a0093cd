// SPDX-License-Identifier: GPL-2.0

//! The structs, with the fields that the driver uses. The model keeps everything else about an
//! object in tables of its own, by address.

#![allow(non_camel_case_types, missing_docs, reason = "the names are C's")]

use crate::ffi::{c_char, c_int, c_uint, c_ulong, c_void};

pub type umode_t = u16;
pub type dev_t = u32;
pub type phys_addr_t = u64;
pub type resource_size_t = u64;
pub type vm_fault_t = u32;
pub type loff_t = i64;

pub const PAGE_SHIFT: u32 = 12;
pub const PMD_SHIFT: u32 = 21;
pub const PUD_SHIFT: u32 = 30;
pub const GFP_KERNEL: u32 = 0;
pub const EOPNOTSUPP: u32 = 95;
pub const IORESOURCE_MEM: u32 = 0x200;
pub const MEMREMAP_WB: u32 = 1;
pub const memory_block_state_MEM_OFFLINE: u32 = 2;
pub const NOTIFY_DONE: u32 = 0;
pub const IORESOURCE_DAX_STATIC: c_ulong = 1;
pub const IORESOURCE_DAX_KMEM: c_ulong = 2;
pub const XA_FLAGS_ALLOC: u32 = 0;
pub const xa_lock_type_XA_LOCK_IRQ: u32 = 1;
pub const MAP_FIXED: u32 = 0x10;
pub const FOP_MMAP_SYNC: u32 = 1;
pub const DAX_VM_MAYSHARE: usize = 0x80;
pub const DAX_VM_RAND_READ: usize = 0x1_0000;
pub const DAX_GLUE_CHUNK_SHIFT: u32 = 9;
pub const vm_fault_reason_VM_FAULT_SIGBUS: vm_fault_t = 2;
pub const vm_fault_reason_VM_FAULT_NOPAGE: vm_fault_t = 0x100;
pub const vm_fault_reason_VM_FAULT_FALLBACK: vm_fault_t = 0x800;
pub const fault_flag_FAULT_FLAG_WRITE: u32 = 1;
pub const fault_flag_FAULT_FLAG_ORIG_PTE_VALID: u32 = 0x800;
pub const dax_driver_type_DAXDRV_KMEM_TYPE: u32 = 0;
pub const dax_driver_type_DAXDRV_DEVICE_TYPE: u32 = 1;
pub const dax_driver_type_DAXDRV_FSDEV_TYPE: u32 = 2;
pub const memory_type_MEMORY_DEVICE_GENERIC: u32 = 4;
pub const PGMAP_ALTMAP_VALID: u32 = 1;
pub const dax_glue_change_DAX_GLUE_ALLOC: u32 = 0;
pub const dax_glue_change_DAX_GLUE_EXTEND: u32 = 1;
pub const dax_glue_change_DAX_GLUE_SHRINK: u32 = 2;
pub const dax_glue_change_DAX_GLUE_DELETE: u32 = 3;

/// A struct of which the driver knows nothing but where it is.
macro_rules! opaque {
    ($($name:ident)*) => {$(
        #[repr(C)]
        pub struct $name {
            pub(crate) _opaque: [u64; 2],
        }
    )*};
}
opaque! { module kobj_uevent_env xarray list_head dax_device task_struct pmd_t }

#[repr(C)]
pub struct ida {
    pub xa: xarray,
}

#[repr(C)]
pub struct kobject {
    pub parent: *mut kobject,
    pub(crate) _opaque: u64,
}

#[repr(C)]
pub struct device {
    pub kobj: kobject,
    pub parent: *mut device,
    pub type_: *const device_type,
    pub bus: *const bus_type,
    pub driver: *mut device_driver,
    pub devt: dev_t,
}

#[repr(C)]
pub struct attribute {
    pub name: *const c_char,
    pub mode: umode_t,
}

#[repr(C)]
pub union device_attribute_show {
    pub show:
        Option<unsafe extern "C" fn(*mut device, *mut device_attribute, *mut c_char) -> isize>,
    pub show_const:
        Option<unsafe extern "C" fn(*mut device, *const device_attribute, *mut c_char) -> isize>,
}

#[repr(C)]
pub union device_attribute_store {
    pub store: Option<
        unsafe extern "C" fn(*mut device, *mut device_attribute, *const c_char, usize) -> isize,
    >,
    pub store_const: Option<
        unsafe extern "C" fn(*mut device, *const device_attribute, *const c_char, usize) -> isize,
    >,
}

#[repr(C)]
pub struct device_attribute {
    pub attr: attribute,
    pub __bindgen_anon_1: device_attribute_show,
    pub __bindgen_anon_2: device_attribute_store,
}

#[repr(C)]
pub struct driver_attribute {
    pub attr: attribute,
    pub show: Option<unsafe extern "C" fn(*mut device_driver, *mut c_char) -> isize>,
    pub store: Option<unsafe extern "C" fn(*mut device_driver, *const c_char, usize) -> isize>,
}

#[repr(C)]
pub union attribute_group_visible {
    pub is_visible: Option<unsafe extern "C" fn(*mut kobject, *mut attribute, c_int) -> umode_t>,
    pub is_visible_const:
        Option<unsafe extern "C" fn(*mut kobject, *const attribute, c_int) -> umode_t>,
}

#[repr(C)]
pub union attribute_group_attrs {
    pub attrs: *mut *mut attribute,
    pub attrs_const: *const *const attribute,
}

#[repr(C)]
pub struct attribute_group {
    pub name: *const c_char,
    pub __bindgen_anon_1: attribute_group_visible,
    pub __bindgen_anon_2: attribute_group_attrs,
}

#[repr(C)]
pub struct device_type {
    pub name: *const c_char,
    pub groups: *mut *const attribute_group,
    pub release: Option<unsafe extern "C" fn(*mut device)>,
}

#[repr(C)]
pub struct bus_type {
    pub name: *const c_char,
    pub drv_groups: *const *const attribute_group,
    pub match_: Option<unsafe extern "C" fn(*mut device, *const device_driver) -> c_int>,
    pub uevent: Option<unsafe extern "C" fn(*const device, *mut kobj_uevent_env) -> c_int>,
    pub probe: Option<unsafe extern "C" fn(*mut device) -> c_int>,
    pub remove: Option<unsafe extern "C" fn(*mut device)>,
}

#[repr(C)]
pub struct device_driver {
    pub name: *const c_char,
    pub bus: *const bus_type,
    pub owner: *mut module,
    pub mod_name: *const c_char,
}

#[repr(C)]
pub struct dax_device_driver {
    pub drv: device_driver,
    pub ids: list_head,
    pub type_: u32,
    pub probe: Option<unsafe extern "C" fn(*mut dev_dax) -> c_int>,
    pub remove: Option<unsafe extern "C" fn(*mut dev_dax)>,
}

#[repr(C)]
pub struct range {
    pub start: u64,
    pub end: u64,
}

#[repr(C)]
pub struct dev_dax_range {
    pub pgoff: c_ulong,
    pub range: range,
    pub mapping: *mut c_void,
}

#[repr(C)]
pub struct dax_region {
    pub id: c_int,
    pub target_node: c_int,
    pub align: c_uint,
}

#[repr(C)]
pub struct dev_dax {
    pub region: *mut dax_region,
    pub dax_dev: *mut dax_device,
    pub align: c_uint,
    pub target_node: c_int,
    pub dyn_id: bool,
    pub id: c_int,
    pub dev: device,
    pub pgmap: *mut dev_pagemap,
    pub memmap_on_memory: bool,
    pub nr_range: c_int,
    pub ranges: *mut dev_dax_range,
}

#[repr(C)]
pub struct dev_dax_data {
    pub dax_region: *mut dax_region,
    pub pgmap: *mut dev_pagemap,
    pub size: resource_size_t,
    pub id: c_int,
    pub memmap_on_memory: bool,
}

#[repr(C)]
pub struct dev_pagemap {
    pub type_: u32,
    pub flags: c_uint,
    pub vmemmap_shift: c_ulong,
    pub ops: *const dev_pagemap_ops,
    pub owner: *mut c_void,
    pub nr_range: c_int,
    pub __bindgen_anon_1: dev_pagemap_ranges,
}

#[repr(C)]
pub struct dev_pagemap_ops {
    pub memory_failure:
        Option<unsafe extern "C" fn(*mut dev_pagemap, c_ulong, c_ulong, c_int) -> c_int>,
}

#[repr(C)]
pub struct notifier_block {
    pub notifier_call:
        Option<unsafe extern "C" fn(*mut notifier_block, c_ulong, *mut c_void) -> c_int>,
}

#[repr(C)]
pub struct memory_notify {
    pub start_pfn: c_ulong,
    pub nr_pages: c_ulong,
}

#[repr(C)]
pub union dev_pagemap_ranges {
    pub range: core::mem::ManuallyDrop<range>,
}

#[repr(C)]
pub struct resource {
    pub start: resource_size_t,
    pub end: resource_size_t,
    pub name: *const c_char,
    pub flags: c_ulong,
}

#[repr(C)]
pub struct address_space_operations {
    pub dirty_folio: Option<unsafe extern "C" fn(*mut address_space, *mut c_void) -> bool>,
}

#[repr(C)]
pub struct address_space {
    pub a_ops: *const address_space_operations,
}

#[repr(C)]
pub struct inode {
    pub i_mapping: *mut address_space,
    pub i_rdev: dev_t,
    pub i_cdev: *mut cdev,
}

#[repr(C)]
pub struct cdev {
    pub kobj: kobject,
    pub owner: *mut module,
    pub ops: *const file_operations,
    pub dev: dev_t,
}

#[repr(C)]
pub struct file {
    pub f_mapping: *mut address_space,
    pub private_data: *mut c_void,
    pub f_op: *const file_operations,
    pub f_inode: *mut inode,
}

#[repr(C)]
pub struct file_operations {
    pub owner: *mut module,
    pub llseek: Option<unsafe extern "C" fn(*mut file, loff_t, c_int) -> loff_t>,
    pub open: Option<unsafe extern "C" fn(*mut inode, *mut file) -> c_int>,
    pub release: Option<unsafe extern "C" fn(*mut inode, *mut file) -> c_int>,
    pub mmap_prepare: Option<unsafe extern "C" fn(*mut vm_area_desc) -> c_int>,
    pub get_unmapped_area:
        Option<unsafe extern "C" fn(*mut file, c_ulong, c_ulong, c_ulong, c_ulong) -> c_ulong>,
    pub fop_flags: u32,
}

#[repr(C)]
pub struct vm_operations_struct {
    pub fault: Option<unsafe extern "C" fn(*mut vm_fault) -> vm_fault_t>,
    pub huge_fault: Option<unsafe extern "C" fn(*mut vm_fault, c_uint) -> vm_fault_t>,
    pub may_split: Option<unsafe extern "C" fn(*mut vm_area_struct, c_ulong) -> c_int>,
    pub pagesize: Option<unsafe extern "C" fn(*mut vm_area_struct) -> c_ulong>,
}

#[repr(C)]
pub struct vm_area_desc {
    pub start: usize,
    pub end: usize,
    pub pgoff: usize,
    pub file: *mut file,
    pub vm_ops: *const vm_operations_struct,
}

#[repr(C)]
pub struct vm_area_struct {
    pub vm_start: usize,
    pub vm_end: usize,
    pub vm_flags: usize,
    pub vm_pgoff: usize,
    pub vm_file: *mut file,
    pub vm_ops: *const vm_operations_struct,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vm_fault_constant {
    pub vma: *mut vm_area_struct,
    pub pgoff: usize,
    pub address: usize,
    pub real_address: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vm_fault {
    pub __bindgen_anon_1: vm_fault_constant,
    pub flags: u32,
    /// Only the address: that of the page table, as the number of the area that it maps.
    pub pmd: *mut pmd_t,
    /// The page offset of the entry that was read.
    pub orig_pte: usize,
}
