// SPDX-License-Identifier: GPL-2.0
/*
 * The C side of the Rust device-dax: symbol exports, which modpost and genksyms
 * need in a C object, and short functions around macros and inlines that Rust
 * cannot call. No policy lives here.
 */
#include <linux/cc_platform.h>
#include <linux/delay.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/userfaultfd_k.h>
#ifdef CONFIG_X86
#include <asm/cpufeature.h>
#endif
#include "glue.h"

/* kernel/rcu/update.c exports these, but no public header declares them. */
#ifndef CONFIG_TINY_RCU
void rcu_expedite_gp(void);
void rcu_unexpedite_gp(void);
#endif

EXPORT_SYMBOL_GPL(alloc_dax_region);
EXPORT_SYMBOL_GPL(devm_create_dev_dax);
EXPORT_SYMBOL_GPL(__dax_driver_register);
EXPORT_SYMBOL_GPL(dax_driver_unregister);
EXPORT_SYMBOL_GPL(kill_dev_dax);
EXPORT_SYMBOL_GPL(static_dev_dax);

static phys_addr_t own_pgoff_to_phys(struct dev_dax *dev_dax, pgoff_t pgoff,
				     unsigned long size)
{
	return dax_rust_pgoff_to_phys(dev_dax, pgoff, size);
}

/*
 * Weak, as in bus.c: nfit_test links a strong definition into its own
 * device_dax. Rust cannot define weak symbols.
 */
phys_addr_t dax_pgoff_to_phys(struct dev_dax *dev_dax, pgoff_t pgoff,
			      unsigned long size)
	__weak __alias(own_pgoff_to_phys);
EXPORT_SYMBOL_GPL(dax_pgoff_to_phys);

bool dax_glue_pgoff_to_phys_overridden(void)
{
	return dax_pgoff_to_phys != own_pgoff_to_phys;
}

/*
 * If built in, hmem's device_initcall needs the bus and runs before the module
 * init of this crate. As a module, module init registers the bus.
 */
#ifndef MODULE
subsys_initcall(dax_rust_bus_init);
#endif

bool dax_glue_align_valid(unsigned long align)
{
#ifdef CONFIG_X86
	if (align == PUD_SIZE && !boot_cpu_has(X86_FEATURE_GBPAGES))
		return false;
#endif
	return dax_align_valid(align);
}

/* On such a host arch_memremap_wb() maps without encryption; a driver's users map with it. */
bool dax_glue_memremap_decrypts(void)
{
	return cc_platform_has(CC_ATTR_HOST_MEM_ENCRYPT);
}

/* No two ranges share a page of struct pages: arm64 frees that page with the first of them. */
unsigned long dax_glue_compat_align(void)
{
	unsigned long of_one_page = PAGE_SIZE / sizeof(struct page) * PAGE_SIZE;

	return max(memremap_compat_align(), roundup_pow_of_two(of_one_page));
}

bool dax_glue_memmap_on_memory(void)
{
	return mhp_supports_memmap_on_memory();
}

/* Without ZONE_DEVICE this is an inline function that fails. */
void *dax_glue_memremap_pages(struct device *dev, struct dev_pagemap *pgmap)
{
	return devm_memremap_pages(dev, pgmap);
}

bool dax_glue_pfn_is_of(unsigned long pfn, const struct dev_pagemap *pgmap)
{
	struct dev_pagemap *found = get_dev_pagemap(pfn);

	if (found)
		put_dev_pagemap(found);
	return found == pgmap;
}

int dax_glue_dev_to_node(const struct device *dev)
{
	return dev_to_node((struct device *)dev);
}

/*
 * C formats the names: formatting in Rust and passing the result as "%s" would
 * add a tenth to the cost of a range.
 */
int dax_glue_set_dax_name(struct device *dev, int region, int id)
{
	return dev_set_name(dev, "dax%d.%d", region, id);
}

int dax_glue_set_mapping_name(struct device *dev, size_t index)
{
	return dev_set_name(dev, "mapping%zu", index);
}

void dax_glue_set_pm_not_required(struct device *dev)
{
	device_set_pm_not_required(dev);
}

void dax_glue_copy_node(struct device *dev, const struct device *from)
{
	set_dev_node(dev, dev_to_node((struct device *)from));
}

/*
 * devm_memremap_pages() holds one reference. The page was removed from all page
 * tables before this, so references that the mapcount still accounts for were
 * forgotten by the memory manager. They do not count: nobody will drop them.
 */
static bool page_is_held(struct page *page)
{
	struct folio *folio = page_folio(page);

	return folio_ref_count(folio) - folio_mapcount(folio) > 1;
}

unsigned long dax_glue_first_held(unsigned long pfn, unsigned long end,
				  unsigned int order)
{
	for (; pfn < end; pfn += 1UL << order) {
		struct page *page = pfn_to_page(pfn);

		if (unlikely(page_ref_count(page) > 1) && page_is_held(page))
			break;
	}
	return pfn;
}

