#ifndef ISOLATE_H
#define ISOLATE_H

#include <stdbool.h>

/* What a command that has namespaces of its own sees of the machine. Lists are NULL-ended. */
struct isolation {
  /* In a root of its own: whether it has a /proc and the usual devices, where the root has the folders /proc and /dev. */
  bool mounts_proc;
  /* With nothing in it but loopback. */
  bool own_network;
  /* Empty: the machine's. */
  const char *host_name;
  /* Without a root of its own: absolute paths that it can write to, beside the build directory; "/" for all. */
  char **writable_paths;
  /* Without a root of its own: devices that it has beside the usual ones; absolute paths below /dev. */
  char **devices;
  /* Without a root of its own: absolute paths that it cannot reach. */
  char **hidden_paths;
};

/*
 * In the first process of a PID namespace: gives it a mount namespace, into which later mounts propagate, but not out
 * of it; a host name, shared memory, semaphores and message queues that end with it; and a network namespace. Like all
 * functions here, returns NULL, or what failed, with errno set.
 */
const char *enter_namespaces(const struct isolation *isolation);

/*
 * In a mount namespace of its own: makes the directory the root and leaves nothing else to escape to, as root can from
 * a chroot(2).
 */
const char *enter_root(const struct isolation *isolation, int directory);

/*
 * In a mount namespace of its own: leaves of the machine what a command may see that has no root of its own. Its files
 * are read-only, and devices in them do not work; of the build directory there are only the given entries; of devices
 * the usual ones; /proc has the PID namespace's processes, and neither there, nor in /sys, nor where else the kernel's
 * own file systems are mounted, can the machine be changed. Does nothing to what is open already. Entries without a
 * first component stand for the whole build directory, and without a build directory there are none.
 */
const char *narrow_machine(const struct isolation *isolation, const char *build_directory, char *const *entries);

#endif
