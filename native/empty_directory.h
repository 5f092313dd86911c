#ifndef EMPTY_DIRECTORY_H
#define EMPTY_DIRECTORY_H

#include <limits.h>
#include <sys/types.h>

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

/*
 * Makes sure that there is a directory at an absolute path, with that mode and owner: whatever else a command has put
 * there is removed, and nothing is followed, neither there nor on the way, which then fails with ELOOP. What a directory
 * has in it stays. Returns 0 or an errno.
 */
int restore_directory(const char *path, mode_t mode, uid_t user, gid_t group);

#endif
