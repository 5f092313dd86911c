/*
 * Programs at work while connections break, each of which checks everything that it does:
 *
 *     connection-workload DIRECTORY MINOR_VERSION PROCESSES ROUNDS
 *
 * Each process does at most so many rounds in a directory of its own, and all append to one file. After SIGTERM the
 * rounds under way are finished. No system call may fail, and none may have been done twice: creations are exclusive, and
 * what was removed or renamed must have been there. Exits 0 when all is well, else says what was not.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Two WRITEs, so that a COMMIT follows. */
enum { LARGE = (1 << 20) + (1 << 16), LINE = 23, MOST_PROCESSES = 16 };
#define LINE_FORMAT "process %02d round %05d\n"

static int minor, process_number, round_number;
static volatile sig_atomic_t ending, worker_count;
/* The first process's only. */
static pid_t workers[MOST_PROCESSES];
static char large[LARGE] __attribute__((aligned(4096))), again[LARGE] __attribute__((aligned(4096)));

static void end_soon(int signal) {
  (void)signal;
  ending = 1;
  for (int worker = 0; worker < worker_count; worker++) kill(workers[worker], SIGTERM);
}

#define MUST(condition) \
  do { \
    if (!(condition)) { \
      printf("process %d, round %d, line %d: %s (%s)\n", process_number, round_number, __LINE__, #condition, \
             strerror(errno)); \
      exit(1); \
    } \
  } while (0)

static void must_hold(const char *name, const char *content) {
  char bytes[64];
  int fd = open(name, O_RDONLY);
  MUST(fd >= 0 && read(fd, bytes, sizeof bytes) == (ssize_t)strlen(content) && !memcmp(bytes, content, strlen(content)));
  MUST(close(fd) == 0);
}

static void must_have_entries(const char *directory, int count) {
  DIR *dir = opendir(directory);
  MUST(dir);
  for (count += 2; readdir(dir);) count--;
  closedir(dir);
  MUST(count == 0);
}

/* 3: what the client knows of files that are not open; 4: without a word in the kernel's log from now on. */
static void drop_caches(const char *which) {
  int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);
  MUST(fd >= 0 && write(fd, which, 1) == 1 && close(fd) == 0);
}

static void names(void) {
  struct stat status;
  char target[16];
  MUST(mkdir("d", 0755) == 0);
  int fd = open("d/a", O_RDWR | O_CREAT | O_EXCL, 0644);
  MUST(fd >= 0 && write(fd, "first", 5) == 5 && close(fd) == 0);
  MUST(open("d/a", O_RDWR | O_CREAT | O_EXCL, 0644) < 0 && errno == EEXIST);
  MUST(link("d/a", "d/b") == 0 && rename("d/b", "d/c") == 0 && stat("d/c", &status) == 0 && status.st_nlink == 2);
  MUST(access("d/b", F_OK) < 0 && errno == ENOENT);
  MUST(symlink("c", "d/s") == 0);
  drop_caches("3");
  MUST(readlink("d/s", target, sizeof target) == 1 && target[0] == 'c');
  MUST(mkfifo("d/f", 0600) == 0);
  must_hold("d/s", "first");
  must_have_entries("d", 4);
  MUST(chmod("d/a", 0600) == 0 && truncate("d/a", 2) == 0 && stat("d/c", &status) == 0);
  MUST((status.st_mode & 0777) == 0600 && status.st_size == 2);
  MUST(unlink("d/a") == 0 && unlink("d/c") == 0 && unlink("d/s") == 0 && unlink("d/f") == 0 && rmdir("d") == 0);
}

static void locks(void) {
  struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 3, .l_len = 4 };
  int fd = open("locked", O_RDWR | O_CREAT | O_EXCL, 0644), both = open("locked", O_RDONLY);
  MUST(fd >= 0 && both >= 0 && fcntl(fd, F_SETLK, &lock) == 0 && pwrite(fd, "locked", 6, 0) == 6);
  lock.l_type = F_UNLCK;
  MUST(fcntl(fd, F_SETLK, &lock) == 0 && close(fd) == 0);
  must_hold("locked", "locked");
  MUST(close(both) == 0 && unlink("locked") == 0);
}

