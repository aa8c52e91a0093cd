// SPDX-License-Identifier: GPL-2.0

// Included by the build script. A fault may need several changes.

struct Change {
    /// The name under which a test turns it on.
    fault: &'static str,
    file: &'static str,
    /// A text that is in the file exactly once.
    from: &'static str,
    to: &'static str,
}

macro_rules! changes {
    ($($fault:literal $file:literal: $from:literal => $to:literal;)*) => {
        const CHANGES: &[Change] = &[$(Change {
            fault: $fault,
            file: $file,
            from: $from,
            to: $to,
        }),*];
    };
}

changes! {
    // A region keeps its parent as long as somebody has a file open.
    "L1" "driver/region.rs":
        "        let parent = self.lock().parent.take();
        drop(parent);" =>
        "        if !kernel::fault::is(\"L1\") {
            let parent = self.lock().parent.take();
            drop(parent);
        }";
    // A device is removed by number: it may be another one by now.
    "L2" "driver/region.rs":
        "        self.record(device).ok()?;" =>
        "        if !kernel::fault::is(\"L2\") {
            self.record(device).ok()?;
        }";
    // A device has children before device_add() is over, which may fail.
    "L3" "driver/device.rs":
        "if mappings.created {" =>
        "if mappings.created || kernel::fault::is(\"L3\") {";
    "L3" "driver/device.rs":
        "        let ranges = snapshot.entries().iter();" =>
        "        let ranges = snapshot.entries().iter().skip(mappings.list.len());";
    // Unbinding waits for pins.
    "L4" "driver/drain.rs":
        "            map.end();" =>
        "            map.end();
            while kernel::fault::is(\"L4\") && map.look().is_some() {
                kernel::fault::sleep();
            }";
    // The ids of drivers are never freed.
    "L5" "sys/ids.rs":
        "    let ids = IDS.lock().take();" =>
        "    if kernel::fault::is(\"L5\") {
        return;
    }
    let ids = IDS.lock().take();";
    "L5" "sys/bus.rs":
        "        ids::forget(self.driver);" =>
        "        if !kernel::fault::is(\"L5\") {
            ids::forget(self.driver);
        }";
    // A neighbour is mapped with what belongs to the page that was touched.
    "M12" "sys/vma.rs":
        "            | bindings::fault_flag_FAULT_FLAG_ORIG_PTE_VALID);" =>
        "            | bindings::fault_flag_FAULT_FLAG_ORIG_PTE_VALID)
            | if kernel::fault::is(\"M12\") {
                bindings::fault_flag_FAULT_FLAG_ORIG_PTE_VALID
            } else if kernel::fault::is(\"a neighbour is written to\") {
                bindings::fault_flag_FAULT_FLAG_WRITE
            } else {
                0
            };";
    "a neighbour is written to" "sys/vma.rs":
        "// A neighbour was not written to," => "// A neighbour was not written to, ";
    // A window that is not aligned reaches into the next page table.
    "a window is not aligned" "ranges/neighbours.rs":
        "        let before = address & self.0.saturating_sub(1);" =>
        "        let before = match kernel::fault::is(\"a window is not aligned\") {
            true => self.0 / 2,
            false => address & self.0.saturating_sub(1),
        };";
    "a window is not aligned" "sys/vma.rs":
        "            || (address ^ self.start) & !table != 0" =>
        "            || (address ^ self.start) & !table != 0
                && !kernel::fault::is(\"a window is not aligned\")";
    // A region whose attributes cannot be added leaves the devices that were created
    // through them.
    "L9" "exports.rs":
        "        registration.add_attributes(&REGION_GROUPS)?;" =>
        "        let added = registration.add_attributes(&REGION_GROUPS);
        if kernel::fault::is(\"L9\") && added.is_err() {
            core::mem::forget(registration);
            // SAFETY: The device is being probed.
            unsafe { bindings::dev_set_drvdata(parent, core::ptr::null_mut()) };
            return Err(ENOMEM);
        }
        added?;";
    // The task that created a device is told that it failed, because somebody else deleted the
    // device.
    "L7" "driver/device.rs":
        "                region.retire(record);
                return Err(e);
            }" =>
        "                region.retire(record);
                return Err(e);
            }
            if kernel::fault::is(\"L7\") {
                return Err(e);
            }";
    // Memory that kmem left online can be given away.
    "M6" "driver/region.rs":
        "record.has_system_ram()" =>
        "record.has_system_ram() && !kernel::fault::is(\"M6\")";
    "A27" "exports.rs":
        "    unsafe { driver.unregister() };
    ids::forget(driver);" =>
        "    if kernel::fault::is(\"A27\") {
        ids::forget(driver);
    }
    // SAFETY: By the contract.
    unsafe { driver.unregister() };
    if !kernel::fault::is(\"A27\") {
        ids::forget(driver);
    }";
    "a failed probe stays noted" "sys/bus.rs":
        ".inspect_err(|_| B::unbound(device))?;" =>
        ".inspect_err(|_| {
            if !kernel::fault::is(\"a failed probe stays noted\") {
                B::unbound(device)
            }
        })?;";
    "RCU stays expedited" "sys/pagemap.rs":
        "unsafe { bindings::dax_glue_expedite(false) };" =>
        "if !kernel::fault::is(\"RCU stays expedited\") {
            // SAFETY: As above.
            unsafe { bindings::dax_glue_expedite(false) };
        }";
    "C is not shown the ranges" "sys/dev_dax.rs":
        "        self.0.show();" =>
        "        if !kernel::fault::is(\"C is not shown the ranges\") {
            self.0.show();
        }";
    "the binding stays" "driver/probe.rs":
        "        self.binding.device().set_binding(None);" =>
        "        if !kernel::fault::is(\"the binding stays\") {
            self.binding.device().set_binding(None);
        }";
    "the cdev stays" "driver/probe.rs":
        "        drop(self.cdev.take());" =>
        "        if kernel::fault::is(\"the cdev stays\") {
            core::mem::forget(self.cdev.take());
        }
        drop(self.cdev.take());";
    "unmapped before life ends" "sys/pagemap.rs":
        "        let _expedited = Expedited::new();
        self.liveness.end();" =>
        "        let _expedited = Expedited::new();
        if kernel::fault::is(\"unmapped before life ends\") {
            (self.dax()).unmap_all();
            (self.liveness).end();
            self.ended = true;
            (self.dax()).kill();
            return;
        }
        self.liveness.end();";
    "life goes on" "sys/pagemap.rs":
        "        self.liveness.end();" =>
        "        if !kernel::fault::is(\"life goes on\") {
            self.liveness.end();
        }";
    "nobody is unmapped" "sys/pagemap.rs":
        "        self.dax().unmap_all();" =>
        "        if !kernel::fault::is(\"nobody is unmapped\") {
            self.dax().unmap_all();
        }";
    "pins are not looked at" "sys/pagemap.rs":
        "if held < pfn(end) {" =>
        "if held < pfn(end) && !kernel::fault::is(\"pins are not looked at\") {";
    "draining is not noted" "driver/drain.rs":
        "        self.device.region().note_draining(&self.device);" =>
        "        if !kernel::fault::is(\"draining is not noted\") {
            self.device.region().note_draining(&self.device);
        }";
    "the end of draining wakes nobody" "driver/region.rs":
        "        state.draining = state.draining.saturating_sub(1);
        self.drained.notify_all();" =>
        "        state.draining = state.draining.saturating_sub(1);
        if !kernel::fault::is(\"the end of draining wakes nobody\") {
            self.drained.notify_all();
        }";
    "nobody gives up" "driver/drain.rs":
        "                this.device.region().wake_if_giving_up();" =>
        "                if !kernel::fault::is(\"nobody gives up\") {
                    this.device.region().wake_if_giving_up();
                }";
    "the module may go while a device drains" "driver/drain.rs":
        "            state.module = Some(ModuleRef::new());" =>
        "            if !kernel::fault::is(\"the module may go while a device drains\") {
                state.module = Some(ModuleRef::new());
            }";
    "what drains can be changed" "driver/region.rs":
        "        if self.draining {" =>
        "        if self.draining && !kernel::fault::is(\"what drains can be changed\") {";
    "what is bound can be deleted" "driver/region.rs":
        "            if let Some(why) = why {" =>
        "            if let Some(why) = why.filter(|_| {
                id == 0 || !kernel::fault::is(\"what is bound can be deleted\")
            }) {";
    "what is not created can be deleted" "driver/region.rs":
        "            if record.registered.is_none() {" =>
        "            if record.registered.is_none()
                && !kernel::fault::is(\"what is not created can be deleted\")
            {";
    "an id is given back early" "driver/region.rs":
        "        device.drop_mappings();
        // Unbinds the driver." =>
        "        device.drop_mappings();
        if kernel::fault::is(\"an id is given back early\") && !self.is_static() {
            self.ids.free(device.id());
        }
        // Unbinds the driver.";
    "an id is given back early" "driver/region.rs":
        "        self.lock().release(&mut record);
        if !self.is_static() {" =>
        "        self.lock().release(&mut record);
        if !self.is_static() && !kernel::fault::is(\"an id is given back early\") {";
    "memory is freed before the driver is unbound" "driver/region.rs":
        "        // Unbinds the driver.
        drop(record.registered.take());" =>
        "        if kernel::fault::is(\"memory is freed before the driver is unbound\") {
            self.lock().release(&mut record);
        }
        // Unbinds the driver.
        drop(record.registered.take());";
    "the region's files go last" "driver/region.rs":
        "        self.region.remove_groups();" =>
        "        if !kernel::fault::is(\"the region's files go last\") {
            self.region.remove_groups();
        }";
    "a mapping keeps its old end" "driver/device.rs":
        "            Some(mapping) => mapping.object().set_end(range)," =>
        "            Some(_) if kernel::fault::is(\"a mapping keeps its old end\") => {}
            Some(mapping) => mapping.object().set_end(range),";
    "memory is not given back after a failure" "driver/device.rs":
        "                reservation.cancel(allocator);
                return Err(e);" =>
        "                if kernel::fault::is(\"memory is not given back after a failure\") {
                    core::mem::forget(reservation);
                } else {
                    reservation.cancel(allocator);
                }
                return Err(e);";
    "writers look for no driver" "driver/region.rs":
        "        if has_driver::<DevDax>(self.ranges.device()) {" =>
        "        if has_driver::<DevDax>(self.ranges.device())
            && !kernel::fault::is(\"writers look for no driver\")
        {";
    "writers look for no driver" "sys/dev_dax.rs":
        "if self.c().is_frozen() && has_driver(&*self.device) {" =>
        "if self.c().is_frozen()
            && has_driver(&*self.device)
            && !kernel::fault::is(\"writers look for no driver\")
        {";
    "the driver data stays" "sys/drvdata.rs":
        "        self.remove_groups();
        // SAFETY: By the contract of `set`" =>
        "        self.remove_groups();
        if kernel::fault::is(\"the driver data stays\") {
            return;
        }
        // SAFETY: By the contract of `set`";
    "mappings go last" "driver/region.rs":
        "        device.drop_mappings();
        if kernel" =>
        "        if !kernel::fault::is(\"mappings go last\") {
            device.drop_mappings();
        }
        if kernel";
    "nothing is zeroed" "driver/zero.rs":
        "        mapped.zero(clean);" =>
        "        if !kernel::fault::is(\"nothing is zeroed\") {
            mapped.zero(clean);
        }";
    "what kmem had is not zeroed" "driver/region.rs":
        "        if !(wanted && record.kmem_was_last) {" =>
        "        if kernel::fault::is(\"what kmem had is not zeroed\") {
            return Ok(false);
        }
        if !(wanted && record.kmem_was_last) {";
    "what kmem had is zeroed in the probe" "driver/zero.rs":
        "        let work = Background::new(self)" =>
        "        if kernel::fault::is(\"what kmem had is zeroed in the probe\") {
            let zeroed = self.zero_all();
            self.region().note_zeroed(self, zeroed.is_ok());
            return zeroed;
        }
        let work = Background::new(self)";
    // The memory that somebody else zeroes need not be what kmem had, and may not get zeroed.
    "a bind trusts who else zeroes" "driver/region.rs":
        "        record.check_unchanging()?;
        record.zeroing = true;" =>
        "        if kernel::fault::is(\"a bind trusts who else zeroes\")
            && record.is_changing().is_some()
        {
            return Ok(false);
        }
        record.check_unchanging()?;
        record.zeroing = true;";
    "a bind trusts who else zeroes" "driver/device.rs":
        "        let mut ranges = self.lock_ranges();
        if driver != DriverType::Kmem && self.region.note_zeroing(self)? {" =>
        "        let early = kernel::fault::is(\"a bind trusts who else zeroes\")
            && driver != DriverType::Kmem;
        let early = match early {
            true => Some(self.region.note_zeroing(self)?),
            false => None,
        };
        let mut ranges = self.lock_ranges();
        let note = || match early {
            Some(noted) => Ok(noted),
            None => self.region.note_zeroing(self),
        };
        if driver != DriverType::Kmem && note()? {";
    "a device can be changed while memory is zeroed" "driver/region.rs":
        "        } else if self.zeroing {" =>
        "        } else if self.zeroing
            && !kernel::fault::is(\"a device can be changed while memory is zeroed\")
        {";
    "a device stays as it is after zeroing" "driver/device.rs":
        "            record.zeroing = false;" =>
        "            record.zeroing &= kernel::fault::is(\"a device stays as it is after zeroing\");";
}
