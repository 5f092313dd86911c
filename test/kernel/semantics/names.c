/* Files' names: made, changed, removed, also of files that are open. */
#include "checks.h"
#include <dirent.h>
#include <sys/sysmacros.h>

/* A name that the client keeps for an open file goes when that is closed, a moment later. */
static bool comes_to_have(const char *directory, int count) {
  for (int patience = 500; patience > 0 && entries(directory) != count; patience--) usleep(10000);
  return entries(directory) == count;
}

static int rename_over_an_open_file(void) {
  CHECK(mkdir("rename", 0755) == 0);
  int old = make("rename/target"), new = make("rename/source");
  CHECK(old >= 0 && pwrite(new, "new", 3, 0) == 3 && close(new) == 0);
  CHECK(rename("rename/source", "rename/target") == 0);
  CHECK(has(old, 0, CONTENT, 10));
  CHECK(pwrite(old, "old", 3, 0) == 3 && fsync(old) == 0);
  CHECK(holds("rename/target", "new3456789"));
  /* Whatever the version, Linux keeps a name for the open file, .nfs*: it cannot know whether the server would. */
  CHECK(entries("rename") <= 2);
  close(old);
  CHECK(comes_to_have("rename", 1));
  return 0;
}

static int rename_of_an_open_file(void) {
  CHECK(mkdir("from", 0755) == 0 && mkdir("to", 0755) == 0);
  int fd = make("from/name");
  CHECK(rename("from/name", "to/other") == 0);
  CHECK(pwrite(fd, "X", 1, 9) == 1 && fsync(fd) == 0);
  CHECK(holds("to/other", "012345678X"));
  CHECK(access("from/name", F_OK) < 0 && errno == ENOENT);
  CHECK(rename("from", "to/from") == 0 && pwrite(fd, "Y", 1, 9) == 1);
  close(fd);
  CHECK(holds("to/other", "012345678Y") && entries("to") == 2);
  return 0;
}

static int unlink_while_open(void) {
  struct stat status;
  CHECK(mkdir("unlink", 0755) == 0);
  int fd = make("unlink/file");
  CHECK(unlink("unlink/file") == 0);
  CHECK(entries("unlink") == left_behind());
  if (minor > 0) CHECK(rmdir("unlink") == 0);
  CHECK(pwrite(fd, "NEW", 3, 0) == 3 && fsync(fd) == 0);
  CHECK(has(fd, 0, "NEW3456789", 10));
  CHECK(fstat(fd, &status) == 0 && (int)status.st_nlink == left_behind());
  close(fd);
  if (minor == 0) CHECK(rmdir("unlink") == 0);
  return 0;
}

static int exclusive_creation(void) {
  enum { PROCESSES = 4, FILES = 10 };
  struct stat status;
  int fd = open("exclusive", O_RDWR | O_CREAT | O_EXCL, 0640), made = 0;
  CHECK(fd >= 0 && fstat(fd, &status) == 0 && (status.st_mode & 07777) == 0640);
  close(fd);
  CHECK(open("exclusive", O_RDWR | O_CREAT | O_EXCL, 0640) < 0 && errno == EEXIST);
  pid_t processes[PROCESSES];
  for (int process = 0; process < PROCESSES; process++) {
    if ((processes[process] = start()) != 0) continue;
    int own = 0;
    for (int file = 0; file < FILES; file++) {
      char name[32];
      snprintf(name, sizeof name, "exclusive %d", file);
      if (open(name, O_WRONLY | O_CREAT | O_EXCL, 0644) >= 0) own++;
      else if (errno != EEXIST) _exit(255);
    }
    _exit(own);
  }
  for (int process = 0; process < PROCESSES; process++) made += result_of(processes[process]);
  CHECK(made == FILES);
  return 0;
}

static int temporary_file(void) {
  int fd = open(".", O_TMPFILE | O_RDWR, 0600);
  CHECK(fd < 0 && errno == EOPNOTSUPP);
  return 0;
}

