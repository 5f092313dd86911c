/*
 * What programs expect of a file system, checked in the directory given: `file-semantics DIRECTORY MINOR_VERSION`.
 * Prints "ok NAME" or "not ok NAME: what was wrong" for each check; exits 0 when all are well. MINOR_VERSION is that
 * of the NFSv4 mount: some checks need 1 or 2.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static char why[512];

static int wrong(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(why, sizeof why, format, arguments);
  va_end(arguments);
  return 1;
}

#define CHECK(condition) \
  do { \
    if (!(condition)) return wrong("line %d: %s (%s)", __LINE__, #condition, strerror(errno)); \
  } while (0)

static int make(const char *name, const char *content) {
  int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
  if (fd >= 0 && write(fd, content, strlen(content)) < 0) return -1;
  return fd;
}

static int entries(const char *directory) {
  DIR *dir = opendir(directory);
  int count = 0;
  while (readdir(dir)) count++;
  closedir(dir);
  return count - 2;
}

static int rename_over_open(void) {
  char buffer[16];
  mkdir("rename", 0755);
  int old = make("rename/target", "old");
  close(make("rename/source", "new"));
  CHECK(rename("rename/source", "rename/target") == 0);
  CHECK(pread(old, buffer, 16, 0) == 3 && !memcmp(buffer, "old", 3));
  int now = open("rename/target", O_RDONLY);
  CHECK(pread(now, buffer, 16, 0) == 3 && !memcmp(buffer, "new", 3));
  close(old);
  close(now);
  CHECK(entries("rename") == 1);
  return 0;
}

static int unlink_while_open(void) {
  char buffer[16];
  struct stat status;
  mkdir("unlink", 0755);
  int fd = make("unlink/file", "content");
  CHECK(unlink("unlink/file") == 0);
  CHECK(entries("unlink") == 0);
  CHECK(rmdir("unlink") == 0);
  CHECK(pwrite(fd, "CON", 3, 0) == 3);
  CHECK(fsync(fd) == 0);
  CHECK(pread(fd, buffer, 16, 0) == 7 && !memcmp(buffer, "CONtent", 7));
  CHECK(fstat(fd, &status) == 0 && status.st_nlink == 0);
  close(fd);
  return 0;
}

static int append_from_processes(void) {
  enum { PROCESSES = 4, LINES = 20 };
  close(make("append", ""));
  for (int process = 0; process < PROCESSES; process++) {
    if (fork() == 0) {
      for (int line = 0; line < LINES; line++) {
        int fd = open("append", O_WRONLY | O_APPEND);
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        if (fcntl(fd, F_SETLKW, &lock) != 0) _exit(1);
        dprintf(fd, "process %d line %02d\n", process, line);
        close(fd);
      }
      _exit(0);
    }
  }
  for (int process = 0; process < PROCESSES; process++) {
    int result;
    wait(&result);
    CHECK(result == 0);
  }
  struct stat status;
  CHECK(stat("append", &status) == 0);
  CHECK(status.st_size == PROCESSES * LINES * 18);
  return 0;
}

static int exclusive_creation(void) {
  int fd = open("exclusive", O_RDWR | O_CREAT | O_EXCL, 0640);
  CHECK(fd >= 0);
  struct stat status;
  CHECK(fstat(fd, &status) == 0 && (status.st_mode & 07777) == 0640);
  CHECK(open("exclusive", O_RDWR | O_CREAT | O_EXCL, 0640) < 0 && errno == EEXIST);
  close(fd);
  return 0;
}

static int hard_links(void) {
  struct stat one, two;
  close(make("link one", "same"));
  CHECK(link("link one", "link two") == 0);
  CHECK(stat("link one", &one) == 0 && stat("link two", &two) == 0);
  CHECK(one.st_ino == two.st_ino && one.st_nlink == 2);
  CHECK(link("link one", "link two") < 0 && errno == EEXIST);
  CHECK(unlink("link one") == 0);
  CHECK(stat("link two", &two) == 0 && two.st_nlink == 1);
  return 0;
}

static int shared_mapping(void) {
  static char buffer[8192] __attribute__((aligned(4096)));
  int fd = make("mapped", "");
  CHECK(ftruncate(fd, 8192) == 0);
  char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(map != MAP_FAILED);
  memset(map + 100, 'm', 8000);
  CHECK(msync(map, 8192, MS_SYNC) == 0);
  CHECK(munmap(map, 8192) == 0);
  close(fd);
  fd = open("mapped", O_RDONLY | O_DIRECT);
  if (fd < 0) fd = open("mapped", O_RDONLY);
  CHECK(pread(fd, buffer, 8192, 0) == 8192);
  CHECK(buffer[99] == 0 && buffer[100] == 'm' && buffer[8099] == 'm' && buffer[8100] == 0);
  close(fd);
  return 0;
}

static int record_locks(void) {
  int fd = make("locks", "0123456789"), ready[2], result;
  char byte;
  CHECK(pipe(ready) == 0);
  struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
  pid_t holder = fork();
  if (holder == 0) {
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 3 };
    int own = open("locks", O_RDWR);
    if (fcntl(own, F_SETLK, &lock) != 0 || write(ready[1], "r", 1) != 1) _exit(1);
    pause();
  }
  CHECK(read(ready[0], &byte, 1) == 1);
  CHECK(fcntl(fd, F_SETLK, &whole) < 0 && (errno == EAGAIN || errno == EACCES));
  struct flock test = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
  CHECK(fcntl(fd, F_GETLK, &test) == 0 && test.l_type == F_WRLCK && test.l_start == 2 && test.l_len == 3);
  struct flock before = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 2 };
  CHECK(fcntl(fd, F_SETLK, &before) == 0);
  pid_t waiter = fork();
  if (waiter == 0) {
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 3 };
    int own = open("locks", O_RDWR);
    _exit(fcntl(own, F_SETLKW, &lock) == 0 ? 0 : 1);
  }
  kill(holder, SIGKILL);
  waitpid(holder, &result, 0);
  CHECK(waitpid(waiter, &result, 0) == waiter && result == 0);
  CHECK(fcntl(fd, F_SETLKW, &whole) == 0);
  whole.l_type = F_RDLCK;
  CHECK(fcntl(fd, F_SETLK, &whole) == 0);
  close(fd);
  return 0;
}

static int truncation_under_reader(void) {
  char buffer[16];
  int reader = make("truncated", "0123456789");
  int writer = open("truncated", O_WRONLY);
  CHECK(ftruncate(writer, 4) == 0);
  CHECK(pread(reader, buffer, 16, 0) == 4);
  CHECK(ftruncate(writer, 8) == 0);
  CHECK(pread(reader, buffer, 16, 0) == 8 && !memcmp(buffer, "0123\0\0\0\0", 8));
  close(reader);
  close(writer);
  return 0;
}

static int large_sparse_file(void) {
  struct stat status;
  char byte;
  int fd = make("sparse", "");
  off_t far = (off_t)1 << 42;
  CHECK(pwrite(fd, "x", 1, far) == 1);
  CHECK(fsync(fd) == 0);
  CHECK(fstat(fd, &status) == 0 && status.st_size == far + 1);
  CHECK(status.st_blocks < 8192);
  CHECK(pread(fd, &byte, 1, far / 2) == 1 && byte == 0);
  close(fd);
  return 0;
}

static int holes(void) {
  int fd = make("holes", "");
  CHECK(pwrite(fd, "x", 1, 1 << 20) == 1 && fsync(fd) == 0);
  CHECK(lseek(fd, 0, SEEK_DATA) == 1 << 20);
  CHECK(lseek(fd, 0, SEEK_HOLE) == 0);
  CHECK(lseek(fd, 1 << 20, SEEK_HOLE) == (1 << 20) + 1);
  CHECK(lseek(fd, 2 << 20, SEEK_DATA) < 0 && errno == ENXIO);
  close(fd);
  return 0;
}

static int space_reservation(void) {
  char buffer[5] = "";
  struct stat status;
  int fd = make("allocated", "0123456789");
  CHECK(fallocate(fd, 0, 0, 100000) == 0);
  CHECK(fstat(fd, &status) == 0 && status.st_size == 100000);
  CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2, 3) == 0);
  CHECK(pread(fd, buffer, 5, 1) == 5 && !memcmp(buffer, "1\0\0\0005", 5));
  CHECK(fstat(fd, &status) == 0 && status.st_size == 100000);
  close(fd);
  return 0;
}

static int copies_in_the_server(void) {
  char buffer[16];
  int source = make("copy source", "0123456789"), target = make("copy target", ""), clone = make("clone", "");
  CHECK(fsync(source) == 0);
  off_t from = 2, to = 1;
  CHECK(copy_file_range(source, &from, target, &to, 5, 0) == 5);
  CHECK(pread(target, buffer, 16, 0) == 6 && !memcmp(buffer, "\00023456", 6));
  CHECK(ioctl(clone, FICLONE, source) == 0);
  CHECK(pread(clone, buffer, 16, 0) == 10 && !memcmp(buffer, "0123456789", 10));
  CHECK(pwrite(clone, "X", 1, 0) == 1 && fsync(clone) == 0);
  CHECK(pread(source, buffer, 1, 0) == 1 && buffer[0] == '0');
  close(source);
  close(target);
  close(clone);
  return 0;
}

static int extended_attributes(void) {
  char buffer[64];
  close(make("extended", ""));
  CHECK(setxattr("extended", "user.one", "value", 5, XATTR_CREATE) == 0);
  CHECK(setxattr("extended", "user.one", "again", 5, XATTR_CREATE) < 0 && errno == EEXIST);
  CHECK(setxattr("extended", "user.two", "", 0, XATTR_REPLACE) < 0 && errno == ENODATA);
  CHECK(getxattr("extended", "user.one", buffer, 64) == 5 && !memcmp(buffer, "value", 5));
  CHECK(listxattr("extended", buffer, 64) == 9 && !strcmp(buffer, "user.one"));
  CHECK(removexattr("extended", "user.one") == 0);
  CHECK(getxattr("extended", "user.one", buffer, 64) < 0 && errno == ENODATA);
  return 0;
}

static int modes_owners_times(void) {
  struct stat status;
  close(make("attributes", ""));
  CHECK(chmod("attributes", 06751) == 0);
  CHECK(chown("attributes", 1000, 1001) == 0);
  CHECK(chmod("attributes", 0751) == 0);
  struct timespec times[2] = { { 1234567890, 123456789 }, { -1000, 5 } };
  CHECK(utimensat(AT_FDCWD, "attributes", times, 0) == 0);
  CHECK(stat("attributes", &status) == 0);
  CHECK((status.st_mode & 07777) == 0751 && status.st_uid == 1000 && status.st_gid == 1001);
  CHECK(status.st_atim.tv_sec == 1234567890 && status.st_atim.tv_nsec == 123456789);
  CHECK(status.st_mtim.tv_sec == -1000 && status.st_mtim.tv_nsec == 5);
  return 0;
}

static int as_user(unsigned user, unsigned group, int (*act)(void)) {
  int result;
  fflush(stdout);
  if (fork() == 0) {
    if (setgid(group) != 0 || setuid(user) != 0) _exit(100);
    _exit(act());
  }
  wait(&result);
  return WEXITSTATUS(result);
}

static int remove_of_others(void) { return unlink("sticky/file") == 0 ? 0 : errno; }
static int write_forbidden(void) { return open("sticky/private", O_WRONLY) >= 0 ? 0 : errno; }

static int sticky_and_setgid_directories(void) {
  struct stat status;
  CHECK(mkdir("sticky", 0777) == 0 && chmod("sticky", 01777) == 0);
  close(make("sticky/file", ""));
  close(make("sticky/private", ""));
  CHECK(chmod("sticky/private", 0600) == 0);
  CHECK(chown("sticky/file", 1000, 1000) == 0);
  CHECK(as_user(2000, 2000, remove_of_others) == EPERM);
  CHECK(as_user(2000, 2000, write_forbidden) == EACCES);
  CHECK(as_user(1000, 1000, remove_of_others) == 0);
  CHECK(mkdir("setgid", 0755) == 0 && chown("setgid", 0, 3000) == 0 && chmod("setgid", 02775) == 0);
  close(make("setgid/file", ""));
  CHECK(mkdir("setgid/directory", 0755) == 0);
  CHECK(stat("setgid/file", &status) == 0 && status.st_gid == 3000);
  CHECK(stat("setgid/directory", &status) == 0 && status.st_gid == 3000 && (status.st_mode & S_ISGID));
  return 0;
}

static int odd_names(void) {
  char name[300] = "";
  memset(name, 'n', 255);
  int fd = make(name, "");
  CHECK(fd >= 0);
  close(fd);
  name[255] = 'n';
  CHECK(open(name, O_CREAT | O_RDWR, 0644) < 0 && errno == ENAMETOOLONG);
  mkdir("odd", 0755);
  const char *odd = "odd/\xff\xfe\x01 \n\\:*?\xc3(";
  close(make(odd, ""));
  DIR *dir = opendir("odd");
  struct dirent *entry;
  int found = 0;
  while ((entry = readdir(dir))) found |= !strcmp(entry->d_name, odd + 4);
  closedir(dir);
  CHECK(found);
  return 0;
}

static int deep_paths(void) {
  char start[4096];
  CHECK(getcwd(start, sizeof start));
  for (int depth = 0; depth < 40; depth++) {
    CHECK(mkdir("deep directory", 0755) == 0);
    CHECK(chdir("deep directory") == 0);
  }
  close(make("file", "deep"));
  char path[4096];
  CHECK(getcwd(path, sizeof path));
  CHECK(chdir(start) == 0);
  CHECK(!strncmp(path, start, strlen(start)));
  CHECK(rename("deep directory/deep directory", "deep directory/deep directory/deep directory/x") < 0 && errno == EINVAL);
  return 0;
}

static int directory_removed_while_listed(void) {
  enum { FILES = 1500 };
  char name[64];
  mkdir("many", 0755);
  for (int index = 0; index < FILES; index++) {
    snprintf(name, sizeof name, "many/file number %d", index);
    CHECK(mknod(name, S_IFREG | 0644, 0) == 0);
  }
  CHECK(entries("many") == FILES);
  DIR *dir = opendir("many");
  struct dirent *entry;
  int removed = 0;
  while ((entry = readdir(dir))) {
    if (entry->d_name[0] == '.') continue;
    CHECK(unlinkat(dirfd(dir), entry->d_name, 0) == 0);
    removed++;
  }
  closedir(dir);
  CHECK(removed == FILES);
  CHECK(rmdir("many") == 0);
  return 0;
}

static int temporary_file(void) {
  int fd = open(".", O_TMPFILE | O_RDWR, 0600);
  if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) return 0;
  CHECK(fd >= 0);
  close(fd);
  return 0;
}

static int special_files(void) {
  struct stat status;
  CHECK(mkfifo("fifo", 0644) == 0);
  CHECK(mknod("device", S_IFCHR | 0666, (1 << 8) | 3) == 0);
  CHECK(symlink("a target that is not there", "symlink") == 0);
  CHECK(lstat("fifo", &status) == 0 && S_ISFIFO(status.st_mode));
  CHECK(lstat("device", &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == ((1 << 8) | 3));
  char target[64];
  CHECK(readlink("symlink", target, 64) == 26);
  return 0;
}

static const struct check {
  const char *name;
  int (*run)(void);
  int minimum_minor;
} checks[] = {
  { "rename over an open file", rename_over_open, 1 },
  { "unlink while open, nothing left behind", unlink_while_open, 1 },
  { "O_APPEND from several processes", append_from_processes, 0 },
  { "O_EXCL", exclusive_creation, 0 },
  { "hard links", hard_links, 0 },
  { "shared mapping and msync", shared_mapping, 0 },
  { "fcntl locks between processes", record_locks, 0 },
  { "truncation under a reader", truncation_under_reader, 0 },
  { "sparse file of 4 TiB", large_sparse_file, 0 },
  { "SEEK_HOLE and SEEK_DATA", holes, 2 },
  { "fallocate and punched holes", space_reservation, 2 },
  { "copy_file_range and FICLONE", copies_in_the_server, 2 },
  { "extended attributes", extended_attributes, 2 },
  { "modes, owners and times", modes_owners_times, 0 },
  { "sticky and set-group-id directories", sticky_and_setgid_directories, 0 },
  { "names of 255 bytes and of any bytes", odd_names, 0 },
  { "deep paths", deep_paths, 0 },
  { "a directory emptied while it is listed", directory_removed_while_listed, 0 },
  { "O_TMPFILE, where the client has it", temporary_file, 0 },
  { "FIFOs, devices and symbolic links", special_files, 0 },
};

int main(int argc, char **argv) {
  if (argc != 3 || chdir(argv[1]) != 0) {
    fprintf(stderr, "usage: file-semantics DIRECTORY MINOR_VERSION\n");
    return 2;
  }
  int minor = atoi(argv[2]), failed = 0;
  for (size_t index = 0; index < sizeof checks / sizeof *checks; index++) {
    if (checks[index].minimum_minor > minor) continue;
    umask(022);
    errno = 0;
    if (checks[index].run() == 0) {
      printf("ok %s\n", checks[index].name);
    } else {
      printf("not ok %s: %s\n", checks[index].name, why);
      failed++;
    }
    fflush(stdout);
  }
  return failed > 0;
}
