/*
 * Places and removes what a worker keeps in directories of a local disk, where commands may change everything meanwhile:
 * each step starts from an open directory, and none follows a symlink. It runs beside the worker so that a slow disk
 * holds up nothing else, and as many system calls as a tree has entries cost the worker none.
 *
 * Standard input carries a request (message.h), standard output one reply. The end of standard input means that the
 * worker has given up. The requests:
 *
 *   empty PATH              removes everything in a directory
 *   remove PARENT NAME      removes a directory and everything in it, or whatever has taken its place
 *   place CACHE BUILD PATH  fills the directory PATH in BUILD, by hard links to files in CACHE. It is followed by messages
 *                           of any number of these, the last of which is "end":
 *     directory NAME        makes a directory, into which goes what follows
 *     up                    goes back to the directory above
 *     file KEY SIZE NAME    a link to the cache's file KEY; the same for a program: "program"
 *     symlink TARGET NAME
 *
 * The replies:
 *
 *   done
 *   stale KEY                   the cache's file is not there, or is not what it was made as
 *   failed ERRNO TEXT SUBJECT   TEXT is strerror(ERRNO)
 */
#include "empty_directory.h"
#include "message.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum {
  /* The longest path, which the worker checks, has no more directories of one-letter names. */
  maximum_depth = PATH_MAX / 2,
};

static _Noreturn void answer(struct reply *reply) {
  send_reply(STDOUT_FILENO, reply);
  _exit(0);
}

static _Noreturn void answer_done(void) {
  struct reply reply;
  begin_reply(&reply);
  put_string(&reply, "done");
  answer(&reply);
}

static _Noreturn void answer_stale(const char *key) {
  struct reply reply;
  begin_reply(&reply);
  put_string(&reply, "stale");
  put_string(&reply, key);
  answer(&reply);
}

static _Noreturn void fail(int error, const char *subject) {
  struct reply reply;
  begin_reply(&reply);
  put_string(&reply, "failed");
  put_number(&reply, error);
  put_string(&reply, strerror(error));
  put_string(&reply, subject);
  answer(&reply);
}

static void empty(const char *path) {
  struct leftover left = empty_directory(path);
  if (left.error != 0)
    fail(left.error, left.path);
}

static void remove_directory(const char *parent, const char *name) {
  char path[PATH_MAX];
  if ((size_t)snprintf(path, sizeof path, "%s/%s", parent, name) >= sizeof path)
    fail(ENAMETOOLONG, parent);
  struct leftover left = empty_directory(path);
  if (left.error == ENOENT)
    return;
  bool is_directory = left.error != ELOOP && left.error != ENOTDIR;
  if (is_directory && left.error != 0)
    fail(left.error, left.path);
  if ((is_directory ? rmdir(path) : unlink(path)) != 0 && errno != ENOENT)
    fail(errno, path);
}

/* Where what is placed goes: the directory that is filled, and those below it that have been begun. */
struct placement {
  int cache;
  int depth;
  int directories[maximum_depth + 1];
  /* What the cache's files have; permissions that the worker's mask withholds are missing there as well. */
  mode_t mask;
  unsigned copies;
};

static int current(const struct placement *placement) { return placement->directories[placement->depth]; }

