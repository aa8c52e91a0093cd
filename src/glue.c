// SPDX-License-Identifier: GPL-2.0
/*
 * The C side of the Rust device-dax: symbol exports (modpost and genksyms want
 * them in a C object), and one-line functions around macros and inlines that
 * Rust cannot call. No policy lives here.
 */
#include <linux/export.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/userfaultfd_k.h>
#ifdef CONFIG_X86
#include <asm/cpufeature.h>
#endif
#include "glue.h"

/* From kernel/rcu/update.c, which exports them but has no public header. */
void rcu_expedite_gp(void);
void rcu_unexpedite_gp(void);

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
 * Built in, hmem's device_initcall runs before module init of this crate and
 * wants the bus; as a module, module init registers it.
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

unsigned long dax_glue_compat_align(void)
{
	return memremap_compat_align();
}

bool dax_glue_memmap_on_memory(void)
{
	return mhp_supports_memmap_on_memory();
}

/* Without ZONE_DEVICE an inline that fails. */
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

/* One reference is what devm_memremap_pages() left on the page. */
bool dax_glue_pfn_idle(unsigned long pfn)
{
	return page_ref_count(pfn_to_page(pfn)) <= 1;
}

vm_fault_t dax_glue_insert_pfn(struct vm_fault *vmf, unsigned long pfn,
			       pgoff_t pgoff, unsigned int order)
{
	bool write = vmf->flags & FAULT_FLAG_WRITE;
	struct page *page = pfn_to_page(pfn);
	struct folio *folio = page_folio(page);

	/* memory-failure finds the users of a page through these two. */
	if (!folio->mapping) {
		folio->index = pgoff;
		folio->mapping = vmf->vma->vm_file->f_mapping;
	}
	if (order == 0)
		return vmf_insert_page_mkwrite(vmf, page, write);
	if (order == PMD_ORDER)
		return vmf_insert_folio_pmd(vmf, folio, write);
#ifdef CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD
	if (order == PUD_ORDER)
		return vmf_insert_folio_pud(vmf, folio, write);
#endif
	return VM_FAULT_FALLBACK;
}

/* device-dax pages are marked on the head, see mf_generic_kill_procs(). */
bool dax_glue_pfn_poisoned(unsigned long pfn)
{
	return folio_test_hwpoison(pfn_folio(pfn));
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

bool dax_glue_file_is_dax(const struct file *file)
{
	return file_is_dax(file);
}

/* The device that the cdev of an open file belongs to, see cdev_set_parent(). */
struct device *dax_glue_inode_device(const struct inode *inode)
{
	return kobj_to_dev(inode->i_cdev->kobj.parent);
}

void dax_glue_file_set_mapping(struct file *file, struct address_space *mapping)
{
	file->f_mapping = mapping;
	file->f_wb_err = filemap_sample_wb_err(mapping);
	file->f_sb_err = file_sample_sb_err(file);
}

void dax_glue_reject_vma(const struct device *dev, const char *func,
			 const char *why)
{
	dev_info_ratelimited(dev, "%s: %s: fail, %s\n", current->comm, func, why);
}

void dax_glue_reject_unaligned(const struct device *dev, const char *func,
			       unsigned long start, unsigned long end,
			       unsigned long mask)
{
	dev_info_ratelimited(dev, "%s: %s: fail, unaligned vma (%#lx - %#lx, %#lx)\n",
			     current->comm, func, start, end, mask);
}

void dax_glue_resource_conflict(const struct device *dev,
				const struct resource *res)
{
	dev_err(dev, "dax_region resource conflict for %pR\n", res);
}

void dax_glue_expedite(bool on)
{
	if (on)
		rcu_expedite_gp();
	else
		rcu_unexpedite_gp();
}

void dax_glue_cond_resched(void)
{
	cond_resched();
}
