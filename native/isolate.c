#include "isolate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAXIMUM_TREES = 256 };

static const char *raise_loopback(void) {
  int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket_fd < 0)
    return "socket";
  struct ifreq request = {.ifr_name = "lo"};
  bool raised = ioctl(socket_fd, SIOCGIFFLAGS, &request) == 0;
  request.ifr_flags |= IFF_UP;
  raised = raised && ioctl(socket_fd, SIOCSIFFLAGS, &request) == 0;
  int error = errno;
  close(socket_fd);
  errno = error;
  return raised ? NULL : "loopback";
}

const char *enter_namespaces(const struct isolation *isolation) {
  if (unshare(CLONE_NEWNS) != 0 || unshare(CLONE_NEWUTS) != 0 || (unshare(CLONE_NEWIPC) != 0 && errno != EINVAL))
    return "unshare";
  if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0)
    return "/";
  if (*isolation->host_name != '\0' && sethostname(isolation->host_name, strlen(isolation->host_name)) != 0)
    return "sethostname";
  if (!isolation->own_network)
    return NULL;
  return unshare(CLONE_NEWNET) == 0 ? raise_loopback() : "unshare";
}

/* A file system of its own, which is mounted nowhere yet. Options are pairs of a name and a value. */
static int make_mount(const char *type, unsigned int attributes, const char *const *options) {
  int context = fsopen(type, FSOPEN_CLOEXEC);
  if (context < 0)
    return -1;
  bool made = true;
  for (; made && *options != NULL; options += 2)
    made = fsconfig(context, FSCONFIG_SET_STRING, options[0], options[1], 0) == 0;
  made = made && fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0;
  int result = made ? fsmount(context, FSMOUNT_CLOEXEC, attributes) : -1;
  int error = errno;
  close(context);
  errno = error;
  return result;
}

static int make_tmpfs(const char *mode, unsigned int attributes) {
  return make_mount("tmpfs", attributes | MOUNT_ATTR_NOSUID, (const char *const[]){"mode", mode, NULL});
}

/* Another mount of what is at a path, with all below it. */
static int copy_tree(int directory, const char *path) {
  unsigned int flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;
  return open_tree(directory, path, flags);
}

