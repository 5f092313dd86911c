/* What any local file system does: these checks run on tmpfs as well. */
#include "checks.h"
#include <linux/fs.h>
#include <sys/ioctl.h>

enum { OWNER = 1000, OTHER = 2000, GROUP = 3000 };

static int change_group(void) { return chown("group of another", -1, 0); }

static int change_group_and_times(void) {
  return chown("group of another", -1, OTHER) == 0 || utimensat(AT_FDCWD, "group of another", NULL, 0) == 0 ? 0 : -1;
}

static int metadata_of_others(void) {
  struct stat before, after;
  CHECK(place("group of another") == 0 && chmod("group of another", 06755) == 0);
  CHECK(stat("group of another", &before) == 0);
  CHECK(as_user(OTHER, OTHER, change_group) == EPERM);
  CHECK(as_user(OTHER, OTHER, change_group_and_times) == EACCES);
  CHECK(stat("group of another", &after) == 0 && (after.st_mode & 07777) == 06755);
  CHECK(after.st_gid == before.st_gid && after.st_ctim.tv_sec == before.st_ctim.tv_sec);
  CHECK(after.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
  return 0;
}

/* Whether `act`, done by another user, takes the set-id bits from the file "set-id" and leaves the rest. */
static int clears_set_ids(int (*act)(void)) {
  struct stat status;
  CHECK(chmod("set-id", 06777) == 0 && stat("set-id", &status) == 0 && (status.st_mode & 07777) == 06777);
  CHECK(as_user(OTHER, OTHER, act) == 0);
  // After CLONE the client does not ask for the mode by itself.
  struct statx now;
  CHECK(statx(AT_FDCWD, "set-id", AT_STATX_FORCE_SYNC, STATX_MODE, &now) == 0 && (now.stx_mode & 07777) == 0777);
  return 0;
}

static int open_set_id(void) { return open("set-id", O_RDWR); }
static int allocate_space(void) { return fallocate(open_set_id(), 0, 0, 20000); }

static int punch_hole(void) {
  return fallocate(open_set_id(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096);
}

static int copy_into(void) {
  off_t from = 0, to = 0;
  return copy_file_range(open("set-id source", O_RDONLY), &from, open_set_id(), &to, 5, 0) == 5 ? 0 : -1;
}

static int clone_into(void) { return ioctl(open_set_id(), FICLONE, open("set-id source", O_RDONLY)); }
static int write_into(void) { return pwrite(open_set_id(), "X", 1, 0) == 1 ? 0 : -1; }
static int cut_off(void) { return ftruncate(open_set_id(), 1); }

static int set_ids_of_files(void) {
  struct stat status;
  CHECK(place("set-id") == 0 && place("set-id source") == 0);
  CHECK(chmod("set-id", 06755) == 0 && chown("set-id", 0, 5) == 0 && stat("set-id", &status) == 0);
  CHECK((status.st_mode & 07777) == 0755 && status.st_gid == 5);
  CHECK(clears_set_ids(write_into) == 0 && clears_set_ids(copy_into) == 0 && clears_set_ids(cut_off) == 0);
  if (minor == 2) CHECK(clears_set_ids(allocate_space) == 0 && clears_set_ids(punch_hole) == 0);
  if (minor == 2) CHECK(clears_set_ids(clone_into) == 0);
  return 0;
}

static int give_to_own_group(void) { return chown("set-id directory", -1, GROUP); }

static int set_ids_of_directories(void) {
  struct stat status;
  CHECK(mkdir("set-id directory", 0755) == 0 && chown("set-id directory", OWNER, OTHER) == 0);
  CHECK(chmod("set-id directory", 02775) == 0);
  CHECK(as_user(OWNER, GROUP, give_to_own_group) == 0 && stat("set-id directory", &status) == 0);
  CHECK((status.st_mode & 07777) == 02775 && status.st_gid == GROUP);
  return 0;
}

static int move_elsewhere(void) { return rename("old parent/directory", "new parent/directory"); }
static int move_within(void) { return rename("old parent/directory", "old parent/renamed"); }
static int move_file_elsewhere(void) { return rename("old parent/file", "new parent/file"); }

static int moved_directories(void) {
  CHECK(mkdir("old parent", 0777) == 0 && chmod("old parent", 0777) == 0);
  CHECK(mkdir("new parent", 0777) == 0 && chmod("new parent", 0777) == 0);
  CHECK(mkdir("old parent/directory", 0755) == 0 && place("old parent/file") == 0);
  CHECK(as_user(OTHER, OTHER, move_elsewhere) == EACCES);
  CHECK(as_user(OTHER, OTHER, move_file_elsewhere) == 0 && as_user(OTHER, OTHER, move_within) == 0);
  return 0;
}

static int data_that_was_cut_off(void) {
  int fd = make_empty("cut off");
  CHECK(pwrite(fd, "a", 1, 2048) == 1 && fsync(fd) == 0 && ftruncate(fd, 0) == 0);
  CHECK(pwrite(fd, "a", 1, 4096) == 1 && fsync(fd) == 0);
  // Before NFSv4.2 the client has no SEEK, and all is data.
  CHECK(lseek(fd, 0, SEEK_DATA) == (minor == 0 || minor == 1 ? 0 : 4096) && has(fd, 4096, "a", 1));
  close(fd);
  return 0;
}

static int used_blocks(void) {
  struct stat status;
  int fd = make_empty("one block");
  CHECK(pwrite(fd, "x", 1, 8192) == 1 && fsync(fd) == 0 && fstat(fd, &status) == 0 && status.st_blocks == 8);
  CHECK(ftruncate(fd, 0) == 0 && fsync(fd) == 0 && fstat(fd, &status) == 0 && status.st_blocks == 0);
  close(fd);
  fd = make_empty("many blocks");
  if (minor == 0 || minor == 1) {
    CHECK(fallocate(fd, 0, 0, 1000000) < 0 && errno == EOPNOTSUPP);
  } else {
    CHECK(fallocate(fd, 0, 0, 1000000) == 0 && fstat(fd, &status) == 0 && status.st_blocks == 1960);
  }
  close(fd);
  return 0;
}

const struct check local_checks[] = {
  { "changes of others' metadata", metadata_of_others },
  { "set-id bits of files", set_ids_of_files },
  { "set-id bits of directories", set_ids_of_directories },
  { "directories that are moved", moved_directories },
  { "data that was cut off", data_that_was_cut_off },
  { "used blocks", used_blocks },
  {},
};
