/* What is in files: written, mapped, cut off and extended by several at a time. */
#include "checks.h"
#include <sys/mman.h>

static int append_from_processes(void) {
  enum { PROCESSES = 4, LINES = 25, BYTES = 18 };
  pid_t processes[PROCESSES];
  int next[PROCESSES] = { 0 };
  char line[BYTES + 1] = "";
  close(make_empty("append"));
  for (int process = 0; process < PROCESSES; process++) {
    if ((processes[process] = start()) != 0) continue;
    int fd = open("append", O_WRONLY | O_APPEND);
    for (int number = 0; number < LINES; number++) {
      if (dprintf(fd, "process %d line %02d\n", process, number) != BYTES) _exit(1);
      if (number % 5 == 0 && fsync(fd) != 0) _exit(1);
    }
    _exit(close(fd) == 0 ? 0 : 1);
  }
  for (int process = 0; process < PROCESSES; process++) CHECK(result_of(processes[process]) == 0);
  int fd = open("append", O_RDONLY);
  for (int index = 0; index < PROCESSES * LINES; index++) {
    int process, number;
    CHECK(read(fd, line, BYTES) == BYTES && sscanf(line, "process %d line %d", &process, &number) == 2);
    CHECK(process >= 0 && process < PROCESSES && number == next[process]++);
  }
  CHECK(read(fd, line, 1) == 0);
  close(fd);
  return 0;
}

static int append_to_what_is_there(void) {
  CHECK(place("appended to") == 0);
  int fd = open("appended to", O_WRONLY | O_APPEND);
  CHECK(pwrite(fd, "X", 1, 0) == 1 && write(fd, "Y", 1) == 1 && close(fd) == 0);
  CHECK(holds("appended to", CONTENT "XY"));
  return 0;
}

/* Read past the client's cache. */
static int shared_mapping(void) {
  static char buffer[8192] __attribute__((aligned(4096)));
  int fd = make("mapped");
  CHECK(ftruncate(fd, 8192) == 0);
  char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(map != MAP_FAILED && !memcmp(map, CONTENT, 10));
  memset(map + 100, 'm', 8000);
  pid_t process = start();
  if (process == 0) {
    int own = open("mapped", O_RDWR);
    char *same = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
    same[4096] = 'c';
    _exit(pwrite(own, "w", 1, 4097) == 1 ? 0 : 1);
  }
  CHECK(result_of(process) == 0 && map[4096] == 'c' && map[4097] == 'w');
  CHECK(msync(map, 8192, MS_SYNC) == 0 && munmap(map, 8192) == 0 && close(fd) == 0);
  fd = open("mapped", O_RDONLY | O_DIRECT);
  CHECK(fd >= 0 && pread(fd, buffer, 8192, 0) == 8192);
  CHECK(!memcmp(buffer, CONTENT, 10) && buffer[99] == 0 && buffer[100] == 'm');
  CHECK(buffer[4096] == 'c' && buffer[4097] == 'w' && buffer[8099] == 'm' && buffer[8100] == 0);
  close(fd);
  return 0;
}

static int private_mapping(void) {
  CHECK(place("private") == 0);
  int fd = open("private", O_RDONLY);
  char *map = mmap(NULL, 10, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  CHECK(map != MAP_FAILED && map[9] == '9');
  map[9] = 'X';
  CHECK(munmap(map, 10) == 0 && close(fd) == 0 && holds("private", CONTENT));
  return 0;
}

static int truncation_under_a_reader(void) {
  int reader = make("truncated"), writer = open("truncated", O_WRONLY);
  CHECK(has(reader, 0, CONTENT, 10));
  CHECK(ftruncate(writer, 4) == 0 && has(reader, 0, "0123", 4));
  CHECK(ftruncate(writer, 8) == 0 && has(reader, 0, "0123\0\0\0\0", 8));
  CHECK(truncate("truncated", 2) == 0 && has(reader, 0, "01", 2));
  close(open("truncated", O_WRONLY | O_TRUNC));
  CHECK(has(reader, 0, "", 0));
  close(reader);
  close(writer);
  return 0;
}

/* Whatever the reader sees is a part of the content with zeros after it. */
static int truncation_under_reading_processes(void) {
  enum { READERS = 2, READS = 200, TRUNCATIONS = 40 };
  pid_t readers[READERS];
  int fd = make("up and down");
  for (int reader = 0; reader < READERS; reader++) {
    if ((readers[reader] = start()) != 0) continue;
    int own = open("up and down", O_RDONLY);
    for (int count = 0; count < READS; count++) {
      char bytes[16];
      ssize_t length = pread(own, bytes, sizeof bytes, 0), at = 0;
      while (at < length && bytes[at] == CONTENT[at]) at++;
      while (at < length && bytes[at] == 0) at++;
      if (length < 0 || at != length) _exit(1);
      posix_fadvise(own, 0, 0, POSIX_FADV_DONTNEED);
    }
    _exit(0);
  }
  for (int count = 0; count < TRUNCATIONS; count++) {
    CHECK(ftruncate(fd, count % 10) == 0 && ftruncate(fd, 10) == 0);
    CHECK(pwrite(fd, CONTENT, 10, 0) == 10);
  }
  for (int reader = 0; reader < READERS; reader++) CHECK(result_of(readers[reader]) == 0);
  close(fd);
  return 0;
}

static int large_sparse_file(void) {
  struct stat status;
  int fd = make("sparse");
  off_t far = (off_t)1 << 42;
  CHECK(pwrite(fd, "x", 1, far) == 1 && fsync(fd) == 0);
  CHECK(fstat(fd, &status) == 0 && status.st_size == far + 1 && status.st_blocks < 8192);
  CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
  char zeros[16] = "", bytes[16];
  CHECK(pread(fd, bytes, 16, far / 2) == 16 && !memcmp(bytes, zeros, 16));
  CHECK(has(fd, far, "x", 1) && pread(fd, bytes, 10, 0) == 10 && !memcmp(bytes, CONTENT, 10));
  CHECK(ftruncate(fd, 10) == 0 && has(fd, 0, CONTENT, 10));
  close(fd);
  return 0;
}

const struct check content_checks[] = {
  { "O_APPEND from several processes", append_from_processes },
  { "O_APPEND to what is there", append_to_what_is_there },
  { "shared mappings and msync", shared_mapping },
  { "a private mapping", private_mapping },
  { "truncation up and down under a reader", truncation_under_a_reader },
  { "truncation up and down under reading processes", truncation_under_reading_processes },
  { "a sparse file of 4 TiB", large_sparse_file },
  {},
};
