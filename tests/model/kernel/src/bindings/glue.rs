// SPDX-License-Identifier: GPL-2.0

//! The functions of the driver's glue.c that are in no other file here.

use super::*;
use std::ffi::CStr;

use crate::error::code::{EINVAL, ERANGE};
use crate::error::Result;
use crate::ffi::{c_char, c_int, c_uint, c_ulong, c_void};
use crate::sched;

/// Sometimes the tests want an own `dax_pgoff_to_phys()`, sometimes not: here not.
///
/// # Safety
///
/// The contract is that of the C function. This holds for all functions here.
pub unsafe extern "C" fn dax_glue_pgoff_to_phys_overridden() -> bool {
    false
}

/// `dax_pgoff_to_phys()`. Nobody replaced it.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_pgoff_to_phys(
    _dev_dax: *mut dev_dax,
    _pgoff: c_ulong,
    _size: c_ulong,
) -> phys_addr_t {
    phys_addr_t::MAX
}

/// `dax_align_valid()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_align_valid(align: c_ulong) -> bool {
    [1 << PAGE_SHIFT, 1 << PMD_SHIFT, 1 << PUD_SHIFT].contains(&align)
}

/// `cc_platform_has(CC_ATTR_HOST_MEM_ENCRYPT)`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_memremap_decrypts() -> bool {
    false
}

/// `memremap_compat_align()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_compat_align() -> c_ulong {
    1 << PMD_SHIFT
}

/// `mhp_supports_memmap_on_memory()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_memmap_on_memory() -> bool {
    true
}

/// `PMD_SIZE`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_page_table_bytes() -> usize {
    1 << PMD_SHIFT
}

/// `folio_test_hwpoison()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_pfn_poisoned(_pfn: c_ulong) -> bool {
    false
}

/// `uffd_disable_fault_around()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_vma_has_uffd(_vma: *mut vm_area_struct) -> bool {
    false
}

/// `vma_flags_test_any()` for `VMA_MAYSHARE`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_desc_shared(_desc: *const vm_area_desc) -> bool {
    true
}

/// `vma_desc_set_flags()` with `VMA_HUGEPAGE`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_desc_set_huge(_desc: *mut vm_area_desc) {}

/// `vma_desc_set_flags()` with `VMA_DONTEXPAND`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_desc_set_dontexpand(_desc: *mut vm_area_desc) {}

/// `file_is_dax()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_file_is_dax(_file: *const file) -> bool {
    true
}

/// `noop_dirty_folio()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn noop_dirty_folio(_: *mut address_space, _: *mut c_void) -> bool {
    false
}

/// A message for dynamic debug.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_dbg(dev: *const device, _text: *const c_char) {
    core(dev, "dev_dbg()").used("dev_dbg()");
}

/// A message.
///
/// # Safety
///
/// As in C.
pub unsafe extern "C" fn dax_glue_refused(dev: *const device, _why: *const c_char) {
    core(dev, "dev_info()").used("dev_info()");
}

/// A message.
///
/// # Safety
///
/// As in C.
pub unsafe extern "C" fn dax_glue_refused_text(
    dev: *const device,
    _text: *const c_char,
    _len: c_int,
    _why: *const c_char,
) {
    core(dev, "dev_info()").used("dev_info()");
}

/// A message for dynamic debug.
///
/// # Safety
///
/// As in C.
pub unsafe extern "C" fn dax_glue_dbg_store(
    dev: *const device,
    _attribute: *const c_char,
    _error: c_int,
) {
    core(dev, "dev_dbg()").used("dev_dbg()");
}

/// A message for dynamic debug.
///
/// # Safety
///
/// As in C.
pub unsafe extern "C" fn dax_glue_dbg_driver_store(_drv: *const device_driver, _error: c_int) {}

/// A message.
///
/// # Safety
///
/// As in C.
pub unsafe extern "C" fn dax_glue_refused_range(
    dev: *const device,
    _start: u64,
    _last: u64,
    _why: *const c_char,
) {
    core(dev, "dev_info()").used("dev_info()");
}

/// A message for dynamic debug.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_dbg_range(
    dev: *const device,
    what: c_uint,
    index: c_int,
    start: phys_addr_t,
    last: phys_addr_t,
) {
    let core = core(dev, "dev_dbg()");
    core.used("dev_dbg()");
    let what = ["alloc", "extend", "shrink", "delete"][what as usize];
    sched::trace(|| {
        format!(
            "{}: {what} range[{index}]: {start:#x}:{last:#x}",
            core.name()
        )
    });
}

/// A message for dynamic debug.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_dbg_fault(
    dev: *const device,
    _order: c_uint,
    _own: c_uint,
    _pgoff: c_ulong,
) {
    core(dev, "dev_dbg()").used("dev_dbg()");
}

/// A message.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_reject_vma(
    dev: *const device,
    _order: c_int,
    _why: *const c_char,
) {
    core(dev, "dev_info()").used("dev_info()");
}

