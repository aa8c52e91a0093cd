// SPDX-License-Identifier: GPL-2.0
//! The public tests: where each comes from, the machine that it needs, how it is run, and what is
//! known about it.

use std::time::Duration;

use anyhow::Result;

use crate::arch::Arch;
use crate::settings::{self, Machine};
use crate::spec::{Impl, Spec};

/// Additions to a guest that has ndctl and the files of tests/public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    Nothing,
    /// The kernel's own tools/testing/selftests/dax.
    Selftests,
    /// No guest of ours: the kernel's kunit.py boots its own.
    KunitPy,
    /// The kernel's modules around a fake NVDIMM or CXL machine.
    Mocks(Mocks),
}

/// A directory of tools/testing that builds drivers with some functions replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mocks {
    Nvdimm,
    Cxl,
}

/// The kernels on which a test is not tried, and why.
pub struct Except {
    /// `None` stands for every series, driver or architecture.
    series: Option<&'static str>,
    imp: Option<Impl>,
    arch: Option<Arch>,
    why: &'static str,
}

const EXCEPT: Except = Except {
    series: None,
    imp: None,
    arch: None,
    why: "",
};

pub struct Test {
    pub name: &'static str,
    /// Whose test it is.
    pub from: &'static str,
    /// The machine in a few words, for the table.
    pub on: &'static str,
    pub with: With,
    mem: &'static str,
    append: &'static str,
    qemu: &'static str,
    /// The command for bash in the guest, after tests/public/prelude.sh.
    pub command: &'static str,
    minutes: u64,
    /// Our change of the test, for the table.
    pub note: &'static str,
    /// A note for arm64 alone.
    pub note_for_arm64: &'static str,
    pub except: &'static [Except],
}

/// 2 GiB of soft-reserved memory.
const HMEM: Test = Test {
    name: "",
    from: "ndctl",
    on: "soft-reserved memory",
    with: With::Nothing,
    mem: settings::DEFAULT_MEM,
    append: settings::DEFAULT_APPEND,
    qemu: "",
    command: "",
    minutes: 10,
    note: "",
    note_for_arm64: "",
    except: &[],
};

/// 4 GiB of RAM that the command line calls persistent: the bus "e820", which
/// is where ndctl's tests look for a device that they may destroy.
const E820: Test = Test {
    on: "memmap=4G!4G",
    mem: "8G",
    append: "memmap=4G!4G",
    minutes: 20,
    ..HMEM
};

/// An NVDIMM of 8 GiB with labels.
const NVDIMM: Test = Test {
    on: "QEMU's NVDIMM",
    mem: "4G,slots=4,maxmem=40G",
    append: "",
    qemu: "-machine nvdimm=on \
           -object memory-backend-ram,id=nv0,size=8G,share=on \
           -device nvdimm,id=d0,memdev=nv0,label-size=2M",
    minutes: 20,
    ..HMEM
};

const NFIT_TEST: Test = Test {
    on: "nfit_test",
    with: With::Mocks(Mocks::Nvdimm),
    mem: "4G",
    append: "",
    minutes: 20,
    ..HMEM
};