static int open_beneath(int directory, const char *path) {
  struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                         .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
  return (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
}

static void begin_directory(struct placement *placement, const char *name) {
  if (placement->depth == maximum_depth)
    fail(ENAMETOOLONG, name);
  if (mkdirat(current(placement), name, 0777) != 0)
    fail(errno, name);
  int directory = openat(current(placement), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (directory < 0)
    fail(errno, name);
  placement->directories[++placement->depth] = directory;
}

static void end_directory(struct placement *placement) {
  if (placement->depth == 0)
    fail(EPROTO, "up");
  close(current(placement));
  placement->depth--;
}

/* Puts a copy in the place of a file that has as many links as its file system allows. */
static void renew(struct placement *placement, const char *key, const struct stat *status) {
  char copy[64];
  snprintf(copy, sizeof copy, "copy-%d-%u", (int)getpid(), placement->copies++);
  int from = openat(placement->cache, key, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  int to = openat(placement->cache, copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, status->st_mode & 0777);
  if (from < 0 || to < 0)
    fail(errno, key);
  for (off_t left = status->st_size; left > 0;) {
    ssize_t copied = sendfile(to, from, NULL, (size_t)left);
    if (copied < 0 && errno == EINTR)
      continue;
    if (copied <= 0)
      fail(copied < 0 ? errno : EIO, key);
    left -= copied;
  }
  const struct timespec times[2] = {status->st_atim, status->st_mtim};
  if (futimens(to, times) != 0 || renameat(placement->cache, copy, placement->cache, key) != 0)
    fail(errno, key);
  close(from);
  close(to);
}

/* A command of the worker's own user may have changed a file that it has a link to: such a one is not handed on. */
static void place_file(struct placement *placement, const char *key, off_t size, const char *name, mode_t mode) {
  /* 2000-01-01T00:00:00Z, which the worker gives to each file. */
  const time_t time = 946684800;
  struct stat status;
  if (fstatat(placement->cache, key, &status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT)
      answer_stale(key);
    fail(errno, key);
  }
  if (!S_ISREG(status.st_mode) || (status.st_mode & 07777) != (mode & ~placement->mask) ||
      status.st_size != size || status.st_mtim.tv_sec != time || status.st_mtim.tv_nsec != 0)
    answer_stale(key);
  while (linkat(placement->cache, key, current(placement), name, 0) != 0) {
    if (errno == ENOENT)
      answer_stale(key);
    if (errno != EMLINK)
      fail(errno, name);
    renew(placement, key, &status);
  }
}

/* Does what a message says; true if it says that this is the end. */
static bool place_entries(struct placement *placement, struct message *message) {
  while (message->next < message->end) {
    const char *verb = take_string(message);
    if (strcmp(verb, "end") == 0)
      return true;
    if (strcmp(verb, "up") == 0) {
      end_directory(placement);
      continue;
    }
    bool is_program = strcmp(verb, "program") == 0;
    if (strcmp(verb, "directory") == 0) {
      const char *name = take_string(message);
      if (!message->malformed)
        begin_directory(placement, name);
    } else if (is_program || strcmp(verb, "file") == 0) {
      const char *key = take_string(message);
      off_t size = (off_t)take_number(message, INT64_MAX);
      const char *name = take_string(message);
      if (!message->malformed)
        place_file(placement, key, size, name, is_program ? 0555 : 0444);
    } else if (strcmp(verb, "symlink") == 0) {
      const char *target = take_string(message);
      const char *name = take_string(message);
      if (!message->malformed && symlinkat(target, current(placement), name) != 0)
        fail(errno, name);
    } else {
      fail(EPROTO, verb);
    }
    if (message->malformed)
      fail(EPROTO, verb);
  }
  return false;
}

static void place(const char *cache, const char *build, const char *path) {
  struct placement placement = {.depth = 0};
  placement.mask = umask(0);
  umask(placement.mask);
  placement.cache = open(cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (placement.cache < 0)
    fail(errno, cache);
  int top = open(build, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (top < 0)
    fail(errno, build);
  placement.directories[0] = open_beneath(top, path);
  if (placement.directories[0] < 0)
    fail(errno, path);
  bool ended = false;
  while (!ended) {
    struct message entries;
    if (!read_message(STDIN_FILENO, &entries))
      _exit(1);
    ended = place_entries(&placement, &entries);
    free(entries.memory);
  }
}

int main(void) {
  /* One for each directory that is open on the way down. */
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  struct message request;
  if (!read_message(STDIN_FILENO, &request))
    return 1;
  const char *verb = take_string(&request);
  const char *first = take_string(&request);
  if (strcmp(verb, "empty") == 0 && !request.malformed) {
    empty(first);
    answer_done();
  }
  const char *second = take_string(&request);
  if (strcmp(verb, "remove") == 0 && !request.malformed) {
    remove_directory(first, second);
    answer_done();
  }
  const char *third = take_string(&request);
  if (strcmp(verb, "place") == 0 && !request.malformed) {
    place(first, second, third);
    answer_done();
  }
  fail(EPROTO, verb);
}
