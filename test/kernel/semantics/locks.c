/* Locks between processes. */
#include "checks.h"
#include <signal.h>
#include <sys/file.h>

static int lock(int fd, int command, short type, off_t from, off_t length) {
  struct flock range = { .l_type = type, .l_whence = SEEK_SET, .l_start = from, .l_len = length };
  return fcntl(fd, command, &range);
}

static bool is_refused(int result) { return result < 0 && (errno == EAGAIN || errno == EACCES); }

/* A process that holds the lock until it is killed. */
static pid_t hold(const char *name, short type, off_t from, off_t length) {
  int ready[2];
  char byte;
  if (pipe(ready) != 0) return -1;
  pid_t holder = start();
  if (holder == 0) {
    if (lock(open(name, O_RDWR), F_SETLK, type, from, length) != 0 || write(ready[1], "r", 1) != 1) _exit(1);
    pause();
  }
  close(ready[1]);
  ssize_t count = read(ready[0], &byte, 1);
  close(ready[0]);
  return count == 1 ? holder : -1;
}

static int end(pid_t holder) { return kill(holder, SIGKILL) == 0 ? result_of(holder) : -1; }

static int conflicts(void) {
  int fd = make("conflicts");
  pid_t holder = hold("conflicts", F_WRLCK, 2, 3);
  CHECK(holder > 0);
  CHECK(is_refused(lock(fd, F_SETLK, F_WRLCK, 0, 0)) && is_refused(lock(fd, F_SETLK, F_RDLCK, 4, 1)));
  struct flock test = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
  CHECK(fcntl(fd, F_GETLK, &test) == 0 && test.l_type == F_WRLCK && test.l_start == 2 && test.l_len == 3);
  CHECK(lock(fd, F_SETLK, F_WRLCK, 0, 2) == 0 && lock(fd, F_SETLK, F_WRLCK, 5, 0) == 0);
  CHECK(lock(fd, F_SETLK, F_WRLCK, (off_t)1 << 62, 1) == 0);
  CHECK(end(holder) == 128 + SIGKILL);
  CHECK(lock(fd, F_SETLK, F_WRLCK, 0, 0) == 0);
  close(fd);
  return 0;
}

static int upgrades(void) {
  int fd = make("upgrades");
  pid_t reader = hold("upgrades", F_RDLCK, 0, 0);
  CHECK(reader > 0 && lock(fd, F_SETLK, F_RDLCK, 0, 0) == 0);
  CHECK(is_refused(lock(fd, F_SETLK, F_WRLCK, 0, 0)));
  CHECK(end(reader) == 128 + SIGKILL && lock(fd, F_SETLK, F_WRLCK, 0, 0) == 0);
  CHECK(hold("upgrades", F_RDLCK, 0, 0) < 0);
  CHECK(lock(fd, F_SETLK, F_RDLCK, 0, 0) == 0);
  CHECK((reader = hold("upgrades", F_RDLCK, 0, 0)) > 0 && end(reader) == 128 + SIGKILL);
  close(fd);
  return 0;
}

static int split_by_unlock(void) {
  int fd = make("split");
  CHECK(lock(fd, F_SETLK, F_WRLCK, 0, 10) == 0 && lock(fd, F_SETLK, F_UNLCK, 3, 3) == 0);
  CHECK(hold("split", F_RDLCK, 2, 1) < 0 && hold("split", F_RDLCK, 6, 1) < 0);
  pid_t between = hold("split", F_WRLCK, 3, 3);
  CHECK(between > 0 && end(between) == 128 + SIGKILL);
  /* POSIX: closing any descriptor of the file gives up all of the process's locks. */
  close(open("split", O_RDONLY));
  pid_t after = hold("split", F_WRLCK, 0, 0);
  CHECK(after > 0 && end(after) == 128 + SIGKILL);
  close(fd);
  return 0;
}

static int waiting_until_the_holder_dies(void) {
  close(make("waiting"));
  pid_t holder = hold("waiting", F_WRLCK, 0, 0), waiter = start();
  if (waiter == 0) _exit(lock(open("waiting", O_RDWR), F_SETLKW, F_WRLCK, 2, 3) == 0 ? 0 : 1);
  usleep(50000);
  CHECK(waitpid(waiter, NULL, WNOHANG) == 0);
  CHECK(end(holder) == 128 + SIGKILL && result_of(waiter) == 0);
  return 0;
}

static int locks_of_descriptors(void) {
  int one = make("descriptors"), two = open("descriptors", O_RDWR);
  CHECK(flock(one, LOCK_EX | LOCK_NB) == 0);
  CHECK(flock(two, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK);
  CHECK(flock(one, LOCK_UN) == 0 && flock(two, LOCK_SH | LOCK_NB) == 0 && flock(two, LOCK_UN) == 0);
  CHECK(lock(one, F_OFD_SETLK, F_WRLCK, 0, 5) == 0);
  CHECK(is_refused(lock(two, F_OFD_SETLK, F_RDLCK, 0, 1)) && lock(two, F_OFD_SETLK, F_WRLCK, 5, 5) == 0);
  close(one);
  CHECK(lock(two, F_OFD_SETLK, F_WRLCK, 0, 0) == 0);
  close(two);
  return 0;
}

const struct check lock_checks[] = {
  { "locks: conflicts, and release on death", conflicts },
  { "locks: upgrade and downgrade", upgrades },
  { "locks: unlocking the middle, and close", split_by_unlock },
  { "locks: waiting until the holder dies", waiting_until_the_holder_dies },
  { "flock and locks of open file descriptions", locks_of_descriptors },
  {},
};
