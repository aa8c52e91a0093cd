// SPDX-License-Identifier: GPL-2.0

//! kernel/module: references of the module under test, and its end.

use crate::sched;

/// The module under test.
#[derive(Default)]
struct Module {
    references: usize,
    going: bool,
    gone: bool,
}

/// `__module_get()` of this module.
///
/// # Safety
///
/// The contract is that of the C function. This holds for all functions here.
pub unsafe extern "C" fn dax_glue_get_module() {
    sched::part(|module: &mut Module| module.references += 1);
}

/// `module_put()` of this module.
///
/// # Safety
///
/// The contract is that of the C function.
pub unsafe extern "C" fn dax_glue_put_module() {
    put_module();
}

pub(crate) fn put_module() {
    if sched::inert() {
        return;
    }
    let left = sched::part(|module: &mut Module| {
        module.references = module.references.wrapping_sub(1);
        module.references
    });
    sched::require(left != usize::MAX, "module_put(): one reference too few");
}

/// `try_module_get()`.
pub(crate) fn try_get_module() -> bool {
    sched::part(|module: &mut Module| {
        module.references += usize::from(!module.going);
        !module.going
    })
}

/// Whether `rmmod` may go on: from here on there are no new references.
pub fn try_stop_module() -> bool {
    sched::part(|module: &mut Module| {
        module.going |= module.references == 0;
        module.going
    })
}

/// Number of references.
pub fn module_references() -> usize {
    sched::part(|module: &mut Module| module.references)
}

/// The code of the module is freed.
pub fn module_is_gone() {
    sched::part(|module: &mut Module| module.gone = true);
}

/// Whether it was.
pub(crate) fn is_module_gone() -> bool {
    sched::part(|module: &mut Module| module.gone)
}

/// `__this_module`, which the linker finds for a driver that is a module.
#[no_mangle]
pub static __this_module: u8 = 0;
