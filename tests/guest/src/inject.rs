// SPDX-License-Identifier: GPL-2.0
//! Lets the nth allocation of an operation fail, for every n until the operation needs fewer.
//!
//! An operation that fails must leave everything as it was, and succeed when it is repeated. An
//! operation that succeeds without the memory must have done all of its work. "Everything" is what
//! [`Snapshot`] reads.

use crate::errno::Errno;
use crate::kernel;
use crate::ktap::{check, deviates, note, skip, Failure, Outcome};
use crate::region::Region;
use crate::snapshot::Snapshot;
use crate::sysfs::{self, Error};
use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The calling thread's count of allocations until one fails.
const FAIL_NTH: &str = "/proc/thread-self/fail-nth";
/// The file that says whether allocations of this process may be made to fail.
const SELF: &str = "/proc/self/make-it-fail";
/// Settings for failures. The kernel's defaults exempt allocations that may sleep; these do not.
const SETTINGS: [(&str, &str); 4] = [
    ("failslab/ignore-gfp-wait", "N"),
    ("fail_page_alloc/ignore-gfp-wait", "N"),
    ("fail_page_alloc/ignore-gfp-highmem", "N"),
    (SMALLEST, "1"),
];
/// The order from which on pages are made to fail. Not single ones where memory is plugged in:
/// x86's `phys_pud_init()` uses a page table for the kernel's own mapping without looking whether
/// it got one, and oopses.
const SMALLEST: &str = "fail_page_alloc/min-order";
/// The directory of the settings.
const DEBUGFS: &str = "/sys/kernel/debug";
/// An operation that needs more allocations than this is broken.
const MOST: u64 = 20_000;

/// Fails allocations of the thread that made it.
#[derive(Debug)]
pub struct Injector {
    nth: File,
}

impl Injector {
    /// An injector for this thread; none if the kernel cannot inject failures.
    pub fn new() -> sysfs::Result<Option<Injector>> {
        let Ok(nth) = OpenOptions::new().read(true).write(true).open(FAIL_NTH) else {
            return Ok(None);
        };
        // The host knows what memory management itself has to say from here on.
        kernel::log("allocations are made to fail from here on");
        for (file, value) in SETTINGS {
            sysfs::write(&Path::new(DEBUGFS).join(file), value)?;
        }
        Ok(Some(Injector { nth }))
    }

    /// Keeps the kernel from writing every failure to its log, with a stack.
    pub fn quiet() -> sysfs::Result<()> {
        for fault in ["failslab", "fail_page_alloc"] {
            sysfs::write(&Path::new(DEBUGFS).join(fault).join("verbose"), "0")?;
        }
        Ok(())
    }

    /// From here on the `nth` allocation fails, that one only.
    pub fn arm(&self, nth: u64) -> Result<(), Errno> {
        self.nth.write_at(nth.to_string().as_bytes(), 0)?;
        Ok(())
    }

    /// Lets no allocation fail any more. Returns whether one has failed.
    pub fn disarm(&self) -> Result<bool, Errno> {
        let mut text = [0; 16];
        let len = self.nth.read_at(&mut text, 0)?;
        self.arm(0)?;
        Ok(text[..len].trim_ascii() == b"0")
    }
}

/// The injector of a test; skips the test if there is none.
pub fn injector() -> Result<Injector, Failure> {
    match Injector::new()? {
        Some(injector) => Ok(injector),
        None => skip("no fault injection in this kernel: make test DEBUG=1"),
    }
}

/// The injector of a test whose operation plugs in no memory, so that single pages fail, too; skips
/// the test if there is none.
pub fn injector_of_pages() -> Result<Injector, Failure> {
    let injector = injector()?;
    sysfs::write(&Path::new(DEBUGFS).join(SMALLEST), "0")?;
    Ok(injector)
}

/// A process that gets no large pieces of memory, until it ends.
pub struct Starved;

impl Starved {
    /// The calling process gets pages one by one.
    pub fn of_more_than_a_page() -> sysfs::Result<()> {
        sysfs::write(Path::new(SELF), "1")?;
        let attr = Path::new(DEBUGFS).join("fail_page_alloc");
        for (file, value) in [
            ("min-order", "1"),
            ("task-filter", "Y"),
            ("times", "-1"),
            ("interval", "1"),
            ("probability", "100"),
        ] {
            sysfs::write(&attr.join(file), value)?;
        }
        Ok(())
    }

    /// Lets no page allocation fail any more. Succeeds too if none was made to fail.
    pub fn end() -> sysfs::Result<()> {
        let attr = Path::new(DEBUGFS).join("fail_page_alloc");
        if !attr.exists() {
            return Ok(());
        }
        for (file, value) in [("probability", "0"), ("times", "1"), ("task-filter", "N")] {
            sysfs::write(&attr.join(file), value)?;
        }
        Ok(())
    }
}

/// An operation on the value that was prepared for it.
type Act<'a, P> = dyn Fn(&mut P) -> Result<(), Errno> + 'a;

/// An operation that is repeated, each time on a freshly prepared value.
pub struct Operation<'a, P> {
    name: String,
    prepare: Box<dyn Fn() -> sysfs::Result<P> + 'a>,
    act: Box<Act<'a, P>>,
    undo: Box<dyn Fn() -> sysfs::Result<()> + 'a>,
    look: Option<Box<dyn Fn() -> sysfs::Result<String> + 'a>>,
    try_out: Option<Box<dyn Fn() -> Outcome + 'a>>,
    errors: Vec<Errno>,
    most_failures: u64,
    may_do_nothing: bool,
}