/* Mounts it there; it stays open, and is from then on the place. */
static bool attach(int tree, int directory, const char *path) {
  int place = openat(directory, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  bool attached =
      place >= 0 && move_mount(tree, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0;
  int error = errno;
  close(place);
  errno = error;
  return attached;
}

static bool attach_and_close(int tree, int directory, const char *path) {
  bool attached = tree >= 0 && attach(tree, directory, path);
  int error = errno;
  close(tree);
  errno = error;
  return attached;
}

/* `set` of mount_setattr(2)'s attributes for everything mounted at or below the tree's root. */
static bool set_attributes(int tree, uint64_t set) {
  struct mount_attr attributes = {.attr_set = set};
  return mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) == 0;
}

/* Covers what is at a path, if there is something, by nothing. */
static bool mask(int directory, const char *path) {
  struct stat status;
  if (fstatat(directory, path, &status, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT || errno == ENOTDIR;
  if (S_ISLNK(status.st_mode))
    return true;
  unsigned int attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  int cover = S_ISDIR(status.st_mode) ? make_tmpfs("0755", attributes) : copy_tree(AT_FDCWD, "/dev/null");
  return attach_and_close(cover, directory, path);
}

/* Makes what is at a path, if there is something, read-only, or covers it on kernels that cannot. */
static bool make_read_only(int directory, const char *path) {
  int tree = copy_tree(directory, path);
  if (tree < 0)
    return errno == ENOENT;
  if (set_attributes(tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC))
    return attach_and_close(tree, directory, path);
  close(tree);
  return mask(directory, path);
}

static bool is_directory(int directory, const char *path) {
  struct stat status;
  return fstatat(directory, path, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode);
}

/* What of /proc is of the machine: shows more than a command needs to know, or would be changed by one that is root. */
static const char *const masked_in_proc[] = {
    "acpi",    "asound", "bootconfig",  "interrupts",   "iomem",         "ioports",     "kallsyms",
    "kcore",   "keys",   "key-users",   "kmsg",         "kpagecgroup",   "kpagecount",  "kpageflags",
    "latency_stats", "pagetypeinfo", "sched_debug", "scsi", "slabinfo", "timer_list", "timer_stats",
    "vmallocinfo",   NULL,
};
static const char *const read_only_in_proc[] = {"bus",  "cpu", "driver", "dynamic_debug", "exitcode", "fs",  "irq",
                                                "mtrr", "sys", "sysemu", "sysrq-trigger", "tty",      "xen", NULL};

/* Gives a directory's "proc" the PID namespace's processes. */
static const char *mount_proc(int root) {
  unsigned int attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  int proc = make_mount("proc", attributes, (const char *const[]){NULL});
  if (proc < 0 || !attach(proc, root, "proc"))
    return "/proc";
  for (const char *const *name = masked_in_proc; *name != NULL; name++)
    if (!mask(proc, *name))
      return *name;
  for (const char *const *name = read_only_in_proc; *name != NULL; name++)
    if (!make_read_only(proc, *name))
      return *name;
  close(proc);
  return NULL;
}

/* Puts a tree at a path in a directory of this program's own, making what it needs there. */
static bool place_tree(int tree, int directory, const char *path) {
  struct stat status;
  if (fstat(tree, &status) != 0)
    return false;
  char copy[PATH_MAX];
  if (strlen(path) >= sizeof copy)
    return errno = ENAMETOOLONG, false;
  strcpy(copy, path);
  for (char *slash = strchr(copy, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    if (mkdirat(directory, copy, 0755) != 0 && errno != EEXIST)
      return false;
    *slash = '/';
  }
  if (S_ISDIR(status.st_mode))
    return mkdirat(directory, path, 0755) == 0 && attach(tree, directory, path);
  int file = openat(directory, path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (file < 0)
    return false;
  close(file);
  return attach(tree, directory, path);
}

/* Completes a /dev that has its devices by what programs expect beside them. */
static const char *complete_devices(int devices) {
  static const char *const links[][2] = {
      {"/proc/self/fd", "fd"},         {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
      {"/proc/self/fd/2", "stderr"},   {"pts/ptmx", "ptmx"},
  };
  for (size_t i = 0; i < sizeof links / sizeof *links; i++)
    if (symlinkat(links[i][0], devices, links[i][1]) != 0)
      return links[i][1];
  int shared_memory = make_tmpfs("1777", MOUNT_ATTR_NODEV);
  if (mkdirat(devices, "shm", 01777) != 0 || !attach_and_close(shared_memory, devices, "shm"))
    return "/dev/shm";
  /* 5 is the group "tty" wherever there is one. */
  int terminals = make_mount("devpts", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
                             (const char *const[]){"ptmxmode", "0666", "mode", "0620", "gid", "5", NULL});
  if (mkdirat(devices, "pts", 0755) != 0 || !attach_and_close(terminals, devices, "pts"))
    return "/dev/pts";
  return NULL;
}

/* Whether this program puts something of its own there. */
static bool is_completed(const char *name) {
  static const char *const names[] = {".", "..", "fd", "stdin", "stdout", "stderr", "ptmx", "shm", "pts", NULL};
  for (const char *const *own = names; *own != NULL; own++)
    if (strcmp(name, *own) == 0)
      return true;
  return false;
}

/* Covers a root's /dev by one that has all its entries, and what programs expect beside them. */
static const char *extend_devices(int root) {
  int covered = openat(root, "dev", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *entries = covered < 0 ? NULL : fdopendir(covered);
  int devices = make_tmpfs("0755", 0);
  if (entries == NULL || devices < 0 || !attach(devices, root, "dev"))
    return "/dev";
  for (struct dirent *entry; (errno = 0, entry = readdir(entries)) != NULL;) {
    if (is_completed(entry->d_name))
      continue;
    char target[PATH_MAX];
    ssize_t length = readlinkat(covered, entry->d_name, target, sizeof target - 1);
    if (length >= 0) {
      target[length] = '\0';
      if (symlinkat(target, devices, entry->d_name) != 0)
        return "/dev";
      continue;
    }
    int tree = copy_tree(covered, entry->d_name);
    if (tree < 0 || !place_tree(tree, devices, entry->d_name))
      return "/dev";
    close(tree);
  }
  if (errno != 0)
    return "/dev";
  closedir(entries);
  const char *failed = complete_devices(devices);
  close(devices);
  return failed;
}

const char *enter_root(const struct isolation *isolation, int directory) {
  int tree = copy_tree(directory, "");
  if (tree < 0 || move_mount(tree, "", directory, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
    return "open_tree";
  mode_t mask = umask(0);
  const char *failed = NULL;
  if (isolation->mounts_proc && is_directory(tree, "dev"))
    failed = extend_devices(tree);
  if (isolation->mounts_proc && failed == NULL && is_directory(tree, "proc"))
    failed = mount_proc(tree);
  umask(mask);
  if (failed != NULL)
    return failed;
  if (fchdir(tree) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 || chdir("/") != 0)
    return "pivot_root";
  close(tree);
  return NULL;
}

/* What is to be mounted at an absolute path. */
struct placed {
  const char *path;
  int tree;
};

struct trees {
  size_t count;
  struct placed placed[MAXIMUM_TREES];
};

/* Notes another mount of what is at a path now, if there is something. */
static bool keep_tree(struct trees *trees, const char *path) {
  int tree = copy_tree(AT_FDCWD, path);
  if (tree < 0)
    return errno == ENOENT || errno == ENOTDIR;
  struct stat status;
  if (fstat(tree, &status) != 0)
    return false;
  if (S_ISLNK(status.st_mode))
    return close(tree), true;
  if (trees->count == MAXIMUM_TREES)
    return close(tree), errno = E2BIG, false;
  trees->placed[trees->count++] = (struct placed){.path = path, .tree = tree};
  return true;
}

/* A path's first component, which is empty for the directory that the path is relative to. */
static const char *first_component(const char *path, char *component) {
  size_t length;
  do {
    path += strspn(path, "/");
    length = strcspn(path, "/");
    if (length != 1 || *path != '.')
      break;
    path += length;
  } while (*path != '\0');
  if (length > NAME_MAX)
    length = NAME_MAX;
  memcpy(component, path, length);
  component[length] = '\0';
  return component;
}

struct build_tree {
  /* Of an entry, or with an empty name of all. */
  char name[NAME_MAX + 1];
  int tree;
};

enum { MAXIMUM_ENTRIES = 4 };

/* Notes other mounts of those entries of the build directory that the command has. */
static const char *keep_entries(const char *build_directory, char *const *entries, struct build_tree *kept,
                                size_t *count) {
  int directory = open(build_directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0)
    return build_directory;
  *count = 0;
  for (; *entries != NULL && *count < MAXIMUM_ENTRIES; entries++) {
    struct build_tree *next = &kept[*count];
    first_component(*entries, next->name);
    bool known = false;
    for (size_t i = 0; i < *count; i++)
      known |= strcmp(kept[i].name, next->name) == 0;
    if (known)
      continue;
    next->tree = copy_tree(directory, next->name);
    if (next->tree >= 0)
      (*count)++;
    else if (errno != ENOENT)
      return *entries;
  }
  close(directory);
  return NULL;
}

static const char *cover_build_directory(const char *build_directory, const struct build_tree *kept, size_t count) {
  int directory = open(build_directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0)
    return build_directory;
  for (size_t i = 0; i < count; i++)
    if (*kept[i].name == '\0')
      return move_mount(kept[i].tree, "", directory, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0
                 ? NULL
                 : build_directory;
  int cover = make_tmpfs("0755", MOUNT_ATTR_NODEV);
  if (cover < 0 ||
      move_mount(cover, "", directory, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
    return build_directory;
  struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
  for (size_t i = 0; i < count; i++)
    if (!place_tree(kept[i].tree, cover, kept[i].name))
      return build_directory;
  if (mount_setattr(cover, "", AT_EMPTY_PATH, &read_only, sizeof read_only) != 0)
    return build_directory;
  close(cover);
  close(directory);
  return NULL;
}

static const char *const masked_in_sys[] = {
    "/sys/devices/virtual/powercap", "/sys/firmware",       "/sys/fs/bpf",          "/sys/fs/pstore", "/sys/kernel/config",
    "/sys/kernel/debug",             "/sys/kernel/security", "/sys/kernel/tracing", NULL,
};

/* Whether a path of mountinfo(5) lies where the kernel's file systems have been dealt with. */
static bool is_narrowed(const char *path) {
  static const char *const folders[] = {"/dev", "/proc", "/sys"};
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    size_t length = strlen(folders[i]);
    if (strncmp(path, folders[i], length) == 0 && (path[length] == '\0' || path[length] == '/'))
      return true;
  }
  return false;
}

/* Undoes, in place, how mountinfo(5) writes blanks. */
static void unescape(char *path) {
  char *to = path;
  for (const char *from = path; *from != '\0'; to++) {
    unsigned int byte;
    if (*from == '\\' && sscanf(from + 1, "%3o", &byte) == 1) {
      *to = (char)byte;
      from += 4;
    } else {
      *to = *from++;
    }
  }
  *to = '\0';
}

/* If a line of mountinfo(5) is of one of the kernel's own file systems outside of those folders: where it is mounted. */
static char *kernel_file_system(char *line) {
  static const char *const types[] = {"binfmt_misc", "bpf",     "cgroup", "cgroup2", "configfs",   "debugfs", "devtmpfs",
                                      "efivarfs",    "fusectl", "proc",   "pstore",  "securityfs", "sysfs",   "tracefs"};
  char path[PATH_MAX], type[64];
  const char *rest = strstr(line, " - ");
  if (rest == NULL || sscanf(rest, " - %63s", type) != 1 || sscanf(line, "%*s %*s %*s %*s %4095s", path) != 1)
    return NULL;
  unescape(path);
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (strcmp(type, types[i]) == 0 && !is_narrowed(path))
      return strdup(path);
  return NULL;
}

/* Covers the kernel's own file systems wherever else they are mounted. */
static const char *mask_kernel_file_systems(void) {
  FILE *mounts = fopen("/proc/self/mountinfo", "re");
  if (mounts == NULL)
    return errno == ENOENT ? NULL : "mountinfo";
  /* To the end first: covers become lines of it. */
  char **paths = NULL, *line = NULL;
  size_t count = 0, size = 0;
  while (getline(&line, &size, mounts) >= 0) {
    char *path = kernel_file_system(line);
    char **more = path == NULL ? NULL : realloc(paths, (count + 1) * sizeof *paths);
    if (path == NULL)
      continue;
    if (more == NULL)
      return "mountinfo";
    paths = more;
    paths[count++] = path;
  }
  free(line);
  fclose(mounts);
  const char *failed = NULL;
  for (size_t i = 0; i < count; i++) {
    if (failed == NULL && !mask(AT_FDCWD, paths[i]))
      failed = "mountinfo";
    free(paths[i]);
  }
  free(paths);
  return failed;
}

/* Covers /dev by one that has the given devices only. */
static const char *replace_devices(const struct trees *kept) {
  int devices = make_tmpfs("0755", 0);
  if (devices < 0 || !attach(devices, AT_FDCWD, "/dev"))
    return "/dev";
  for (size_t i = 0; i < kept->count; i++)
    if (!place_tree(kept->placed[i].tree, devices, kept->placed[i].path + strlen("/dev/")))
      return kept->placed[i].path;
  const char *failed = complete_devices(devices);
  close(devices);
  return failed;
}

static const char *narrow(const struct isolation *isolation, const char *build_directory, char *const *entries) {
  static const char *const usual_devices[] = {"/dev/full",   "/dev/null",    "/dev/random", "/dev/tty",
                                              "/dev/urandom", "/dev/zero", NULL};
  struct build_tree kept_entries[MAXIMUM_ENTRIES];
  size_t entry_count = 0;
  const char *failed = NULL;
  if (build_directory != NULL && (failed = keep_entries(build_directory, entries, kept_entries, &entry_count)) != NULL)
    return failed;

  struct trees devices = {0}, writable = {0};
  for (const char *const *path = usual_devices; *path != NULL; path++)
    if (!keep_tree(&devices, *path))
      return *path;
  for (char **path = isolation->devices; *path != NULL; path++)
    if (!keep_tree(&devices, *path))
      return *path;
  bool read_only = true;
  for (char **path = isolation->writable_paths; *path != NULL; path++) {
    if (strcmp(*path, "/") == 0)
      read_only = false;
    else if (!keep_tree(&writable, *path))
      return *path;
  }

  int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0 || !set_attributes(root, MOUNT_ATTR_NODEV | (read_only ? MOUNT_ATTR_RDONLY : 0)))
    return "mount_setattr";
  if ((failed = replace_devices(&devices)) != NULL)
    return failed;
  for (size_t i = 0; i < writable.count; i++) {
    const struct placed *placed = &writable.placed[i];
    if (!set_attributes(placed->tree, MOUNT_ATTR_NODEV) || !attach_and_close(placed->tree, AT_FDCWD, placed->path))
      return placed->path;
  }
  if (build_directory != NULL && (failed = cover_build_directory(build_directory, kept_entries, entry_count)) != NULL)
    return failed;
  if (is_directory(root, "proc") && (failed = mount_proc(root)) != NULL)
    return failed;
  /* With "/" writable, too: /sys has what changes the machine for root. */
  if (!make_read_only(root, "sys"))
    return "/sys";
  for (const char *const *path = masked_in_sys; *path != NULL; path++)
    if (!mask(AT_FDCWD, *path))
      return *path;
  for (char **path = isolation->hidden_paths; *path != NULL; path++)
    if (!mask(AT_FDCWD, *path))
      return *path;
  close(root);
  return mask_kernel_file_systems();
}

const char *narrow_machine(const struct isolation *isolation, const char *build_directory, char *const *entries) {
  mode_t mask = umask(0);
  const char *failed = narrow(isolation, build_directory, entries);
  umask(mask);
  return failed;
}
