#ifndef CONFINE_H
#define CONFINE_H

#include <stdbool.h>
#include <stdint.h>

/* What a process and all that it executes may have. */
struct confinement {
  /* By bits of 1 << CAP_…; those that act on the files, users and processes of a root file system, or more. */
  uint64_t capabilities;
  /* By bits of parse_permission(): the system calls that are not refused. */
  uint32_t permissions;
  /* Whether set-user-ID programs must work, also where that costs the filter of system calls. */
  bool new_privileges;
};

/*
 * Leaves this process, and whatever it executes, set-user-ID programs included, the capabilities that it may have, in
 * no set but the permitted, effective and bounding one; and of the system calls all but those that mount, make a user
 * namespace, change or reach into the kernel, or are of another ABI than this program's, as far as it has no permission.
 *
 * Does as much of it as tell_shortcomings() does not complain about. Returns NULL, or the name of the system call that failed, with
 * errno set.
 */
const char *confine(const struct confinement *confinement);

/* What confine() cannot do here: calls `tell` for each, with a sentence's rest. */
void tell_shortcomings(const struct confinement *confinement, void (*tell)(const char *shortcoming));

/* The bit of a group of system calls, such as "mount"; 0 for an unknown name. */
uint32_t parse_permission(const char *name);

enum { MAY_USE_KEYS = 1 };

#endif