static int hard_links(void) {
  struct stat one, two;
  CHECK(place("link one") == 0 && link("link one", "link two") == 0);
  CHECK(stat("link one", &one) == 0 && stat("link two", &two) == 0);
  CHECK(one.st_ino == two.st_ino && one.st_nlink == 2);
  CHECK(link("link one", "link two") < 0 && errno == EEXIST);
  CHECK(rename("link one", "link two") == 0 && holds("link one", CONTENT));
  int fd = open("link two", O_WRONLY);
  CHECK(pwrite(fd, "same", 4, 0) == 4 && close(fd) == 0 && holds("link one", "same456789"));
  CHECK(unlink("link one") == 0);
  CHECK(stat("link two", &two) == 0 && two.st_nlink == 1);
  return 0;
}

/* Every byte that a name can have. */
static void fill_with_all_bytes(char *name) {
  for (int byte = 1; byte < 256; byte++) {
    if (byte != '/') *name++ = byte;
  }
  *name = 0;
}

static bool is_listed(const char *directory, const char *name) {
  DIR *dir = opendir(directory);
  struct dirent *entry;
  bool found = false;
  while (dir && (entry = readdir(dir))) found |= !strcmp(entry->d_name, name);
  closedir(dir);
  return found;
}

static int odd_names(void) {
  char longest[257] = "", any[256], target[512];
  memset(longest, 0xfe, 255);
  fill_with_all_bytes(any);
  CHECK(mkdir("odd", 0755) == 0 && chdir("odd") == 0);
  CHECK(place(longest) == 0 && is_listed(".", longest) && holds(longest, CONTENT));
  CHECK(rename(longest, any) == 0 && is_listed(".", any) && !is_listed(".", longest));
  CHECK(link(any, longest) == 0 && unlink(any) == 0);
  CHECK(mkdir(any, 0755) == 0 && chdir(any) == 0 && symlink(any, longest) == 0);
  CHECK(readlink(longest, target, sizeof target) == 254 && !memcmp(target, any, 254));
  CHECK(unlink(longest) == 0 && chdir("..") == 0 && rmdir(any) == 0);
  longest[255] = 'n';
  CHECK(open(longest, O_CREAT | O_RDWR, 0644) < 0 && errno == ENAMETOOLONG);
  CHECK(mkdir(longest, 0755) < 0 && errno == ENAMETOOLONG);
  longest[255] = 0;
  CHECK(unlink(longest) == 0 && chdir("..") == 0 && rmdir("odd") == 0);
  return 0;
}

static int special_files(void) {
  struct stat status;
  char long_target[4000], target[4096];
  memset(long_target, 't', sizeof long_target - 1);
  long_target[sizeof long_target - 1] = 0;
  CHECK(mkfifo("fifo", 0644) == 0);
  CHECK(lstat("fifo", &status) == 0 && S_ISFIFO(status.st_mode));
  CHECK(mknod("device", S_IFCHR | 0666, makedev(1, 3)) == 0);
  CHECK(lstat("device", &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3));
  CHECK(symlink("a target that is not there", "symlink") == 0);
  CHECK(readlink("symlink", target, sizeof target) == 26);
  CHECK(open("symlink", O_RDONLY) < 0 && errno == ENOENT);
  CHECK(symlink(long_target, "long symlink") == 0);
  CHECK(readlink("long symlink", target, sizeof target) == 3999 && !memcmp(target, long_target, 3999));
  return 0;
}

const struct check name_checks[] = {
  { "rename over an open file", rename_over_an_open_file },
  { "rename of an open file, and of its directory", rename_of_an_open_file },
  { "unlink while open, nothing left behind", unlink_while_open },
  { "O_EXCL, also from several processes", exclusive_creation },
  { "O_TMPFILE, which Linux's client has not: EOPNOTSUPP", temporary_file },
  { "hard links", hard_links },
  { "names of 255 bytes and of any bytes", odd_names },
  { "FIFOs, devices and symbolic links", special_files },
  {},
};
