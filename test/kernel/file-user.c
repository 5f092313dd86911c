/*
 * Uses one file as it is told, a line at a time, and answers each with a line: what was read, "ok", or the errno's name.
 *
 *   open PATH              for reading and writing; created if need be
 *   lock START LENGTH      for writing; waits
 *   try START LENGTH       the same, but does not wait
 *   unlock START LENGTH
 *   write TEXT             at the beginning, and fsync(2)
 *   read                   the first line
 *   close
 *
 * With the arguments `count PATH COUNTERS ROUNDS wait|try` it increments the file's counters ROUNDS times each, every
 * time under a lock of that counter alone, for which it waits, or asks until it has it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int file = -1;

static int lock(int command, short type, off_t start, off_t length) {
  struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
  return fcntl(file, command, &range);
}

static int write_text(const char *text) {
  size_t length = strlen(text);
  if (pwrite(file, text, length, 0) != (ssize_t)length)
    return -1;
  return fsync(file);
}

/* What the line asks for: its failure is -1 and errno. */
static int obey(char *line, char *answer, size_t size) {
  char *argument = strchr(line, ' ');
  long long start = 0, length = 0;
  if (argument != NULL) {
    *argument++ = '\0';
    sscanf(argument, "%lld %lld", &start, &length);
  }
  if (strcmp(line, "open") == 0)
    return file = open(argument, O_RDWR | O_CREAT, 0644);
  if (strcmp(line, "lock") == 0)
    return lock(F_SETLKW, F_WRLCK, start, length);
  if (strcmp(line, "try") == 0)
    return lock(F_SETLK, F_WRLCK, start, length);
  if (strcmp(line, "unlock") == 0)
    return lock(F_SETLK, F_UNLCK, start, length);
  if (strcmp(line, "write") == 0)
    return write_text(argument);
  if (strcmp(line, "close") == 0)
    return close(file);
  if (strcmp(line, "read") == 0) {
    ssize_t count = pread(file, answer, size - 1, 0);
    if (count < 0)
      return -1;
    answer[count] = '\0';
    answer[strcspn(answer, "\n")] = '\0';
    return 0;
  }
  errno = ENOSYS;
  return -1;
}

static int answer_lines(void) {
  char *line = NULL;
  size_t size = 0;
  ssize_t length;
  while ((length = getline(&line, &size, stdin)) > 0) {
    char answer[1024] = "ok";
    line[strcspn(line, "\n")] = '\0';
    if (obey(line, answer, sizeof answer) < 0)
      snprintf(answer, sizeof answer, "%s", strerrorname_np(errno));
    puts(answer);
    fflush(stdout);
  }
  free(line);
  return 0;
}

static int increment(off_t offset, int waits) {
  uint64_t counter;
  int locked;
  while ((locked = lock(waits ? F_SETLKW : F_SETLK, F_WRLCK, offset, sizeof counter)) < 0 && !waits &&
         (errno == EAGAIN || errno == EACCES))
    ;
  if (locked < 0 || pread(file, &counter, sizeof counter, offset) != sizeof counter)
    return -1;
  counter++;
  if (pwrite(file, &counter, sizeof counter, offset) != sizeof counter)
    return -1;
  return lock(F_SETLK, F_UNLCK, offset, sizeof counter);
}

static int count(const char *path, int counters, int rounds, int waits) {
  file = open(path, O_RDWR);
  if (file < 0) {
    perror(path);
    return 1;
  }
  for (int round = 0; round < rounds; round++)
    for (int counter = 0; counter < counters; counter++)
      if (increment(counter * (off_t)sizeof(uint64_t), waits) < 0) {
        perror("increment");
        return 1;
      }
  if (close(file) < 0) {
    perror("close");
    return 1;
  }
  return 0;
}

int main(int argc, char *argv[]) {
  if (argc == 6 && strcmp(argv[1], "count") == 0)
    return count(argv[2], atoi(argv[3]), atoi(argv[4]), strcmp(argv[5], "wait") == 0);
  return answer_lines();
}
