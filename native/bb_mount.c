/*
 * bb_mount [LISTENER]: owns a worker's mounts. Makes and removes them at the worker's request, and sees to them once the
 * worker is gone. It is a process of its own because the worker is itself the server of its mounts: a system call that
 * waits for the server must neither occupy the worker's threads nor keep it from exiting.
 *
 * Standard input carries requests (message.h), standard output a reply to each, in any order: ID ERRNO MOUNT, where
 * MOUNT is the ID that /proc/self/mountinfo has for the mount.
 *
 *   ID mount SOURCE TARGET TYPE FLAGS DATA SUPERVISED   mount(2); SUPERVISED 1: unmounted at the end of input
 *   ID unmount TARGET MOUNT                             umount2(2); gone, written back, or EBUSY
 *   ID detach TARGET MOUNT                              gone from this namespace; who uses it can go on to do so
 *   ID force-unmount TARGET MOUNT                       gone within 5 s, waiting for no server
 *   ID sync TARGET MOUNT                                syncfs(2); ECANCELED if a write of anybody's has failed
 *   ID statfs TARGET MOUNT                              statfs(2); EINTR if its server does not answer within 2 s
 *   ID look TARGET MOUNT                                statx(2) that asks the server; EAGAIN if one is under way
 *   ID lock PATH HOLDER                                 flock(2) until this process ends; EAGAIN if another has it
 *
 * The file that is locked has HOLDER in it. The six before it fail if MOUNT is not what is mounted at TARGET: with
 * ENOENT if it is not there any more, with EBUSY if something else is mounted upon it. What others have mounted is
 * never touched.
 *
 * A child carries out each request, so that one that waits does not delay the others and can be killed. One child stays
 * and carries out each look, since every action needs one.
 *
 * At the end of input supervised mounts leave the tree, and the lock is released. A mount that has left the tree can
 * still be in use: in other mount namespaces, and by processes that had files of it open. Without a server they would
 * wait for ever, even when killed, since closing a file is a call. LISTENER is the descriptor of the socket at which the
 * server of the mounts listens: there this process stands in for it as long as anybody uses them (stand_in.h).
 */
#include "message.h"
#include "stand_in.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>

enum {
  maximum_pending = 256,
  /* Not the ID of any mount. */
  no_mount = -1,
  /* Between two calls of umount2(MNT_FORCE): each fails one call of every process. */
  force_interval_milliseconds = 5,
  /* How long a request that was killed may take to end. */
  end_milliseconds = 500,
  /* How long a server may take to answer that is asked whether it is there. */
  statfs_milliseconds = 2000,
  /* How long calls that wait for a server which does not answer are failed, before the mount is detached. */
  force_milliseconds = 3000,
  detach_milliseconds = 1000,
};

struct supervised {
  char *target;
  int mount;
  struct supervised *next;
};

struct pending {
  pid_t pid; /* 0: free */
  char *id;
  char *target;
  int mount; /* For mount(2): the topmost mount at the target before. */
  bool to_supervise;
};

/* The process that looks at mounts, keeping none of them in use. */
struct looker {
  pid_t pid; /* 0: none */
  int socket;
  char *id; /* Of the request under way; NULL: none */
  int mount;
};

struct look {
  int mount;
  char target[PATH_MAX];
};

/* No child may have it open, or the lock would outlast this process. */
static int lock_file = -1;
static struct pending pending[maximum_pending];
static struct supervised *supervised;
static struct looker looker = {.socket = -1};

static long long now_milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void sleep_milliseconds(long milliseconds) {
  struct timespec duration = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  nanosleep(&duration, NULL);
}

/* fork(2); the child ends with its parent, and does not keep the worker's pipes open. */
static pid_t fork_child(void) {
  pid_t parent = getpid();
  pid_t child = fork();
  if (child != 0)
    return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent)
    _exit(EINTR);
  close(STDIN_FILENO);
  close(STDOUT_FILENO);
  if (lock_file >= 0)
    close(lock_file);
  lock_file = -1;
  return 0;
}

/* The ID of the mount that an open file is in; no_mount if that cannot be determined. */
static int mount_of(int fd) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
  FILE *information = fopen(path, "re");
  if (information == NULL)
    return no_mount;
  int mount = no_mount;
  char line[128];
  while (fgets(line, sizeof line, information) != NULL && sscanf(line, "mnt_id: %d", &mount) != 1)
    ;
  fclose(information);
  return mount;
}

