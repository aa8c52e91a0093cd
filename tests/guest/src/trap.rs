// SPDX-License-Identifier: GPL-2.0
//! Loads and stores that return SIGBUS and SIGSEGV as a value, so that the process survives.
//!
//! This works like the kernel's exception tables. Two tiny functions hold the only instructions
//! that may fault. The signal handler resumes behind them, with the signal's number in the second
//! result register. There is no jump out of a signal handler and no global state, so it works in
//! every thread at once.

use crate::errno::Errno;
use nix::sys::signal::{
    sigaction, SaFlags, SigAction, SigHandler, SigSet, Signal as Number, SIGBUS, SIGSEGV,
};
use std::arch::global_asm;
use std::fmt;

/// The signal with which the kernel answered an access.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signal(pub i32);

impl Signal {
    /// The memory is not there.
    pub const BUS: Signal = Signal(libc::SIGBUS);
    /// The mapping does not allow the access.
    pub const SEGV: Signal = Signal(libc::SIGSEGV);
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Signal::BUS => f.write_str("SIGBUS"),
            Signal::SEGV => f.write_str("SIGSEGV"),
            Signal(number) => write!(f, "signal {number}"),
        }
    }
}

// rdi: address, rsi: value to store. Result: rax: value loaded, rdx: 0 or the signal.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".pushsection .text.dax_guest_trap, \"ax\", @progbits",
    ".globl dax_guest_load, dax_guest_load_at, dax_guest_store, dax_guest_store_at",
    ".globl dax_guest_trapped",
    "dax_guest_load:",
    "xor edx, edx",
    "dax_guest_load_at:",
    "mov rax, [rdi]",
    "ret",
    "dax_guest_store:",
    "xor eax, eax",
    "xor edx, edx",
    "dax_guest_store_at:",
    "mov [rdi], rsi",
    "dax_guest_trapped:",
    "ret",
    ".popsection",
);

// x0: address, x1: value to store. Result: x0: value loaded, x1: 0 or the signal.
#[cfg(target_arch = "aarch64")]
global_asm!(
    ".pushsection .text.dax_guest_trap, \"ax\", @progbits",
    ".balign 4",
    ".globl dax_guest_load, dax_guest_load_at, dax_guest_store, dax_guest_store_at",
    ".globl dax_guest_trapped",
    "dax_guest_load:",
    "mov x1, #0",
    "dax_guest_load_at:",
    "ldr x0, [x0]",
    "ret",
    "dax_guest_store:",
    "mov x2, x0",
    "mov x3, x1",
    "mov x0, #0",
    "mov x1, #0",
    "dax_guest_store_at:",
    "str x3, [x2]",
    "dax_guest_trapped:",
    "ret",
    ".popsection",
);

// a0: address, a1: value to store. Result: a0: value loaded, a1: 0 or the signal.
#[cfg(target_arch = "riscv64")]
global_asm!(
    ".pushsection .text.dax_guest_trap, \"ax\", @progbits",
    ".balign 4",
    ".globl dax_guest_load, dax_guest_load_at, dax_guest_store, dax_guest_store_at",
    ".globl dax_guest_trapped",
    "dax_guest_load:",
    "li a1, 0",
    "dax_guest_load_at:",
    "ld a0, 0(a0)",
    "ret",
    "dax_guest_store:",
    "mv a2, a0",
    "mv a3, a1",
    "li a0, 0",
    "li a1, 0",
    "dax_guest_store_at:",
    "sd a3, 0(a2)",
    "dax_guest_trapped:",
    "ret",
    ".popsection",
);

/// The two result registers.
#[repr(C)]
struct Access {
    value: u64,
    signal: u64,
}

extern "C" {
    fn dax_guest_load(addr: *const u64) -> Access;
    fn dax_guest_store(addr: *mut u64, value: u64) -> Access;
    // Labels, not functions: only their addresses are used.
    fn dax_guest_load_at();
    fn dax_guest_store_at();
    fn dax_guest_trapped();
}

