/* Modes, owners, times and extended attributes. */
#include "checks.h"
#include <sys/xattr.h>

static int change_mode_of_others(void) { return chmod("modes", 0777); }
static int take_from_others(void) { return chown("modes", 2000, -1); }
static int write_to_own(void) {
  int fd = open("set-user-id", O_WRONLY);
  return fd >= 0 && pwrite(fd, "X", 1, 0) == 1 ? close(fd) : -1;
}

static int modes_and_owners(void) {
  struct stat status;
  CHECK(place("modes") == 0 && chmod("modes", 06751) == 0 && stat("modes", &status) == 0);
  CHECK((status.st_mode & 07777) == 06751);
  CHECK(chown("modes", 1000, 1001) == 0 && chmod("modes", 0751) == 0 && stat("modes", &status) == 0);
  CHECK((status.st_mode & 07777) == 0751 && status.st_uid == 1000 && status.st_gid == 1001);
  CHECK(chown("modes", -1, 1002) == 0 && stat("modes", &status) == 0);
  CHECK(status.st_uid == 1000 && status.st_gid == 1002);
  CHECK(as_user(2000, 2000, change_mode_of_others) == EPERM && as_user(2000, 2000, take_from_others) == EPERM);
  CHECK(symlink("modes", "owned symlink") == 0 && lchown("owned symlink", 7, 8) == 0);
  CHECK(lstat("owned symlink", &status) == 0 && status.st_uid == 7 && status.st_gid == 8);
  CHECK(stat("owned symlink", &status) == 0 && status.st_uid == 1000);
  CHECK(place("set-user-id") == 0 && chown("set-user-id", 1000, 1000) == 0 && chmod("set-user-id", 04755) == 0);
  CHECK(as_user(1000, 1000, write_to_own) == 0);
  CHECK(stat("set-user-id", &status) == 0 && (status.st_mode & 07777) == 0755);
  return 0;
}

static int times(void) {
  struct stat status, before;
  CHECK(place("times") == 0);
  const struct timespec both[2] = { { 1234567890, 123456789 }, { -1000, 5 } };
  CHECK(utimensat(AT_FDCWD, "times", both, 0) == 0 && stat("times", &status) == 0);
  CHECK(status.st_atim.tv_sec == 1234567890 && status.st_atim.tv_nsec == 123456789);
  CHECK(status.st_mtim.tv_sec == -1000 && status.st_mtim.tv_nsec == 5);
  const struct timespec only_one[2] = { { 0, UTIME_OMIT }, { (time_t)1 << 33, 999999999 } };
  int fd = open("times", O_RDWR);
  CHECK(futimens(fd, only_one) == 0 && fstat(fd, &before) == 0);
  CHECK(before.st_atim.tv_sec == 1234567890 && before.st_mtim.tv_sec == (time_t)1 << 33);
  CHECK(futimens(fd, NULL) == 0 && fstat(fd, &status) == 0);
  CHECK(status.st_mtim.tv_sec < before.st_mtim.tv_sec && status.st_mtim.tv_sec > 1234567890);
  CHECK(status.st_ctim.tv_sec >= before.st_ctim.tv_sec);
  CHECK(pwrite(fd, "X", 1, 0) == 1 && futimens(fd, both) == 0 && close(fd) == 0);
  CHECK(stat("times", &status) == 0 && status.st_mtim.tv_sec == -1000);
  CHECK(symlink("times", "dated symlink") == 0);
  CHECK(utimensat(AT_FDCWD, "dated symlink", only_one, AT_SYMLINK_NOFOLLOW) == 0);
  CHECK(lstat("dated symlink", &status) == 0 && status.st_mtim.tv_nsec == 999999999);
  CHECK(stat("times", &status) == 0 && status.st_mtim.tv_sec == -1000);
  return 0;
}

static int remove_of_others(void) { return unlink("sticky/file"); }
static int rename_of_others(void) { return rename("sticky/file", "sticky/other"); }
static int write_forbidden(void) { return open("sticky/private", O_WRONLY) >= 0 ? 0 : -1; }
static int list_forbidden(void) { return access("sticky/closed/file", F_OK); }