/* Opens the root of the mount at target; -1 and ENOENT if another is mounted there. */
static int open_mount(const char *target, int mount) {
  int fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || mount_of(fd) == mount)
    return fd;
  close(fd);
  errno = ENOENT;
  return -1;
}

/*
 * 0 or an errno. Once the mount is open, syncfs(2) fails only to tell, once, that since it was last asked something could
 * not be written back, whosever it was; all that can be written is by then. The errno that it has for it may also be why
 * the mount could not be opened.
 */
static int sync_mount(const char *target, int mount) {
  int fd = open_mount(target, mount);
  if (fd < 0)
    return errno;
  return syncfs(fd) == 0 ? 0 : ECANCELED;
}

/* A child's errno, or EINTR if it did not end in time and was killed. */
static int wait_for(pid_t child, long milliseconds) {
  int status = 0;
  for (long long deadline = now_milliseconds() + milliseconds;;) {
    pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended != 0)
      return ended > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
    if (now_milliseconds() >= deadline)
      break;
    sleep_milliseconds(2);
  }
  kill(child, SIGKILL);
  return EINTR;
}

/* umount2(2) in a child, since it may wait for the server even after the mount has left the tree. */
static int unmount_within(const char *target, int flags, long milliseconds) {
  pid_t child = fork_child();
  if (child == 0)
    _exit(umount2(target, flags) == 0 ? 0 : errno);
  return child < 0 ? errno : wait_for(child, milliseconds);
}

/* The errno of statfs(2) on the mount, which asks its server each time; EINTR if that does not answer. */
static int statfs_mount(const char *target, int mount) {
  pid_t child = fork_child();
  if (child == 0) {
    struct statfs answer;
    int fd = open_mount(target, mount);
    _exit(fd >= 0 && fstatfs(fd, &answer) == 0 ? 0 : errno);
  }
  return child < 0 ? errno : wait_for(child, statfs_milliseconds);
}

/* Whether a mount point as /proc/self/mountinfo has it, with octal escapes and ended by a space, is the target. */
static bool is_escaped_path(const char *escaped, const char *target) {
  for (; *escaped != ' ' && *escaped != '\0'; target++) {
    unsigned char character = (unsigned char)*escaped;
    if (character == '\\') {
      character = (unsigned char)((escaped[1] - '0') << 6 | (escaped[2] - '0') << 3 | (escaped[3] - '0'));
      escaped += 3;
    }
    escaped++;
    if (character != (unsigned char)*target)
      return false;
  }
  return *target == '\0';
}

/*
 * The ID of the topmost mount at target, no_mount if there is none; and whether the given one is among those stacked
 * there, which it is taken to be if that cannot be determined. Asks no file system's server.
 */
static int uppermost_mount(const char *target, int mount, bool *present) {
  FILE *table = fopen("/proc/self/mountinfo", "re");
  *present = table == NULL;
  if (table == NULL)
    return no_mount;
  int uppermost = no_mount;
  char *line = NULL;
  size_t size = 0;
  while (getline(&line, &size, table) > 0) {
    const char *field = line;
    for (int i = 0; i < 4 && field != NULL; i++)
      field = strchr(field, ' ') == NULL ? NULL : strchr(field, ' ') + 1;
    if (field == NULL || !is_escaped_path(field, target))
      continue;
    uppermost = atoi(line);
    *present |= uppermost == mount;
  }
  free(line);
  fclose(table);
  return uppermost;
}

/* 0 if the mount is the topmost at target, else the errno that says what is there instead. */
static int look_for(int mount, const char *target) {
  bool present;
  if (uppermost_mount(target, mount, &present) == mount)
    return 0;
  return present ? EBUSY : ENOENT;
}

/*
 * Removes the mount, if it is the topmost at target, without waiting for its server. An open file keeps it in use for a
 * while, in which calls that wait for the server fail again and again, so that even who has many files to close can end.
 */
