/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Declarations that bindgen translates for Rust: the dax headers, and functions
 * in place of macros and inlines, which bindgen cannot translate.
 */
#ifndef __DAX_RUST_GLUE_H__
#define __DAX_RUST_GLUE_H__

#include <linux/cdev.h>
#include <linux/dax.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/huge_mm.h>
#include <linux/idr.h>
#include <linux/ioport.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include "../../dax-private.h"
#include "../../bus.h"

#ifdef __BINDGEN__
/* bindgen evaluates no macros with casts. rust/Makefile drops the prefix. */
const unsigned long RUST_CONST_HELPER_IORESOURCE_DAX_STATIC = IORESOURCE_DAX_STATIC;
const unsigned long RUST_CONST_HELPER_IORESOURCE_DAX_KMEM = IORESOURCE_DAX_KMEM;
const unsigned int RUST_CONST_HELPER_FOP_MMAP_SYNC = (__force unsigned int)FOP_MMAP_SYNC;
/* In Linux 7.2 VM_MAYSHARE of the kernel crate is another bit, hence "DAX_". */
const vm_flags_t RUST_CONST_HELPER_DAX_VM_MAYSHARE = VM_MAYSHARE;
const vm_flags_t RUST_CONST_HELPER_DAX_VM_RAND_READ = VM_RAND_READ;
#endif

/* One bit of "touched" stands for 2^DAX_GLUE_CHUNK_SHIFT device pages. */
#define DAX_GLUE_CHUNK_SHIFT 9

enum dax_glue_change {
	DAX_GLUE_ALLOC,
	DAX_GLUE_EXTEND,
	DAX_GLUE_SHRINK,
	DAX_GLUE_DELETE,
};

/* Implemented in Rust. */
int dax_rust_bus_init(void);
phys_addr_t dax_rust_pgoff_to_phys(struct dev_dax *dev_dax, pgoff_t pgoff,
				   unsigned long size);

/* Implemented in glue.c. */
bool dax_glue_pgoff_to_phys_overridden(void);
bool dax_glue_memremap_decrypts(void);
bool dax_glue_align_valid(unsigned long align);
unsigned long dax_glue_compat_align(void);
bool dax_glue_memmap_on_memory(void);
void *dax_glue_memremap_pages(struct device *dev, struct dev_pagemap *pgmap);
bool dax_glue_pfn_is_of(unsigned long pfn, const struct dev_pagemap *pgmap);
int dax_glue_dev_to_node(const struct device *dev);
int dax_glue_set_dax_name(struct device *dev, int region, int id);
int dax_glue_set_mapping_name(struct device *dev, size_t index);
void dax_glue_set_pm_not_required(struct device *dev);
void dax_glue_copy_node(struct device *dev, const struct device *from);
unsigned long dax_glue_first_held(unsigned long pfn, unsigned long end,
				  unsigned int order);
vm_fault_t dax_glue_insert_pfn(struct vm_fault *vmf, unsigned long pfn,
			       pgoff_t pgoff, unsigned int order,
			       unsigned long *touched);
size_t dax_glue_page_table_bytes(void);
bool dax_glue_pfn_poisoned(unsigned long pfn);
unsigned long dax_glue_next_poisoned(unsigned long pfn, unsigned long end);
int dax_glue_register_memory_notifier(struct notifier_block *nb);
void dax_glue_unregister_memory_notifier(struct notifier_block *nb);
bool dax_glue_vma_has_uffd(struct vm_area_struct *vma);
bool dax_glue_desc_shared(const struct vm_area_desc *desc);
void dax_glue_desc_set_huge(struct vm_area_desc *desc);
void dax_glue_desc_set_dontexpand(struct vm_area_desc *desc);
bool dax_glue_file_is_dax(const struct file *file);
struct device *dax_glue_inode_device(const struct inode *inode);
void dax_glue_file_set_mapping(struct inode *inode, struct file *file,
			       struct address_space *mapping);
void dax_glue_reject_vma(const struct device *dev, int order, const char *why);
void dax_glue_reject_unaligned(const struct device *dev, int order,
			       unsigned long start, unsigned long end,
			       unsigned long mask);
void dax_glue_dbg(const struct device *dev, const char *text);
void dax_glue_refused(const struct device *dev, const char *why);
void dax_glue_refused_text(const struct device *dev, const char *text,
			   int len, const char *why);
void dax_glue_dbg_store(const struct device *dev, const char *attribute,
			int error);
void dax_glue_dbg_driver_store(const struct device_driver *drv, int error);
void dax_glue_refused_range(const struct device *dev, u64 start, u64 last,
			    const char *why);
void dax_glue_dbg_range(const struct device *dev, enum dax_glue_change what,
			int index, phys_addr_t start, phys_addr_t last);
void dax_glue_dbg_fault(const struct device *dev, unsigned int order,
			unsigned int own, unsigned long pgoff);
void dax_glue_resource_conflict(const struct device *dev,
				const struct resource *res);
bool dax_glue_has_system_ram(resource_size_t start, resource_size_t size);
bool dax_glue_is_driver_managed(resource_size_t start, resource_size_t size);
void dax_glue_expedite(bool on);
void dax_glue_get_module(void);
void dax_glue_put_module(void);
void dax_glue_sleep(unsigned int ms);
void dax_glue_synchronize_tasks(void);
int dax_glue_restart_syscall(void);
bool dax_glue_is_going_down(void);
bool dax_glue_was_killed(struct task_struct *task);
void dax_glue_cond_resched(void);

#endif /* __DAX_RUST_GLUE_H__ */
