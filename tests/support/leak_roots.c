/* SPDX-License-Identifier: MIT */
/* What LeakSanitizer reads of the libraries' variables in a Criterion program: all but those of the
 * sanitizers themselves.
 *
 * Criterion starts the program anew for each test, so the leak check runs once for each. It reads
 * every library's variables, for pointers to blocks; 12 MB of those are zeroes of libasan and
 * libubsan that nobody has touched: each page of them is a fault, two thirds of all faults of a
 * test. So reading variables is switched off, and the writable segments of everybody else are made
 * roots by hand, which are read as well. `base/leaks` shows that leaks are still found, and that
 * variables still keep blocks.
 */
#include <link.h>
#include <sanitizer/lsan_interface.h>
#include <string.h>

const char *__lsan_default_options(void)
{
    return "use_globals=0";
}

static unsigned long long loaded; /* libraries, when they were made roots */

static int add_roots(struct dl_phdr_info *object, size_t size, void *arg)
{
    (void)size, (void)arg;
    loaded = object->dlpi_adds;
    if (strstr(object->dlpi_name, "/libasan.") || strstr(object->dlpi_name, "/libubsan."))
        return 0;
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];

        if (segment->p_type == PT_LOAD && segment->p_flags & PF_W)
            __lsan_register_root_region((const void *)(object->dlpi_addr + segment->p_vaddr),
                                        segment->p_memsz);
    }
    return 0;
}

__attribute__((constructor)) static void add_all_roots(void)
{
    (void)dl_iterate_phdr(add_roots, NULL);
}

static int note_loaded(struct dl_phdr_info *object, size_t size, void *arg)
{
    (void)size;
    *(unsigned long long *)arg = object->dlpi_adds;
    return 1;
}

/* Libraries that were loaded meanwhile, for names for instance. That the others are roots twice
 * does no harm. */
__attribute__((destructor)) static void add_late_roots(void)
{
    unsigned long long now = 0;

    (void)dl_iterate_phdr(note_loaded, &now);
    if (now != loaded)
        add_all_roots();
}