static int force_unmount(const char *target, int mount) {
  int error = look_for(mount, target);
  if (error != 0)
    return error;
  /* Neither needs the server. */
  int root = open(target, O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (long long until = now_milliseconds() + force_milliseconds; now_milliseconds() < until;) {
    umount2(target, MNT_FORCE | UMOUNT_NOFOLLOW);
    sleep_milliseconds(force_interval_milliseconds);
  }
  if (root >= 0)
    close(root);
  error = unmount_within(target, MNT_DETACH | UMOUNT_NOFOLLOW, detach_milliseconds);
  int there = look_for(mount, target);
  if (there != 0)
    return there == ENOENT ? 0 : there;
  return error;
}

static void supervise(char *target, int mount) {
  struct supervised *entry = malloc(sizeof *entry);
  if (entry == NULL) {
    perror("bb_mount: malloc");
    exit(1);
  }
  *entry = (struct supervised){target, mount, supervised};
  supervised = entry;
}

static void stop_supervising(struct supervised *unmounted) {
  struct supervised **link = &supervised;
  while (*link != unmounted)
    link = &(*link)->next;
  *link = unmounted->next;
  free(unmounted->target);
  free(unmounted);
}

/* Mounts that somebody else has unmounted: their IDs may become others'. */
static void forget_unmounted(void) {
  for (struct supervised *entry = supervised, *next; entry != NULL; entry = next) {
    next = entry->next;
    if (look_for(entry->mount, entry->target) == ENOENT)
      stop_supervising(entry);
  }
}

static struct pending *find_pending(pid_t pid) {
  for (size_t i = 0; i < maximum_pending; i++)
    if (pending[i].pid == pid)
      return &pending[i];
  return NULL;
}

static bool reply(const char *id, int error, int mount) {
  struct reply reply;
  begin_reply(&reply);
  put_string(&reply, id);
  put_number(&reply, error);
  put_number(&reply, mount);
  return send_reply(STDOUT_FILENO, &reply);
}

/*
 * The errno of having the kernel ask the mount's server for the root's attributes, however long it would trust those it
 * has: if the root has changed, it believes none of the names in it any more that it remembers.
 */
static int look_at(const struct look *look) {
  struct statx attributes;
  int flags = AT_STATX_FORCE_SYNC | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW;
  if (statx(AT_FDCWD, look->target, flags, STATX_CTIME | STATX_MNT_ID, &attributes) != 0)
    return errno;
  if (attributes.stx_mnt_id == (unsigned)look->mount)
    return 0;
  int error = look_for(look->mount, look->target);
  return error == 0 ? EAGAIN : error;
}

/* In the looker: answers each request with an errno, until there are no more. */
static _Noreturn void be_looker(int socket) {
  struct look look;
  while (recv(socket, &look, sizeof look, 0) == sizeof look) {
    int error = look_at(&look);
    if (send(socket, &error, sizeof error, MSG_NOSIGNAL) != sizeof error)
      break;
  }
  _exit(0);
}

/* 0 or the errno. */
static int start_looker(void) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0)
    return errno;
  pid_t pid = fork_child();
  if (pid == 0) {
    int socket = dup2(sockets[1], STDIN_FILENO);
    close_range(STDERR_FILENO + 1, ~0U, 0);
    be_looker(socket);
  }
  int error = errno;
  close(sockets[1]);
  if (pid < 0) {
    close(sockets[0]);
    return error;
  }
  looker = (struct looker){.pid = pid, .socket = sockets[0]};
  return 0;
}

/* Passes the request on to the looker, or answers it with an error. */
static bool begin_look(const char *id, const char *target, int mount) {
  struct look look = {.mount = mount};
  int error = 0;
  if (looker.id != NULL)
    error = EAGAIN;
  else if (strlen(target) >= sizeof look.target)
    error = ENAMETOOLONG;
  else if (looker.pid == 0)
    error = start_looker();
  if (error != 0)
    return reply(id, error, mount);
  looker.id = strdup(id);
  if (looker.id == NULL) {
    perror("bb_mount: strdup");
    exit(1);
  }
  looker.mount = mount;
  strcpy(look.target, target);
  /* If it has ended, that is seen from its end of the socket. */
  send(looker.socket, &look, sizeof look, MSG_NOSIGNAL);
  return true;
}

/* Passes on what the looker has answered; EINTR if it has ended. */
static void finish_look(void) {
  int error;
  bool ended = recv(looker.socket, &error, sizeof error, 0) != sizeof error;
  if (looker.id != NULL)
    reply(looker.id, ended ? EINTR : error, looker.mount);
  free(looker.id);
  looker.id = NULL;
  if (ended) {
    close(looker.socket);
    looker = (struct looker){.socket = -1};
  }
}

