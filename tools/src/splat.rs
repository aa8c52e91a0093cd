// SPDX-License-Identifier: GPL-2.0
//! Finds complaints in a kernel log: what a healthy kernel does not say.

use anyhow::{Context, Result};
use regex::Regex;

use crate::printk;

/// Lines shown of a complaint.
const SHOWN: usize = 25;

/// The patterns of complaints, for a line without its time stamp. A pattern has `^` if the kernel
/// begins its line with these words: other lines may have them too (a module called "panic").
const COMPLAINTS: [&str; 24] = [
    r"^BUG: ",
    r"^BUG \S+ \(",
    r"^kernel BUG at ",
    r"^WARNING: ",
    r"^------------\[ cut here \]",
    r"^Oops: ",
    r"^Internal error: ",
    r"^general protection fault",
    r"^(traps: )?(double fault|PANIC: )",
    r"^Kernel panic - ",
    r"^INFO: task .* blocked for more than",
    r"^INFO: possible (circular|recursive) locking",
    r"possible (circular locking|recursive locking|irq lock inversion|deadlock)",
    r"^INFO: rcu_\w+ (self-)?detected",
    r"^rcu: INFO: .*(stall|starved)",
    r"^watchdog: BUG: ",
    r"^Bad page ",
    r"^UBSAN: ",
    r"^refcount_t: ",
    r"^INFO: trying to register non-static key",
    r"^sysfs: cannot create duplicate filename",
    r"^kobject: (kobject_add_internal failed for .* with -EEXIST|.* tried to init an initialized)",
    r"Trying to free nonexistent resource",
    r"^kmemleak: [1-9]\d* new suspected memory leaks",
];

/// Complaints that are defects of memory management, with either driver. Each is excused only after
/// the line that dax-guest writes to the log before it provokes the complaint.
const EXCUSED: [(&str, &str); 2] = [
    (
        "dax-guest: allocations are made to fail from here on",
        r"^WARNING: arch/x86/mm/init_64\.c:\d+ at arch_add_memory",
    ),
    // Memory management loses these pages, and then the process's count of them is wrong.
    (
        "dax-guest: pages of 1 GiB are moved from here on",
        r"^BUG: Bad rss-counter state ",
    ),
];

/// The first complaint in the log and what follows it, or nothing.
pub fn find(log: &str) -> Result<Option<String>> {
    find_any(&COMPLAINTS, &EXCUSED, log)
}

fn find_any(complaints: &[&str], excused: &[(&str, &str)], log: &str) -> Result<Option<String>> {
    let complaint = compile(&complaints.join("|"))?;
    let lines: Vec<&str> = log.lines().collect();
    let mut excuses = Vec::new();
    for (since, excused) in excused {
        let from = lines.iter().position(|line| message(line) == *since);
        excuses.push((from.unwrap_or(lines.len()), compile(excused)?));
    }
    let first = (0..lines.len()).find(|&at| {
        // The first line of a warning does not say what the warning is about; the next one does.
        let about = &lines[at..lines.len().min(at + 2)];
        let known = excuses.iter().any(|(from, excused)| {
            *from < at && about.iter().any(|line| excused.is_match(message(line)))
        });
        complaint.is_match(message(lines[at])) && !known
    });
    Ok(first.map(|at| {
        let shown = lines[at..].iter().take(SHOWN).map(|l| l.trim_end());
        shown.collect::<Vec<_>>().join("\n")
    }))
}

fn compile(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).context("cannot look for complaints in a kernel log")
}

