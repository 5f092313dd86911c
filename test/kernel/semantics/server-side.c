/* What NFSv4.2 lets the server do with a file's content; before, the client refuses or does it by itself. */
#include "checks.h"
#include <linux/fs.h>
#include <sys/ioctl.h>

static int holes(void) {
  const off_t far = 1 << 20;
  int fd = make("holes");
  CHECK(pwrite(fd, "x", 1, far) == 1 && ftruncate(fd, 2 * far) == 0 && fsync(fd) == 0);
  CHECK(lseek(fd, 0, SEEK_DATA) == 0);
  if (minor < 2) {
    CHECK(lseek(fd, 0, SEEK_HOLE) == 2 * far);
    close(fd);
    return 0;
  }
  off_t hole = lseek(fd, 0, SEEK_HOLE);
  CHECK(hole >= 10 && hole <= far && lseek(fd, hole, SEEK_HOLE) == hole);
  off_t data = lseek(fd, hole, SEEK_DATA);
  CHECK(data > hole && data <= far && lseek(fd, far, SEEK_DATA) == far);
  CHECK((hole = lseek(fd, far, SEEK_HOLE)) > far && hole < 2 * far);
  CHECK(lseek(fd, hole, SEEK_DATA) < 0 && errno == ENXIO);
  CHECK(lseek(fd, 2 * far, SEEK_HOLE) < 0 && errno == ENXIO);
  close(fd);
  return 0;
}

static int space_reservation(void) {
  struct stat status;
  int fd = make("allocated");
  if (minor < 2) {
    CHECK(fallocate(fd, 0, 0, 100000) < 0 && errno == EOPNOTSUPP);
    close(fd);
    return 0;
  }
  CHECK(fallocate(fd, 0, 0, 100000) == 0);
  CHECK(fstat(fd, &status) == 0 && status.st_size == 100000);
  CHECK(fallocate(fd, 0, 10, 10) == 0 && fstat(fd, &status) == 0 && status.st_size == 100000);
  CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2, 3) == 0);
  CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 200000, 10) == 0);
  CHECK(fstat(fd, &status) == 0 && status.st_size == 100000);
  CHECK(ftruncate(fd, 10) == 0 && has(fd, 0, "01\0\0\00056789", 10));
  CHECK(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096) < 0 && errno == EOPNOTSUPP);
  close(fd);
  return 0;
}

static int copies(void) {
  CHECK(place("copy source") == 0);
  int source = open("copy source", O_RDONLY), target = make_empty("copy target");
  off_t from = 2, to = 1;
  CHECK(copy_file_range(source, &from, target, &to, 5, 0) == 5 && from == 7 && to == 6);
  CHECK(has(target, 0, "\00023456", 6));
  from = 8, to = 6;
  CHECK(copy_file_range(source, &from, target, &to, 100, 0) == 2 && has(target, 0, "\0002345689", 8));
  CHECK(copy_file_range(source, &from, target, &to, 100, 0) == 0);
  from = 1, to = 4;
  CHECK(copy_file_range(target, &from, target, &to, 3, 0) == 3 && has(target, 0, "\0002342349", 8));
  CHECK(pwrite(target, "X", 1, 1) == 1 && close(target) == 0 && has(source, 0, CONTENT, 10));
  close(source);
  return 0;
}

static int clones(void) {
  CHECK(place("clone source") == 0);
  int source = open("clone source", O_RDONLY), clone = make_empty("clone");
  if (minor < 2) {
    CHECK(ioctl(clone, FICLONE, source) < 0 && errno == EOPNOTSUPP);
    close(source);
    close(clone);
    return 0;
  }
  CHECK(ioctl(clone, FICLONE, source) == 0 && has(clone, 0, CONTENT, 10));
  CHECK(pwrite(clone, "X", 1, 0) == 1 && fsync(clone) == 0 && has(source, 0, CONTENT, 10));
  int writer = open("clone source", O_WRONLY);
  CHECK(writer >= 0 && pwrite(writer, "Y", 1, 1) == 1 && close(writer) == 0);
  CHECK(holds("clone source", "0Y23456789") && has(clone, 0, "X123456789", 10));
  /* An input's descriptor from before shows what it had when it was opened, unless another input was changed just then. */
  close(source);
  source = open("clone source", O_RDONLY);
  struct file_clone_range range = { .src_fd = source, .src_offset = 0, .src_length = 0, .dest_offset = 4096 };
  CHECK(ioctl(clone, FICLONERANGE, &range) == 0 && has(clone, 4096, "0Y23456789", 10));
  close(source);
  close(clone);
  return 0;
}

const struct check server_side_checks[] = {
  { "SEEK_HOLE and SEEK_DATA", holes },
  { "fallocate and punched holes", space_reservation },
  { "copy_file_range", copies },
  { "FICLONE and FICLONERANGE", clones },
  {},
};