/* 0 or the errno. Whoever can open the file can lock it, so nobody else may open it. */
static int lock(const char *path, const char *holder) {
  int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
  if (fd < 0)
    return errno;
  size_t length = strlen(holder);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0 || ftruncate(fd, 0) != 0 || write(fd, holder, length) != (ssize_t)length) {
    int error = errno;
    close(fd);
    return error;
  }
  lock_file = fd;
  return 0;
}

/* Carries out one request, all but the lock in a child; false if it is not a request. */
static bool begin(struct message *request) {
  const char *id = take_string(request);
  const char *verb = take_string(request);
  if (strcmp(verb, "lock") == 0) {
    const char *path = take_string(request);
    const char *holder = take_string(request);
    if (request->malformed || request->next != request->end || lock_file >= 0)
      return false;
    return reply(id, lock(path, holder), no_mount);
  }
  bool mounts = strcmp(verb, "mount") == 0;
  const char *source = mounts ? take_string(request) : "";
  const char *target = take_string(request);
  const char *type = mounts ? take_string(request) : "";
  unsigned long flags = mounts ? take_number(request, UINT32_MAX) : 0;
  const char *data = mounts ? take_string(request) : "";
  bool to_supervise = mounts && take_number(request, 1) == 1;
  int mount_id = mounts ? no_mount : (int)take_number(request, INT_MAX);
  bool unmounts = strcmp(verb, "unmount") == 0;
  bool detaches = strcmp(verb, "detach") == 0;
  bool forces = strcmp(verb, "force-unmount") == 0;
  bool syncs = strcmp(verb, "sync") == 0;
  bool looks = strcmp(verb, "look") == 0;
  if (request->malformed || request->next != request->end ||
      !(mounts || unmounts || detaches || forces || syncs || looks || strcmp(verb, "statfs") == 0))
    return false;
  if (looks)
    return begin_look(id, target, mount_id);

  struct pending *slot = find_pending(0);
  if (slot == NULL)
    return reply(id, EAGAIN, mount_id);
  bool present;
  if (mounts)
    mount_id = uppermost_mount(target, no_mount, &present);
  int error = mounts ? 0 : look_for(mount_id, target);
  if (error != 0)
    return reply(id, error, mount_id);
  struct pending begun = {0, strdup(id), strdup(target), mount_id, to_supervise};
  if (begun.id == NULL || begun.target == NULL) {
    perror("bb_mount: strdup");
    exit(1);
  }
  begun.pid = fork_child();
  if (begun.pid == 0) {
    if (mounts)
      _exit(mount(source, target, type, flags, data) == 0 ? 0 : errno);
    if (unmounts)
      _exit(umount2(target, UMOUNT_NOFOLLOW) == 0 ? 0 : errno);
    if (detaches)
      _exit(umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 ? 0 : errno);
    if (forces)
      _exit(force_unmount(target, mount_id));
    _exit(syncs ? sync_mount(target, mount_id) : statfs_mount(target, mount_id));
  }
  if (begun.pid < 0) {
    error = errno;
    free(begun.id);
    free(begun.target);
    return reply(id, error, mount_id);
  }
  *slot = begun;
  return true;
}

/* Notes the outcome of a mount(2): one that was killed while it waited may have succeeded. */
static void finish_mount(struct pending *request, int error) {
  bool present;
  int uppermost = uppermost_mount(request->target, request->mount, &present);
  if (request->to_supervise && uppermost != request->mount && (error == 0 || error == EINTR)) {
    supervise(request->target, uppermost);
    request->target = NULL;
  }
  request->mount = uppermost;
}

/* Notes the outcome of a request. */
static void finish(struct pending *request, int status) {
  int error = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
  if (request->to_supervise)
    finish_mount(request, error);
  reply(request->id, error, request->mount);
  free(request->target);
  free(request->id);
  *request = (struct pending){0};
}

static void finish_ended(void) {
  int status;
  for (pid_t child; (child = waitpid(-1, &status, WNOHANG)) > 0;) {
    struct pending *request = find_pending(child);
    if (request != NULL)
      finish(request, status);
  }
}

