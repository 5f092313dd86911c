/*
 * What the checks in this folder share. A check runs in the directory that is tested, returns 0 when all is well, and
 * else says what was wrong by CHECK.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Every file of place() and make() starts with this. */
#define CONTENT "0123456789"

/* The mount's NFSv4 minor version: 0, 1 or 2; LOCAL where it is no NFS mount. */
enum { LOCAL = -1 };
extern int minor;

#define CHECK(condition) \
  do { \
    if (!(condition)) return wrong(__FILE__, __LINE__, #condition); \
  } while (0)

struct check {
  const char *name;
  int (*run)(void);
};

/* Each ends with an entry without a name. */
extern const struct check name_checks[], directory_checks[], content_checks[], server_side_checks[], lock_checks[],
    attribute_checks[], local_checks[];

/* Remembers what was wrong, with errno; returns 1. */
int wrong(const char *file, int line, const char *condition);

/* A new file of CONTENT; where inputs were given, one of these moved here, so that it becomes a private copy when
 * something changes it. Returns 0 or -1. */
int place(const char *name);
/* The same, open for reading and writing. */
int make(const char *name);
/* A new empty file, open for reading and writing. */
int make_empty(const char *name);

/* Whether the file at `offset` has exactly these bytes, up to its end if they are fewer than 64. */
bool has(int fd, off_t offset, const char *bytes, size_t count);
/* Whether the file of that name is exactly this string, read by a new descriptor. */
bool holds(const char *name, const char *content);
/* How many entries the directory has, or -1. */
int entries(const char *directory);
/* How many names a removed file keeps while it is open: the client of NFSv4.0 renames it to .nfs* until it is closed. */
int left_behind(void);

/* fork(), with nothing of stdio's left to be written twice. */
pid_t start(void);
/* Waits for a process; its exit status, or 128 + its signal. */
int result_of(pid_t process);
/* The errno of `act` done by that user and group, without other groups; 0 if it succeeded. */
int as_user(unsigned user, unsigned group, int (*act)(void));
