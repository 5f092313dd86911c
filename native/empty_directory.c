#include "empty_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
  /* Deeper directories are moved to the top, where they are found again. */
  maximum_depth = 48,
  /* Whoever puts something else there again and again is left to it. */
  maximum_attempts = 100,
};

struct removal {
  const char *path;
  int top;
  unsigned moved;
  struct leftover first_left;
};

/* A directory being emptied. */
struct level {
  const struct level *above; /* NULL: this is the top. */
  const char *name;
  int depth;
  DIR *entries;
};

static int file_of(const struct level *level) { return dirfd(level->entries); }

static size_t write_path(const struct removal *removal, const struct level *level, char *path, size_t size) {
  size_t length = level->above == NULL ? 0 : write_path(removal, level->above, path, size);
  const char *separator = level->above == NULL ? "" : "/";
  const char *name = level->above == NULL ? removal->path : level->name;
  if (length < size)
    length += (size_t)snprintf(path + length, size - length, "%s%s", separator, name);
  return length;
}

static void note(struct removal *removal, const struct level *level, const char *name, int error) {
  struct leftover *left = &removal->first_left;
  if (left->error != 0)
    return;
  left->error = error;
  struct level entry = {.above = level, .name = name};
  write_path(removal, name == NULL ? level : &entry, left->path, sizeof left->path);
}

/*
 * Opens an entry itself, neither a symlink's target nor what is mounted on it; -1 and errno if it cannot, EXDEV if
 * something is mounted on it.
 */
static int open_entry(int parent, const char *name, int flags) {
  struct open_how how = {.flags = (unsigned)(flags | O_NOFOLLOW | O_CLOEXEC),
                         .resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS};
  return (int)syscall(SYS_openat2, parent, name, &how, sizeof how);
}

/* A name for what an O_PATH descriptor stands for, whatever has taken its place in its directory. */
struct descriptor_path {
  char text[32];
};

static struct descriptor_path path_of(int descriptor) {
  struct descriptor_path path;
  snprintf(path.text, sizeof path.text, "/proc/self/fd/%d", descriptor);
  return path;
}

/* Gives the owner of a directory, an O_PATH descriptor, all rights; true if that gave it any. */
static bool permit(int directory) {
  struct stat status;
  return fstat(directory, &status) == 0 && (status.st_mode & S_IRWXU) != S_IRWXU &&
         chmod(path_of(directory).text, (status.st_mode & 07777) | S_IRWXU) == 0;
}

static bool permit_entry(int parent, const char *name) {
  int directory = open_entry(parent, name, O_PATH | O_DIRECTORY);
  if (directory < 0)
    return false;
  bool permitted = permit(directory);
  close(directory);
  return permitted;
}

/* Like permit(), for a directory that is open for reading but may not be entered. */
static bool permit_open(int directory) {
  struct stat status;
  return fstat(directory, &status) == 0 && (status.st_mode & S_IRWXU) != S_IRWXU &&
         fchmod(directory, (status.st_mode & 07777) | S_IRWXU) == 0;
}

/* Clears flags of an open file that forbid changes, as chattr(1) sets them; true if that cleared any. */
static bool thaw_open(int file) {
  int flags;
  if (ioctl(file, FS_IOC_GETFLAGS, &flags) != 0 || (flags & (FS_IMMUTABLE_FL | FS_APPEND_FL)) == 0)
    return false;
  flags &= ~(FS_IMMUTABLE_FL | FS_APPEND_FL);
  return ioctl(file, FS_IOC_SETFLAGS, &flags) == 0;
}

static bool thaw_entry(int parent, const char *name) {
  struct stat status;
  int entry = open_entry(parent, name, O_PATH);
  if (entry < 0)
    return false;
  /* Opening other types may have side effects, and they have no such flags. */
  bool openable = fstat(entry, &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode));
  int file = openable ? open(path_of(entry).text, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;
  close(entry);
  if (file < 0)
    return false;
  bool thawed = thaw_open(file);
  close(file);
  return thawed;
}

/* Removes what may have caused an entry's error; false if there was nothing of the kind. */
static bool mend(int parent, const char *name, int error) {
  bool mended = false;
  switch (error) {
  case EACCES:
    mended = permit_open(parent);
    return permit_entry(parent, name) || mended;
  case EPERM:
    mended = thaw_open(parent);
    return thaw_entry(parent, name) || mended;
  case EBUSY:
  case EXDEV:
    return fchdir(parent) == 0 && umount2(name, MNT_DETACH | UMOUNT_NOFOLLOW) == 0;
  default:
    return false;
  }
}

/* unlinkat(2): 0 or the errno. */
static int unlink_entry(int parent, const char *name, int flags) {
  for (;;) {
    int error = unlinkat(parent, name, flags) == 0 ? 0 : errno;
    if (error == 0 || !mend(parent, name, error))
      return error == ENOENT ? 0 : error;
  }
}

/* Opens a directory, not what is mounted on it; -1 and errno if it cannot, EBUSY if that mount stays. */
static int open_directory(int parent, const char *name) {
  for (;;) {
    int directory = open_entry(parent, name, O_RDONLY | O_DIRECTORY);
    int error = errno;
    if (directory >= 0 || !mend(parent, name, error)) {
      errno = error == EXDEV ? EBUSY : error;
      return directory;
    }
  }
}