pub const TESTS: [Test; 16] = [
    Test {
        name: "daxctl-create.sh",
        note: "changed: finds hmem's region instead of cxl_test's",
        command: "changed daxctl-create.sh 's/cxl_test/dax_hmem/; s/cxl_acpi\\.0/hmem/'",
        except: &[Except {
            arch: Some(Arch::Arm64),
            why: "asks for a device with pages of 1 GiB",
            ..EXCEPT
        }],
        ..HMEM
    },
    Test {
        name: "daxctl-create.sh-small",
        on: "960 MiB of soft-reserved memory",
        append: "memmap=960M%4G+0xefffffff",
        note: "changed as above; without pages of 1 GiB",
        command: "changed daxctl-create.sh 's/cxl_test/dax_hmem/; s/cxl_acpi\\.0/hmem/'",
        except: &[Except {
            arch: Some(Arch::X86),
            why: "daxctl-create.sh does more",
            ..EXCEPT
        }],
        ..HMEM
    },
    Test {
        name: "daxctl-create.sh-cxl",
        except: &[Except {
            series: Some("7.2"),
            why: "tools/testing/cxl of Linux 7.2.12 does not compile",
            ..EXCEPT
        }],
        on: "cxl_test",
        with: With::Mocks(Mocks::Cxl),
        mem: "4G",
        append: "",
        // cxl_test's devices are of the nodes 0 and 1, and ask for their memory.
        qemu: "-object memory-backend-ram,id=ram0,size=2G \
               -object memory-backend-ram,id=ram1,size=2G \
               -numa node,nodeid=0,memdev=ram0,cpus=0-1 -numa node,nodeid=1,memdev=ram1",
        minutes: 5,
        command: "load cxl_mock_mem cxl_mem cxl_port dax_cxl && $DATA_PATH/daxctl-create.sh",
        ..HMEM
    },
    Test {
        name: "dax-kmem-hotplug.sh",
        from: "kernel selftests/dax",
        with: With::Selftests,
        command: "load dax_hmem kmem && \
                  $DAXCTL reconfigure-device -N -m system-ram dax0.0 && \
                  DAX_KMEM_TEST_DEV=dax0.0 DAX_KMEM_TEST_UNBIND=1 \
                  bash /tools/testing/selftests/dax/dax-kmem-hotplug.sh",
        except: &[Except {
            series: Some("7.2"),
            why: "Linux 7.2 has no selftests/dax",
            ..EXCEPT
        }],
        ..HMEM
    },
    Test {
        name: "kunit.py",
        from: "kernel",
        on: "its own kernel",
        with: With::KunitPy,
        except: &[Except {
            imp: Some(Impl::C),
            why: "the C driver has no KUnit suites",
            ..EXCEPT
        }],
        ..HMEM
    },
    Test {
        name: "daxctl-devices.sh",
        // With labels, for the test makes a namespace that is smaller than the
        // region.
        command: "load nfit nd_pmem dax_pmem device_dax && \
                  $NDCTL disable-region all && $NDCTL init-labels -f all && \
                  $NDCTL enable-region all && \
                  $DATA_PATH/daxctl-devices.sh",
        ..NVDIMM
    },
    Test {
        name: "device-dax",
        note: "changed: more time to read than 30 ms",
        note_for_arm64: "changed: without pages of 1 GiB",
        command: "load $E820_MODULES && $TEST_PATH/device-dax",
        ..E820
    },
    Test {
        name: "dax-dev",
        command: "load $E820_MODULES && $TEST_PATH/dax-dev",
        ..E820
    },
    Test {
        name: "revoke-devmem",
        command: "load $E820_MODULES && $TEST_PATH/revoke_devmem",
        ..E820
    },
    Test {
        name: "device-dax-fio.sh",
        note: "changed: a fixed amount instead of 5 seconds; an error that fio prints counts",
        note_for_arm64: "changed: without pages of 1 GiB",
        // fio writes for five seconds, then reads for five seconds. On an emulated processor
        // reading is faster, so it reads what was not written. The test does not care.
        command: "load $E820_MODULES && without 'err=( *[1-9]|.*error=)' \
                  changed device-dax-fio.sh 's/runtime=5/size=1G\\nio_size=64M/'",
        ..E820
    },
    Test {
        name: "mmap.sh",
        command: "load $E820_MODULES && $DATA_PATH/mmap.sh",
        ..E820
    },
    Test {
        name: "dax-ext4.sh",
        note: "changed: runs dax-pmd without trace-cmd; its status counts",
        command: "load $E820_MODULES && changed dax-ext4.sh \"$UNTRACED\"",
        ..E820
    },
    Test {
        name: "dax-xfs.sh",
        note: "changed: runs dax-pmd without trace-cmd; its status counts",
        command: "load $E820_MODULES && changed dax-xfs.sh \"$UNTRACED\"",
        ..E820
    },
    Test {
        name: "daxdev-errors.sh",
        command: "$DATA_PATH/daxdev-errors.sh",
        ..NFIT_TEST
    },
    Test {
        name: "multi-dax.sh",
        command: "$DATA_PATH/multi-dax.sh",
        ..NFIT_TEST
    },
    Test {
        name: "override.sh",
        from: "this project",
        on: "nfit_test, memmap=512M!1G",
        append: "memmap=512M!1G",
        command: ". /public/override.sh",
        ..NFIT_TEST
    },
];

impl Test {
    pub fn machine(&self) -> Result<Machine> {
        Ok(Machine {
            mem: self.mem.to_owned(),
            append: self.append.to_owned(),
            qemu: settings::words(self.qemu)?,
            timeout: Duration::from_secs(60 * self.minutes),
            ..Machine::default()
        })
    }

    /// The reason not to try the test on this kernel, if there is one.
    pub fn exception(&self, spec: &Spec) -> Option<&'static str> {
        let applies = |e: &&Except| {
            e.series.is_none_or(|series| series == spec.series)
                && e.imp.is_none_or(|imp| imp == spec.imp)
                && e.arch.is_none_or(|arch| arch == spec.arch)
        };
        match self.with {
            With::Mocks(_) | With::KunitPy if spec.arch != Arch::X86 => Some("built for x86 alone"),
            _ => self.except.iter().find(applies).map(|e| e.why),
        }
    }
}