impl<'a> Operation<'a, File> {
    /// One write to an attribute, which is opened beforehand.
    pub fn write(
        path: impl Into<PathBuf>,
        text: impl Into<String>,
        undo: impl Fn() -> sysfs::Result<()> + 'a,
    ) -> Self {
        let (path, text) = (path.into(), text.into());
        let failed = |path: &Path, e| Error::new(format!("open {}", path.display()), e);
        Operation::new(
            format!("write of {text:?} to {}", path.display()),
            move || {
                let file = OpenOptions::new().write(true).open(&path);
                file.map_err(|e| failed(&path, Errno::from(e)))
            },
            move |file| match file.write(text.as_bytes())? {
                count if count == text.len() => Ok(()),
                _ => Err(Errno::EIO),
            },
            undo,
        )
    }
}

impl<'a, P> Operation<'a, P> {
    /// An operation that may fail with `ENOMEM` only.
    pub fn new(
        name: impl Into<String>,
        prepare: impl Fn() -> sysfs::Result<P> + 'a,
        act: impl Fn(&mut P) -> Result<(), Errno> + 'a,
        undo: impl Fn() -> sysfs::Result<()> + 'a,
    ) -> Self {
        Operation {
            name: name.into(),
            prepare: Box::new(prepare),
            act: Box::new(act),
            undo: Box::new(undo),
            look: None,
            try_out: None,
            errors: vec![Errno::ENOMEM],
            most_failures: u64::MAX,
            may_do_nothing: false,
        }
    }

    /// Allows the operation to fail with this error too.
    pub fn or(mut self, error: Errno) -> Self {
        self.errors.push(error);
        self
    }

    /// Allows the operation to fail for so many of its allocations at most.
    pub fn failing_at_most(mut self, most: u64) -> Self {
        self.most_failures = most;
        self
    }

    /// Allows the operation to succeed and leave everything as it was.
    pub fn or_nothing(mut self) -> Self {
        self.may_do_nothing = true;
        self
    }

    /// Adds a value to look at that a snapshot does not have.
    pub fn looking_at(mut self, look: impl Fn() -> sysfs::Result<String> + 'a) -> Self {
        self.look = Some(Box::new(look));
        self
    }

    /// Uses the state that the operation leaves, with all memory, each time that it has failed.
    /// This must not change anything that is looked at.
    pub fn trying_out(mut self, try_out: impl Fn() -> Outcome + 'a) -> Self {
        self.try_out = Some(Box::new(try_out));
        self
    }

    /// Everything that a user can see.
    fn state(&self, region: &Region) -> sysfs::Result<Snapshot> {
        let mut state = Snapshot::of(region)?;
        state.forget_minors();
        if let Some(look) = &self.look {
            state.add("also", look()?);
        }
        Ok(state)
    }

    /// Does the operation with no allocation failing, and checks the state afterwards.
    fn with_memory(&self, region: &Region, after: &Snapshot) -> Outcome {
        let mut prepared = (self.prepare)()?;
        check("with memory", (self.act)(&mut prepared), Ok(()))?;
        drop(prepared);
        after.check_same(&self.state(region)?)
    }

    /// Undoes the operation, and checks the state afterwards.
    fn undone(&self, region: &Region, before: &Snapshot) -> Outcome {
        (self.undo)()?;
        before.check_same(&self.state(region)?)
    }

    /// Repeats the operation, and lets one allocation after the other fail.
    pub fn walk(self, region: &Region, injector: &Injector) -> Outcome {
        let before = self.state(region)?;
        let mut prepared = (self.prepare)()?;
        check(&self.name, (self.act)(&mut prepared), Ok(()))?;
        drop(prepared);
        let after = self.state(region)?;
        self.undone(region, &before)?;

        let tally = RefCell::new((0, 0));
        for nth in 1..=MOST {
            let step = || -> Result<bool, Failure> {
                let mut prepared = (self.prepare)()?;
                let failed = |errno| Error::new("fail-nth", errno);
                injector.arm(nth).map_err(failed)?;
                let result = (self.act)(&mut prepared);
                let injected = injector.disarm().map_err(failed)?;
                drop(prepared);
                let now = self.state(region)?;
                let mut tally = tally.borrow_mut();
                match result {
                    Ok(()) => {
                        tally.1 += u64::from(injected);
                        if !(self.may_do_nothing && injected && now == before) {
                            after.check_same(&now)?;
                        }
                    }
                    Err(errno) => {
                        tally.0 += 1;
                        check("failed without reason", injected, true)?;
                        // The C driver has other names for some.
                        let named = deviates(self.errors.contains(&errno), true);
                        check(errno, named, true)?;
                        before.check_same(&now)?;
                        if let Some(try_out) = &self.try_out {
                            try_out()?;
                            before.check_same(&self.state(region)?)?;
                        }
                        self.with_memory(region, &after)?;
                    }
                }
                self.undone(region, &before)?;
                Ok(injected)
            };
            let injected = step().map_err(|failure| match failure {
                Failure::Fail(why) => {
                    Failure::Fail(format!("{}, allocation {nth} fails: {why}", self.name))
                }
                skipped => skipped,
            })?;
            if !injected {
                let (failed, absorbed) = *tally.borrow();
                note(format!(
                    "{}: {} allocations, failed without {failed} of them, succeeded without {absorbed}",
                    self.name,
                    nth - 1
                ));
                check(
                    format!("{}: an allocation failed", self.name),
                    nth > 1,
                    true,
                )?;
                let few = failed <= self.most_failures;
                return check(format!("{}: fails {failed} times", self.name), few, true);
            }
        }
        check(format!("{} ends", self.name), false, true)
    }
}