/* 0 or the errno. */
static int move_to_top(struct removal *removal, int parent, const char *name) {
  char fresh[32];
  for (;;) {
    snprintf(fresh, sizeof fresh, ".removing-%u", removal->moved++);
    if (renameat(parent, name, removal->top, fresh) == 0)
      return 0;
    int error = errno;
    bool taken = error == EEXIST || error == ENOTEMPTY || error == ENOTDIR;
    if (!taken && !mend(parent, name, error))
      return error;
  }
}

static bool remove_entries(struct removal *removal, struct level *level);

/* Whether anything was removed. */
static bool remove_directory(struct removal *removal, const struct level *above, const char *name) {
  int parent = file_of(above);
  int directory = open_directory(parent, name);
  struct level level = {.above = above, .name = name, .depth = above->depth + 1};
  level.entries = directory < 0 ? NULL : fdopendir(directory);
  if (level.entries == NULL) {
    int error = errno;
    if (directory >= 0)
      close(directory);
    if (error != ENOENT)
      note(removal, above, name, error);
    return error == ENOENT;
  }
  bool any = false, more;
  int error;
  do {
    more = remove_entries(removal, &level);
    any |= more;
    error = unlink_entry(parent, name, AT_REMOVEDIR);
  } while ((error == ENOTEMPTY || error == EEXIST) && more);
  closedir(level.entries);
  if (error != 0)
    note(removal, above, name, error);
  return any || error == 0;
}

/* Whether it, or anything in it, was removed. */
static bool remove_entry(struct removal *removal, const struct level *level, const char *name) {
  int error = unlink_entry(file_of(level), name, 0);
  if (error == EISDIR && level->depth < maximum_depth)
    return remove_directory(removal, level, name);
  if (error == EISDIR)
    error = move_to_top(removal, file_of(level), name);
  if (error != 0)
    note(removal, level, name, error);
  return error == 0;
}

/* Goes through a directory once, perhaps missing entries as it changes; whether anything was removed. */
static bool remove_entries(struct removal *removal, struct level *level) {
  bool removed = false;
  rewinddir(level->entries);
  errno = 0;
  for (struct dirent *entry; (entry = readdir(level->entries)) != NULL; errno = 0)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      removed |= remove_entry(removal, level, entry->d_name);
  if (errno != 0)
    note(removal, level, NULL, errno);
  return removed;
}

/* Opens the directory at a path, following no symlinks; -1 and errno if it cannot. */
static int open_top(const char *path) {
  struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
  int entry = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
  if (entry < 0)
    return -1;
  int directory = openat(entry, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0 && errno == EACCES && permit(entry))
    directory = openat(entry, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int error = errno;
  close(entry);
  errno = error;
  return directory;
}

/* Opens the directory that has the path's last component, following no symlinks; -1 and errno if it cannot. */
static int open_parent(const char *path, const char **name) {
  const char *slash = strrchr(path, '/');
  char parent[PATH_MAX];
  if (slash == NULL || slash[1] == '\0' || (size_t)(slash - path) >= sizeof parent) {
    errno = EINVAL;
    return -1;
  }
  *name = slash + 1;
  snprintf(parent, sizeof parent, "%.*s/", (int)(slash - path), path);
  struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
  return (int)syscall(SYS_openat2, AT_FDCWD, parent, &how, sizeof how);
}

/* An O_PATH descriptor of the directory of that name, which is made in the place of anything else; -1 and errno. */
static int open_restored(int parent, const char *name) {
  for (int attempts = 0; attempts < maximum_attempts; attempts++) {
    int directory = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (directory >= 0)
      return directory;
    int error = errno;
    if (error == ENOENT)
      error = mkdirat(parent, name, S_IRWXU) == 0 || errno == EEXIST ? 0 : errno;
    else if (error == ENOTDIR || error == ELOOP)
      error = unlink_entry(parent, name, 0);
    if (error != 0) {
      errno = error;
      return -1;
    }
  }
  errno = EAGAIN;
  return -1;
}

int restore_directory(const char *path, mode_t mode, uid_t user, gid_t group) {
  const char *name;
  int parent = open_parent(path, &name);
  if (parent < 0)
    return errno;
  int directory = open_restored(parent, name);
  int error = directory < 0 ? errno : 0;
  close(parent);
  struct stat status;
  if (error == 0 && fstat(directory, &status) != 0)
    error = errno;
  bool owned = error != 0 || (status.st_uid == user && status.st_gid == group);
  if (!owned && fchownat(directory, "", user, group, AT_EMPTY_PATH) != 0)
    error = errno;
  /* A change of owner may have taken bits away. */
  if (error == 0 && (!owned || (status.st_mode & 07777) != mode) && chmod(path_of(directory).text, mode) != 0)
    error = errno;
  if (directory >= 0)
    close(directory);
  return error;
}

struct leftover empty_directory(const char *path) {
  struct removal removal = {.path = path};
  struct level level = {.entries = NULL};
  removal.top = open_top(path);
  level.entries = removal.top < 0 ? NULL : fdopendir(removal.top);
  if (level.entries == NULL) {
    removal.first_left.error = errno;
    snprintf(removal.first_left.path, sizeof removal.first_left.path, "%s", path);
    return removal.first_left;
  }
  do
    removal.first_left.error = 0;
  while (remove_entries(&removal, &level));
  closedir(level.entries);
  return removal.first_left;
}