/* By these two fields memory_failure() finds the VMAs of a page. */
static inline void note_mapping(struct vm_fault *vmf, struct folio *folio,
				pgoff_t pgoff, unsigned int order,
				unsigned long *touched)
{
	unsigned long chunk = pgoff >> (order + DAX_GLUE_CHUNK_SHIFT);

	if (folio->mapping)
		return;
	folio->index = pgoff;
	folio->mapping = vmf->vma->vm_file->f_mapping;
	if (touched && !test_bit(chunk, touched))
		set_bit(chunk, touched);
}

vm_fault_t dax_glue_insert_pfn(struct vm_fault *vmf, unsigned long pfn,
			       pgoff_t pgoff, unsigned int order,
			       unsigned long *touched)
{
	bool write = vmf->flags & FAULT_FLAG_WRITE;
	struct page *page = pfn_to_page(pfn);
	struct folio *folio = page_folio(page);

	/*
	 * @write upgrades an existing entry. Pass it only if there is one: for
	 * another entry, such as a guard marker, the memory manager would warn.
	 * A new entry is writable without @write too.
	 */
	if (order == 0) {
		note_mapping(vmf, folio, pgoff, 0, touched);
		/*
		 * The entry is a marker, by which userfaultfd sees the first
		 * write. No function replaces a marker by a page, so asking for
		 * a retry would loop forever.
		 */
		if (vmf->flags & FAULT_FLAG_ORIG_PTE_VALID && !pte_none(vmf->orig_pte))
			return VM_FAULT_SIGBUS;
		return vmf_insert_page_mkwrite(vmf, page, false);
	}
	/*
	 * The entry of a huge page points to the first page of its folio. In a
	 * fault of 1 GiB there is no page table for pages of 2 MiB yet.
	 */
	if (WARN_ON_ONCE(&folio->page != page) ||
	    WARN_ON_ONCE(order == PMD_ORDER && !vmf->pmd))
		return VM_FAULT_SIGBUS;
	note_mapping(vmf, folio, pgoff, order, touched);
	if (order == PMD_ORDER)
		return vmf_insert_folio_pmd(vmf, folio, write &&
					    pmd_trans_huge(vmf->orig_pmd));
#ifdef CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD
	if (order == PUD_ORDER)
		return vmf_insert_folio_pud(vmf, folio, write);
#endif
	return VM_FAULT_FALLBACK;
}

size_t dax_glue_page_table_bytes(void)
{
	return PMD_SIZE;
}

/* memory_failure() marks the folio, see mf_generic_kill_procs(). */
bool dax_glue_pfn_poisoned(unsigned long pfn)
{
	return folio_test_hwpoison(pfn_folio(pfn));
}

/* Struct pages that are missing or not initialised have no mark. */
unsigned long dax_glue_next_poisoned(unsigned long pfn, unsigned long end)
{
	for (; pfn < end; pfn++) {
		struct page *page;

		if (!(pfn % PAGES_PER_SECTION))
			cond_resched();
		if (!pfn_valid(pfn))
			continue;
		page = pfn_to_page(pfn);
		if (!PagePoisoned(page) && PageHWPoison(page))
			break;
	}
	return pfn;
}

/* Without memory hotplug these are inline functions that do nothing. */
int dax_glue_register_memory_notifier(struct notifier_block *nb)
{
	return register_memory_notifier(nb);
}

void dax_glue_unregister_memory_notifier(struct notifier_block *nb)
{
	unregister_memory_notifier(nb);
}

bool dax_glue_vma_has_uffd(struct vm_area_struct *vma)
{
	return uffd_disable_fault_around(vma);
}

bool dax_glue_desc_shared(const struct vm_area_desc *desc)
{
	vma_flags_t flags = desc->vma_flags;

	return vma_flags_test_any(&flags, VMA_MAYSHARE_BIT);
}

void dax_glue_desc_set_huge(struct vm_area_desc *desc)
{
	vma_desc_set_flags(desc, VMA_HUGEPAGE_BIT);
}

void dax_glue_desc_set_dontexpand(struct vm_area_desc *desc)
{
	vma_desc_set_flags(desc, VMA_DONTEXPAND_BIT);
}

bool dax_glue_file_is_dax(const struct file *file)
{
	return file_is_dax(file);
}

/* The device of the cdev that is being opened; cdev_set_parent() stored it. */
struct device *dax_glue_inode_device(const struct inode *inode)
{
	return kobj_to_dev(inode->i_cdev->kobj.parent);
}

void dax_glue_file_set_mapping(struct inode *inode, struct file *file,
			       struct address_space *mapping)
{
	file->f_mapping = mapping;
	file->f_wb_err = filemap_sample_wb_err(mapping);
	file->f_sb_err = file_sample_sb_err(file);
	/* statx() reports this flag. */
	inode_set_flags(inode, S_DAX, S_DAX);
}

/*
 * The function of the C driver that messages name: its fault handler of @order,
 * or that of mmap() if @order < 0.
 */