/// The text of a line, without its time stamp and indentation.
fn message(line: &str) -> &str {
    printk::without_stamp(line.trim_start()).trim_start()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(log: &str) -> Option<String> {
        super::find(log).unwrap()
    }

    #[test]
    fn a_pattern_that_does_not_compile_is_an_error() {
        assert!(find_any(&["a", "("], &[], "a").is_err());
        assert!(find_any(&["("], &[], "").is_err());
        assert!(find_any(&["a"], &[("b", "(")], "b\na").is_err());
        assert_eq!(find_any(&["a"], &[], "b").unwrap(), None);
    }

    #[test]
    fn complaints() {
        for line in [
            "[    1.0] BUG: unable to handle page fault for address: ffff",
            "[    1.0] BUG: KASAN: slab-use-after-free in f+0x1/0x2",
            "[    1.0] BUG: scheduling while atomic: a/1/0x2",
            "[    1.0][   T12] BUG: sleeping function called from invalid context",
            "[    1.0] WARNING: drivers/dax/bus.c:1 at f+0x1/0x2, CPU#0: a/1",
            "[    1.0] WARNING: possible circular locking dependency detected",
            "[    1.0] ------------[ cut here ]------------",
            "[    1.0] Oops: Oops: 0000 [#1] SMP",
            "[    1.0] Oops: general protection fault, maybe for address 0x1",
            "[    1.0] general protection fault: 0000 [#1]",
            "[    1.0] Kernel panic - not syncing: x",
            "[   61.0] INFO: task a:1 blocked for more than 60 seconds.",
            "[    1.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "[    1.0] rcu: INFO: rcu_sched self-detected stall on CPU",
            "[    1.0] BUG: Bad page state in process a  pfn:1",
            "[    1.0] UBSAN: array-index-out-of-bounds in a.c",
            "[    1.0] refcount_t: underflow; use-after-free.",
            "[    1.0] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "[    1.0] BUG kmalloc-64 (Not tainted): Poison overwritten",
            "[    1.0] sysfs: cannot create duplicate filename '/devices/dax0.0'",
            "[    1.0] resource: Trying to free nonexistent resource <0x1-0x2>",
            "[    1.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!",
            "[    1.0] kobject: kobject_add_internal failed for a with -EEXIST, don't try to register",
            "[    1.0] kobject: 'a' (0000): tried to init an initialized object, something is wrong.",
        ] {
            assert!(find(line).is_some(), "{line}");
        }
    }

    #[test]
    fn no_complaints() {
        let log = "\
[    0.000000] Linux version 7.3.4 (device-dax@build-root)
[    0.000000] Command line: console=ttyS0 panic=-1 oops=panic
[    0.010000] Kernel/User page tables isolation: enabled
[    0.020000] rcu: INFO: not a thing
[    0.020000] rcu: \tRCU debug extended QS entry/exit.
[    0.030000] kmemleak: Kernel memory leak detector initialized (mem pool available: 40000)
[    0.030000] Memory: KASAN shadow
[    0.030000] kasan: KernelAddressSanitizer initialized
[    0.040000] device_dax: loading out-of-tree module taints kernel.
[    0.050000] Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar
[    0.060000]     # Subtest: panic
[    0.070000] mce: CPU supports 10 MCE banks
[    0.080000] Spectre V2 : WARNING is a word
[    0.090000] kobject: kobject_add_internal failed for a (error: -12 parent: b)
";
        assert_eq!(find(log), None);
    }

    #[test]
    fn shows_what_follows() {
        let lines: Vec<String> = (0..50).map(|n| format!("[ 1.0] line {n}\n")).collect();
        let log = lines.concat();
        let log = format!("{log}[ 2.0] BUG: x\r\n{log}");
        let splat = find(&log).unwrap();
        assert!(splat.starts_with("[ 2.0] BUG: x\n[ 1.0] line 0\n"));
        assert_eq!(splat.lines().count(), SHOWN);
    }

    #[test]
    fn memory_management_may_have_lost_count_of_what_was_moved() {
        let complaint = "[    9.0] BUG: Bad rss-counter state mm:00000000ab type:MM_FILEPAGES\n";
        let begin = format!("[    8.0] {}\n", EXCUSED[1].0);
        assert!(find(complaint).is_some());
        assert!(find(&format!("{complaint}{begin}")).is_some());
        assert!(find(&format!("{begin}{complaint}")).is_none());
        let another = "[   10.0] BUG: Bad page state in process a  pfn:1";
        assert_eq!(
            find(&format!("{begin}{complaint}{another}")).as_deref(),
            Some(another)
        );
    }

    #[test]
    fn memory_management_may_complain_of_failures_that_were_injected() {
        let warning = "[    9.0] ------------[ cut here ]------------\n\
             [    9.1] WARNING: arch/x86/mm/init_64.c:973 at arch_add_memory+0x1d7/0x1e0, CPU#1\n";
        let begin = format!("[    8.0] {}\n", EXCUSED[0].0);
        assert!(find(warning).is_some());
        assert!(find(&format!("{begin}{warning}")).is_none());
        let another = "[   10.0] WARNING: drivers/dax/bus.c:973 at dev_dax_resize+0x1/0x2\n";
        let found = find(&format!("{begin}{warning}{another}"));
        assert!(found.is_some_and(|splat| splat.starts_with(another.trim_end())));
    }
}