static int sticky_directory(void) {
  CHECK(mkdir("sticky", 0777) == 0 && chmod("sticky", 01777) == 0);
  CHECK(place("sticky/file") == 0 && chown("sticky/file", 1000, 1000) == 0);
  CHECK(place("sticky/private") == 0 && chmod("sticky/private", 0600) == 0);
  CHECK(mkdir("sticky/closed", 0700) == 0);
  CHECK(as_user(2000, 2000, remove_of_others) == EPERM && as_user(2000, 2000, rename_of_others) == EPERM);
  CHECK(as_user(2000, 2000, write_forbidden) == EACCES && as_user(2000, 2000, list_forbidden) == EACCES);
  CHECK(as_user(1000, 1000, rename_of_others) == 0 && rename("sticky/other", "sticky/file") == 0);
  CHECK(as_user(1000, 1000, remove_of_others) == 0);
  return 0;
}

static int make_in_setgid(void) { return close(open("setgid/file", O_CREAT | O_WRONLY, 0664)); }

static int setgid_directory(void) {
  struct stat status;
  CHECK(mkdir("setgid", 0777) == 0 && chown("setgid", 0, 3000) == 0 && chmod("setgid", 02777) == 0);
  CHECK(as_user(2000, 2000, make_in_setgid) == 0);
  CHECK(stat("setgid/file", &status) == 0 && status.st_uid == 2000 && status.st_gid == 3000);
  CHECK(mkdir("setgid/directory", 0755) == 0 && symlink("x", "setgid/symlink") == 0);
  CHECK(stat("setgid/directory", &status) == 0 && status.st_gid == 3000 && (status.st_mode & S_ISGID));
  CHECK(lstat("setgid/symlink", &status) == 0 && status.st_gid == 3000);
  return 0;
}

static int extended_attributes(void) {
  static char large[4096], buffer[8192];
  CHECK(place("extended") == 0);
  if (minor < 2) {
    CHECK(setxattr("extended", "user.one", "value", 5, 0) < 0 && errno == EOPNOTSUPP);
    return 0;
  }
  CHECK(setxattr("extended", "user.one", "value", 5, XATTR_CREATE) == 0);
  CHECK(setxattr("extended", "user.one", "again", 5, XATTR_CREATE) < 0 && errno == EEXIST);
  CHECK(setxattr("extended", "user.two", "", 0, XATTR_REPLACE) < 0 && errno == ENODATA);
  CHECK(getxattr("extended", "user.one", buffer, 64) == 5 && !memcmp(buffer, "value", 5));
  CHECK(getxattr("extended", "user.one", NULL, 0) == 5);
  CHECK(getxattr("extended", "user.one", buffer, 4) < 0 && errno == ERANGE);
  CHECK(listxattr("extended", buffer, 64) == 9 && !strcmp(buffer, "user.one"));
  CHECK(setxattr("extended", "user.empty", "", 0, 0) == 0 && getxattr("extended", "user.empty", buffer, 64) == 0);
  memset(large, 'l', sizeof large);
  CHECK(setxattr("extended", "user.one", large, sizeof large, XATTR_REPLACE) == 0);
  CHECK(getxattr("extended", "user.one", buffer, sizeof buffer) == sizeof large && buffer[4095] == 'l');
  CHECK(removexattr("extended", "user.one") == 0 && removexattr("extended", "user.empty") == 0);
  CHECK(getxattr("extended", "user.one", buffer, 64) < 0 && errno == ENODATA);
  CHECK(removexattr("extended", "user.one") < 0 && errno == ENODATA);
  CHECK(mkdir("extended directory", 0755) == 0);
  CHECK(setxattr("extended directory", "user.directory", "d", 1, 0) == 0);
  CHECK(getxattr("extended directory", "user.directory", buffer, 64) == 1 && buffer[0] == 'd');
  CHECK(mkfifo("extended fifo", 0644) == 0 && listxattr("extended fifo", buffer, sizeof buffer) == 0);
  for (int index = 0; index < 100; index++) {
    char name[64];
    snprintf(name, sizeof name, "user.one of many names %02d", index);
    CHECK(setxattr("extended", name, "many", 4, 0) == 0);
  }
  CHECK(listxattr("extended", buffer, sizeof buffer) == 100 * 26);
  return 0;
}

const struct check attribute_checks[] = {
  { "modes and owners", modes_and_owners },
  { "times", times },
  { "sticky directories and forbidden files", sticky_directory },
  { "set-group-id directories", setgid_directory },
  { "extended attributes", extended_attributes },
  {},
};
