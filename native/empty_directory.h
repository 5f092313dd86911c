#ifndef EMPTY_DIRECTORY_H
#define EMPTY_DIRECTORY_H

#include <limits.h>

/* What could not be removed. */
struct leftover {
  int error; /* errno; 0: nothing is left. */
  char path[PATH_MAX];
};

/*
 * Removes everything in a directory, even what a command has made hard to remove: modes that forbid it, immutable
 * files, mounts, trees of any depth, names of any bytes. Follows no symlink, not even in the path, which then fails
 * with ELOOP, and never crosses into a mount: nothing outside the directory is removed, even if somebody moves things
 * meanwhile, and mounted file systems do not change. Skips what cannot be removed. Needs 64 descriptors and 3 MiB.
 * Changes the working directory.
 */
struct leftover empty_directory(const char *path);

#endif