/// A message.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_reject_unaligned(
    dev: *const device,
    _order: c_int,
    _start: c_ulong,
    _end: c_ulong,
    _mask: c_ulong,
) {
    core(dev, "dev_info()").used("dev_info()");
}

/// `rcu_expedite_gp()`, `rcu_unexpedite_gp()`. It must be balanced in the end.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_expedite(on: bool) {
    if sched::inert() {
        return;
    }
    let now = sched::part(|expedited: &mut Expedited| {
        expedited.0 += if on { 1 } else { -1 };
        expedited.0
    });
    sched::require(now >= 0, "rcu_unexpedite_gp(): once too often");
}

#[derive(Default)]
struct Expedited(i64);

/// Number of times that RCU was expedited and not yet unexpedited.
pub fn expedited() -> i64 {
    sched::part(|expedited: &mut Expedited| expedited.0)
}

/// `cond_resched()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_cond_resched() {}

/// `synchronize_rcu_tasks()`: every task has left the code that it was in.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_synchronize_tasks() {
    sched::wait_until(|| "synchronize_rcu_tasks()".to_owned(), &|| {
        crate::workqueue::running() == 0
    });
}

/// `-ERESTARTNOINTR`: the system call begins again, see [`write_attribute`].
pub(crate) const RESTART: c_int = -513;

/// `restart_syscall()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_restart_syscall() -> c_int {
    RESTART
}

/// For how long a task may sleep under the lock of a dax device, in milliseconds. More
/// is waiting for something, and others want the lock.
const BRIEF_MS: c_uint = 100;
/// The same where memory is zeroed: a bind waits a second for that.
const ZEROING_MS: c_uint = 1_100;

/// `fsleep()`. Whoever sleeps in a loop waits for somebody else to do something.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_sleep(ms: c_uint) {
    if crate::lockdep::holds(DAX_LOCK).is_some() {
        let total = sched::slept(ms);
        let most = if is_kept_clean() {
            ZEROING_MS
        } else {
            BRIEF_MS
        };
        sched::require(
            total <= most,
            format!("{total} ms are slept under the lock of a dax device"),
        );
    }
    sched::yield_to_others("the end of a sleep");
}

/// Whether the machine goes down.
///
/// # Safety
///
/// None.
pub unsafe extern "C" fn dax_glue_is_going_down() -> bool {
    is_down()
}

/// Whether a task was killed.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_was_killed(task: *mut task_struct) -> bool {
    // SAFETY: The caller owns a reference.
    let task = unsafe { (*task)._opaque[0] } as sched::TaskId;
    sched::was_killed(task)
}

#[derive(Default)]
struct System {
    down: bool,
}

/// Whether the machine goes down.
pub fn is_down() -> bool {
    sched::part(|system: &mut System| system.down)
}

/// The machine goes down: `system_state` says so, and then the lock of each device is
/// taken in turn (`device_shutdown()`).
pub fn shut_down() {
    sched::point(|| "the machine goes down".to_owned());
    sched::part(|system: &mut System| system.down = true);
    changed();
    for core in all().into_iter().rev() {
        if core.registered.get() {
            core.lock();
            core.unlock();
        }
    }
}

/// A fatal signal for the tasks whose names begin like that.
pub fn kill(prefix: &str) {
    sched::point(|| format!("kill {prefix}"));
    sched::kill(prefix);
    changed();
}

/// Splits the text of a number into its base and its digits.
fn digits(text: &str, base: c_uint) -> (u32, &str) {
    match (base, text.strip_prefix("0x").or(text.strip_prefix("0X"))) {
        (0 | 16, Some(digits)) => (16, digits),
        (0, None) if text.starts_with('0') => (8, text),
        (0, None) => (10, text),
        (base, _) => (base, text),
    }
}

/// A number between an optional newline and whatever sign was taken off.
fn number(text: &str, base: c_uint) -> Result<u64> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let (radix, digits) = digits(text, base);
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(EINVAL);
    }
    u64::from_str_radix(digits, radix).map_err(|_| ERANGE)
}

/// `kstrtoull()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn kstrtoull(s: *const c_char, base: c_uint, res: *mut u64) -> c_int {
    // SAFETY: By the contract.
    let text = unsafe { CStr::from_ptr(s.cast()) }.to_str().unwrap_or("?");
    match number(text.strip_prefix('+').unwrap_or(text), base) {
        Ok(value) => {
            // SAFETY: By the contract.
            unsafe { *res = value };
            0
        }
        Err(e) => e.to_errno(),
    }
}

/// `kstrtoint()`.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn kstrtoint(s: *const c_char, base: c_uint, res: *mut c_int) -> c_int {
    // SAFETY: By the contract.
    let text = unsafe { CStr::from_ptr(s.cast()) }.to_str().unwrap_or("?");
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = number(text, base).and_then(|value| {
        let value = i64::try_from(value).map_err(|_| ERANGE)?;
        c_int::try_from(sign * value).map_err(|_| ERANGE)
    });
    match value {
        Ok(value) => {
            // SAFETY: By the contract.
            unsafe { *res = value };
            0
        }
        Err(e) => e.to_errno(),
    }
}