/// Resumes a faulting [`load`] or [`store`] behind its access; any other fault stays fatal.
extern "C" fn on_fault(signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: The handler is installed with SA_SIGINFO, so the kernel passes what it asks for.
    if !unsafe { resume(signal, context) } {
        // SAFETY: Restoring the default action is async-signal-safe; the instruction then
        // faults again and ends the process with the signal it deserves.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Lets a [`load`] or [`store`] that a signal interrupted go on behind its access, which fails.
/// Returns whether the signal interrupted one of these.
///
/// # Safety
///
/// `context` is what the kernel passed to a handler with SA_SIGINFO.
pub unsafe fn resume(signal: i32, context: *mut libc::c_void) -> bool {
    // SAFETY: By the contract a valid, exclusive pointer to the ucontext that the kernel restores
    // when the handler returns.
    let context = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext };
    let label = |f: unsafe extern "C" fn()| f as usize;
    let at = program_counter(context);
    let ours = at == label(dax_guest_load_at) || at == label(dax_guest_store_at);
    if ours {
        go_on(context, label(dax_guest_trapped), signal);
    }
    ours
}

#[cfg(target_arch = "x86_64")]
fn program_counter(context: &libc::mcontext_t) -> usize {
    context.gregs[libc::REG_RIP as usize] as usize
}

#[cfg(target_arch = "aarch64")]
fn program_counter(context: &libc::mcontext_t) -> usize {
    context.pc as usize
}

/// The program counter, which is the first of the registers.
#[cfg(target_arch = "riscv64")]
fn program_counter(context: &libc::mcontext_t) -> usize {
    context.__gregs[0] as usize
}

/// Resumes at an address, with the signal in the second result register.
#[cfg(target_arch = "x86_64")]
fn go_on(context: &mut libc::mcontext_t, at: usize, signal: i32) {
    context.gregs[libc::REG_RIP as usize] = at as i64;
    context.gregs[libc::REG_RDX as usize] = i64::from(signal);
}

#[cfg(target_arch = "aarch64")]
fn go_on(context: &mut libc::mcontext_t, at: usize, signal: i32) {
    context.pc = at as u64;
    context.regs[1] = signal as u64;
}

/// Register 11 is a1.
#[cfg(target_arch = "riscv64")]
fn go_on(context: &mut libc::mcontext_t, at: usize, signal: i32) {
    context.__gregs[0] = at as u64;
    context.__gregs[11] = signal as u64;
}

/// Installs the handler; once per process, inherited by `fork`.
pub fn install() -> Result<(), Errno> {
    [SIGBUS, SIGSEGV]
        .into_iter()
        .try_for_each(|signal| handle(signal, on_fault))
}

/// A function that gets a signal, what the kernel says of it, and the interrupted context.
pub type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// Lets a signal call `handler`.
pub fn handle(signal: Number, handler: Handler) -> Result<(), Errno> {
    let handler = SigHandler::SigAction(handler);
    let action = SigAction::new(handler, SaFlags::SA_SIGINFO, SigSet::empty());
    // SAFETY: The handlers of this program do nothing that a handler may not do.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

/// Reads eight bytes at `addr`, wherever that is.
pub fn load(addr: usize) -> Result<u64, Signal> {
    // SAFETY: A load has no effect on memory, and where nothing is mapped the handler ends it.
    let access = unsafe { dax_guest_load(addr as *const u64) };
    match access.signal {
        0 => Ok(access.value),
        signal => Err(Signal(signal as i32)),
    }
}

/// Writes eight bytes at `addr`.
///
/// # Safety
///
/// No Rust object lives in these bytes.
pub unsafe fn store(addr: usize, value: u64) -> Result<(), Signal> {
    // SAFETY: By the contract of this function nothing in Rust looks at these bytes, and where
    // nothing writable is mapped the handler ends it.
    let access = unsafe { dax_guest_store(addr as *mut u64, value) };
    match access.signal {
        0 => Ok(()),
        signal => Err(Signal(signal as i32)),
    }
}
