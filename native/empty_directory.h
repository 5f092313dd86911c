#ifndef EMPTY_DIRECTORY_H
#define EMPTY_DIRECTORY_H

#include <limits.h>

/* What could not be removed. */
struct leftover {
  int error; /* errno; 0: nothing is left. */
  char path[PATH_MAX];
};

/*
 * Removes everything in a directory, also what a command has put there to stay: modes that forbid it, immutable
 * files, mounts, trees of any depth, names of any bytes. Follows no symlink, not in the path either, which is ELOOP
 * then, and leaves no mount: what somebody else moves about meanwhile takes nothing outside of the directory along, and
 * nothing changes in what was mounted. Goes on beyond what cannot be removed. Needs 64 descriptors and 3 MiB. Changes
 * the working directory.
 */
struct leftover empty_directory(const char *path);

#endif