static void large_file(void) {
  for (int at = 0; at < LARGE; at += 4) *(int *)(large + at) = at * 31 + round_number * 17 + process_number;
  int fd = open("large", O_RDWR | O_CREAT | O_EXCL, 0644);
  MUST(fd >= 0 && pwrite(fd, large, LARGE, 0) == LARGE && fsync(fd) == 0 && close(fd) == 0);
  fd = open("large", O_RDONLY | O_DIRECT);
  MUST(fd >= 0 && pread(fd, again, LARGE, 0) == LARGE && !memcmp(large, again, LARGE) && close(fd) == 0);
  MUST(unlink("large") == 0);
}

static void since_minor_2(void) {
  char bytes[64];
  int fd = open("source", O_RDWR | O_CREAT | O_EXCL, 0644), copy = open("copy", O_RDWR | O_CREAT | O_EXCL, 0644);
  MUST(fd >= 0 && copy >= 0 && write(fd, "0123456789", 10) == 10 && fsync(fd) == 0);
  loff_t from = 2, to = 0;
  MUST(copy_file_range(fd, &from, copy, &to, 4, 0) == 4);
  must_hold("copy", "2345");
  MUST(ioctl(copy, FICLONE, fd) == 0);
  must_hold("copy", "0123456789");
  MUST(fallocate(copy, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1, 8) == 0 && pread(copy, bytes, 10, 0) == 10);
  MUST(!memcmp(bytes, "0\0\0\0\0\0\0\0\0009", 10));
  MUST(fallocate(copy, 0, 0, 100) == 0 && lseek(copy, 0, SEEK_END) == 100 && lseek(copy, 0, SEEK_DATA) == 0);
  MUST(setxattr("copy", "user.one", "value", 5, XATTR_CREATE) == 0);
  MUST(close(fd) == 0 && close(copy) == 0);
  drop_caches("3");
  MUST(listxattr("copy", bytes, sizeof bytes) == 9 && getxattr("copy", "user.one", bytes, sizeof bytes) == 5);
  MUST(removexattr("copy", "user.one") == 0);
  MUST(unlink("source") == 0 && unlink("copy") == 0);
}

static void append(int log) {
  MUST(dprintf(log, LINE_FORMAT, process_number, round_number) == LINE && fsync(log) == 0);
}

static int work(int rounds) {
  struct statvfs space;
  char directory[32];
  int log = open("log", O_WRONLY | O_APPEND);
  snprintf(directory, sizeof directory, "process %d", process_number);
  MUST(log >= 0 && mkdir(directory, 0755) == 0 && chdir(directory) == 0);
  for (; !ending && round_number < rounds; round_number++) {
    names();
    locks();
    large_file();
    if (minor >= 2) since_minor_2();
    append(log);
    must_have_entries(".", 0);
    MUST(statvfs(".", &space) == 0);
  }
  MUST(close(log) == 0 && chdir("..") == 0 && rmdir(directory) == 0);
  return 0;
}

/* Every line of every process once, in its order. */
static void must_have_all_lines(int processes) {
  char line[LINE + 1] = "";
  int rounds[MOST_PROCESSES] = { 0 }, process, round;
  FILE *log = fopen("log", "r");
  MUST(log);
  while (fread(line, 1, LINE, log) == LINE) {
    MUST(sscanf(line, LINE_FORMAT, &process, &round) == 2 && process < processes);
    MUST(round == rounds[process]++);
  }
  MUST(feof(log) && fclose(log) == 0 && unlink("log") == 0);
  for (process = 0; process < processes; process++) printf("%d rounds\n", rounds[process]);
}

int main(int argc, char **argv) {
  if (argc != 5 || chdir(argv[1]) != 0) {
    fprintf(stderr, "usage: connection-workload DIRECTORY MINOR_VERSION PROCESSES ROUNDS\n");
    return 2;
  }
  minor = atoi(argv[2]);
  int processes = atoi(argv[3]), rounds = atoi(argv[4]), failed = 0, status;
  MUST(processes <= MOST_PROCESSES && close(open("log", O_WRONLY | O_CREAT | O_EXCL, 0644)) == 0);
  signal(SIGTERM, end_soon);
  drop_caches("4");
  for (process_number = 0; process_number < processes; process_number++) {
    pid_t worker = fork();
    if (worker == 0) {
      worker_count = 0;
      return work(rounds);
    }
    workers[process_number] = worker;
    worker_count++;
  }
  for (int left = processes; left > 0; left--) {
    wait(&status);
    if (status != 0 && !failed) end_soon(SIGTERM);
    failed |= status;
  }
  if (!failed) must_have_all_lines(processes);
  return failed != 0;
}