static const char *handler(int order)
{
	if (order < 0)
		return "dax_mmap_prepare";
	if (order == 0)
		return "__dev_dax_pte_fault";
	return order == PMD_ORDER ? "__dev_dax_pmd_fault" : "__dev_dax_pud_fault";
}

void dax_glue_reject_vma(const struct device *dev, int order, const char *why)
{
	dev_info_ratelimited(dev, "%s: %s: fail, %s\n", current->comm,
			     handler(order), why);
}

void dax_glue_reject_unaligned(const struct device *dev, int order,
			       unsigned long start, unsigned long end,
			       unsigned long mask)
{
	dev_info_ratelimited(dev, "%s: %s: fail, unaligned vma (%#lx - %#lx, %#lx)\n",
			     current->comm, handler(order), start, end, mask);
}

void dax_glue_dbg(const struct device *dev, const char *text)
{
	dev_dbg(dev, "%s\n", text);
}

void dax_glue_refused(const struct device *dev, const char *why)
{
	dev_info_ratelimited(dev, "refused: %s\n", why);
}

void dax_glue_refused_text(const struct device *dev, const char *text,
			   int len, const char *why)
{
	dev_info_ratelimited(dev, "refused: %*pE %s\n", len, text, why);
}

void dax_glue_dbg_store(const struct device *dev, const char *attribute,
			int error)
{
	dev_dbg(dev, "write of %s fails with %d\n", attribute, error);
}

void dax_glue_dbg_driver_store(const struct device_driver *drv, int error)
{
	pr_debug("%s: write of an id fails with %d\n", drv->name, error);
}

void dax_glue_refused_range(const struct device *dev, u64 start, u64 last,
			    const char *why)
{
	dev_info_ratelimited(dev, "refused: %#llx-%#llx %s\n", start, last,
			     why);
}

void dax_glue_dbg_range(const struct device *dev, enum dax_glue_change what,
			int index, phys_addr_t start, phys_addr_t last)
{
	switch (what) {
	case DAX_GLUE_ALLOC:
		dev_dbg(dev, "alloc range[%d]: %pa:%pa\n", index, &start, &last);
		break;
	case DAX_GLUE_EXTEND:
		dev_dbg(dev, "extend range[%d]: %#llx:%#llx\n", index,
			(u64)start, (u64)last);
		break;
	case DAX_GLUE_SHRINK:
		dev_dbg(dev, "shrink range[%d]: %#llx:%#llx\n", index,
			(u64)start, (u64)last);
		break;
	case DAX_GLUE_DELETE:
		dev_dbg(dev, "delete range[%d]: %#llx:%#llx\n", index,
			(u64)start, (u64)last);
		break;
	}
}

void dax_glue_dbg_fault(const struct device *dev, unsigned int order,
			unsigned int own, unsigned long pgoff)
{
	if (order < own)
		dev_dbg(dev, "alignment (%#lx) > fault size (%#lx)\n",
			PAGE_SIZE << own, PAGE_SIZE << order);
	else
		dev_dbg(dev, "pgoff_to_phys(%#lx) failed\n", pgoff);
}

void dax_glue_resource_conflict(const struct device *dev,
				const struct resource *res)
{
	dev_err(dev, "dax_region resource conflict for %pR\n", res);
}

bool dax_glue_has_system_ram(resource_size_t start, resource_size_t size)
{
	return region_intersects(start, size, IORESOURCE_SYSTEM_RAM,
				 IORES_DESC_NONE) != REGION_DISJOINT;
}

/* Whether kmem, or another driver, added a part of that memory. */
bool dax_glue_is_driver_managed(resource_size_t start, resource_size_t size)
{
	return region_intersects(start, size,
				 IORESOURCE_SYSTEM_RAM |
				 IORESOURCE_SYSRAM_DRIVER_MANAGED,
				 IORES_DESC_NONE) != REGION_DISJOINT;
}

/* Without CONFIG_MODULE_UNLOAD these two are inline functions. */
void dax_glue_get_module(void)
{
	__module_get(THIS_MODULE);
}

void dax_glue_put_module(void)
{
	module_put(THIS_MODULE);
}

void dax_glue_expedite(bool on)
{
#ifndef CONFIG_TINY_RCU
	if (on)
		rcu_expedite_gp();
	else
		rcu_unexpedite_gp();
#endif
}

void dax_glue_sleep(unsigned int ms)
{
	fsleep(ms * USEC_PER_MSEC);
}

void dax_glue_synchronize_tasks(void)
{
	/* Kconfig selects this. Without it, a preempted task is not waited for. */
	BUILD_BUG_ON(IS_ENABLED(CONFIG_PREEMPTION) &&
		     !IS_ENABLED(CONFIG_TASKS_RCU));
	synchronize_rcu_tasks();
}

int dax_glue_restart_syscall(void)
{
	return restart_syscall();
}

bool dax_glue_is_going_down(void)
{
	return system_state > SYSTEM_RUNNING;
}

bool dax_glue_was_killed(struct task_struct *task)
{
	return fatal_signal_pending(task);
}

void dax_glue_cond_resched(void)
{
	cond_resched();
}
