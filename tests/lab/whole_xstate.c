/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright: (c) 2026, kubenode.proxy contributors
 * GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
 *
 * Loaded before the C library of User Mode Linux, on processors with more state than its kernel has room for (AMX).
 * Linux takes a tracee's state as a whole only, and refuses with EFAULT what is cut off: then no guest starts. Here the
 * part that User Mode Linux keeps is put over the whole, and that is written.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

typedef long ptrace_function(enum __ptrace_request, pid_t, void *, void *);

long ptrace(enum __ptrace_request request, ...)
{
    static ptrace_function *next;
    /* AMX makes it 11 KiB; User Mode Linux is one thread. */
    static char state[1 << 16];
    va_list arguments;
    va_start(arguments, request);
    pid_t pid = va_arg(arguments, pid_t);
    void *address = va_arg(arguments, void *);
    void *data = va_arg(arguments, void *);
    va_end(arguments);

    if (!next)
        next = (ptrace_function *)dlsym(RTLD_NEXT, "ptrace");
    long result = next(request, pid, address, data);
    if (result == 0 || errno != EFAULT || request != PTRACE_SETREGSET || address != (void *)NT_X86_XSTATE)
        return result;

    const struct iovec *part = data;
    struct iovec whole = {state, sizeof state};
    if (next(PTRACE_GETREGSET, pid, address, &whole) != 0 || part->iov_len > whole.iov_len)
        return -1;
    memcpy(state, part->iov_base, part->iov_len);
    return next(PTRACE_SETREGSET, pid, address, &whole);
}
