/*
 * What programs expect of a file system, checked in an empty directory:
 *
 *     semantics DIRECTORY MINOR_VERSION [INPUTS]
 *
 * MINOR_VERSION is that of the NFSv4 mount, or "local" for a local file system, on which only its checks run. INPUTS is a directory of the same file system with files 0, 1, 2, … of
 * CONTENT to use instead of new ones. Prints "ok NAME" or "not ok NAME: what was wrong" for each check; exits 0 when
 * all are well.
 */
#include "checks.h"
#include <dirent.h>
#include <grp.h>

int minor;
static const char *inputs;
static int inputs_used;
static char why[512];

int wrong(const char *file, int line, const char *condition) {
  snprintf(why, sizeof why, "%s:%d: %s (%s)", file, line, condition, strerror(errno));
  return 1;
}

int place(const char *name) {
  if (inputs) {
    char input[4096];
    snprintf(input, sizeof input, "%s/%d", inputs, ++inputs_used);
    return rename(input, name);
  }
  int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
  if (fd < 0 || write(fd, CONTENT, strlen(CONTENT)) < 0) return -1;
  return close(fd);
}

int make(const char *name) { return place(name) == 0 ? open(name, O_RDWR) : -1; }

int make_empty(const char *name) { return open(name, O_RDWR | O_CREAT | O_EXCL, 0644); }

bool has(int fd, off_t offset, const char *bytes, size_t count) {
  char buffer[64];
  return pread(fd, buffer, sizeof buffer, offset) == (ssize_t)count && !memcmp(buffer, bytes, count);
}

bool holds(const char *name, const char *content) {
  int fd = open(name, O_RDONLY);
  bool same = fd >= 0 && has(fd, 0, content, strlen(content));
  close(fd);
  return same;
}

int entries(const char *directory) {
  DIR *dir = opendir(directory);
  int count = -2;
  if (!dir) return -1;
  while (readdir(dir)) count++;
  closedir(dir);
  return count;
}

int left_behind(void) { return minor == 0 ? 1 : 0; }

pid_t start(void) {
  fflush(stdout);
  return fork();
}

int result_of(pid_t process) {
  int status;
  if (waitpid(process, &status, 0) != process) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int as_user(unsigned user, unsigned group, int (*act)(void)) {
  pid_t process = start();
  if (process == 0) {
    if (setgroups(0, NULL) != 0 || setgid(group) != 0 || setuid(user) != 0) _exit(255);
    _exit(act() == 0 ? 0 : errno);
  }
  return result_of(process);
}

/* The first input is never used: it has the same content, so that a change of another would show in it. */
static int inputs_are_unchanged(void) {
  char input[4096];
  snprintf(input, sizeof input, "%s/0", inputs);
  struct stat status;
  CHECK(holds(input, CONTENT));
  CHECK(stat(input, &status) == 0 && (status.st_mode & 07777) == 0444 && status.st_uid == 0);
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 3 || chdir(argv[1]) != 0) {
    fprintf(stderr, "usage: semantics DIRECTORY MINOR_VERSION [INPUTS]\n");
    return 2;
  }
  bool local = !strcmp(argv[2], "local");
  minor = local ? LOCAL : atoi(argv[2]);
  inputs = argv[3];
  umask(022);
  const struct check *subjects[] = { local_checks,       name_checks, directory_checks, content_checks,
                                     server_side_checks, lock_checks, attribute_checks };
  size_t count = local ? 1 : sizeof subjects / sizeof *subjects;
  int failed = 0;
  for (size_t subject = 0; subject < count; subject++) {
    for (const struct check *check = subjects[subject]; check->name; check++) {
      errno = 0;
      if (check->run() == 0 && (!inputs || inputs_are_unchanged() == 0)) {
        printf("ok %s\n", check->name);
      } else {
        printf("not ok %s: %s\n", check->name, why);
        failed++;
      }
    }
  }
  return failed > 0;
}