/* Ends the requests under way; a mount(2) among them may still succeed, and must then be undone. */
static void end_pending(void) {
  bool left = false;
  for (size_t i = 0; i < maximum_pending; i++) {
    if (pending[i].pid == 0)
      continue;
    kill(pending[i].pid, SIGKILL);
    left = true;
  }
  for (long long deadline = now_milliseconds() + end_milliseconds; left && now_milliseconds() < deadline;) {
    sleep_milliseconds(5);
    finish_ended();
    left = false;
    for (size_t i = 0; i < maximum_pending; i++)
      left |= pending[i].pid != 0;
  }
}

/* Returns how many mounts could not be detached. */
static int detach_all(void) {
  int failures = 0;
  for (struct supervised *entry = supervised; entry != NULL; entry = entry->next)
    if (look_for(entry->mount, entry->target) == 0 && umount2(entry->target, MNT_DETACH | UMOUNT_NOFOLLOW) != 0)
      failures++;
  return failures;
}

/* Returns how many mounts could not be unmounted. */
static int force_unmount_all(void) {
  int failures = 0;
  for (struct supervised *entry = supervised; entry != NULL; entry = entry->next) {
    int error = force_unmount(entry->target, entry->mount);
    if (error != 0 && error != ENOENT)
      failures++;
  }
  return failures;
}

static pid_t detacher;
static int detacher_status;

/*
 * Whether the detacher has ended. Once the mounts have left the tree, which is before that, lets the lock and the
 * standard output go: whoever waits for either does not wait for those who still use the mounts.
 */
static bool is_detached(void) {
  static bool left_tree;
  if (detacher > 0 && waitpid(detacher, &detacher_status, WNOHANG) == detacher)
    detacher = 0;
  if (!left_tree)
    forget_unmounted();
  if (!left_tree && (supervised == NULL || detacher == 0)) {
    left_tree = true;
    close(STDOUT_FILENO);
    if (lock_file >= 0)
      close(lock_file);
    lock_file = -1;
  }
  return detacher == 0;
}

/* Detaches in a child, which may have to wait for answers. */
static int detach_and_stand_in(int listener) {
  detacher = fork_child();
  if (detacher == 0)
    _exit(detach_all());
  if (detacher < 0)
    return force_unmount_all();
  stand_in(listener, is_detached);
  return WIFEXITED(detacher_status) ? WEXITSTATUS(detacher_status) : 1;
}

int main(int argc, char **argv) {
  int listener = argc > 1 ? atoi(argv[1]) : -1;
  /* The worker's process group may be signalled as a whole, as by Ctrl-C, but this process must outlive it. */
  setsid();
  /* Memory that this process needs must not be had by making the kernel wait for the server. */
  prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
  signal(SIGINT, SIG_IGN);
  signal(SIGTERM, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  sigset_t child_ended;
  sigemptyset(&child_ended);
  sigaddset(&child_ended, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child_ended, NULL);
  int signals = signalfd(-1, &child_ended, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) {
    perror("bb_mount: signalfd");
    return 1;
  }

  /* Without the table, what others mount could be taken for what they have unmounted. */
  int table = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
  struct pollfd watched[] = {{.fd = signals, .events = POLLIN},
                             {.fd = STDIN_FILENO, .events = POLLIN},
                             {.fd = table, .events = POLLPRI},
                             {.events = POLLIN}};
  for (;;) {
    watched[3].fd = looker.socket;
    if (poll(watched, 4, -1) < 0 && errno != EINTR)
      break;
    if (watched[0].revents != 0) {
      struct signalfd_siginfo signal;
      while (read(signals, &signal, sizeof signal) > 0)
        ;
      finish_ended();
    }
    if (watched[2].revents != 0)
      forget_unmounted();
    if (watched[3].revents != 0)
      finish_look();
    if (watched[1].revents != 0) {
      struct message request;
      if (!read_message(STDIN_FILENO, &request))
        break;
      bool understood = begin(&request);
      free(request.memory);
      if (!understood) {
        fprintf(stderr, "bb_mount: malformed request\n");
        break;
      }
    }
  }

  end_pending();
  int failures = listener >= 0 ? detach_and_stand_in(listener) : force_unmount_all();
  return failures == 0 ? 0 : 1;
}
