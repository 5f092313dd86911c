/*
 * Owns a worker's mounts: makes and removes them at the worker's request, and removes them by force once the worker is
 * gone. It is a process of its own because the worker is itself the server of its mounts: a system call that waits for
 * the server must neither occupy the worker's threads nor keep it from exiting.
 *
 * Standard input carries requests (message.h), standard output a reply to each, in any order: ID ERRNO MOUNT, where
 * MOUNT is the ID that /proc/self/mountinfo has for the mount.
 *
 *   ID mount SOURCE TARGET TYPE FLAGS DATA SUPERVISED   mount(2); SUPERVISED 1: unmounted at the end of input
 *   ID unmount TARGET MOUNT                             umount2(2); gone, written back, or EBUSY
 *   ID force-unmount TARGET MOUNT                       gone within 5 s, waiting for no server
 *   ID sync TARGET MOUNT                                syncfs(2); ECANCELED if a write of anybody's has failed
 *   ID statfs TARGET MOUNT                              statfs(2); EINTR if its server does not answer within 2 s
 *   ID look TARGET MOUNT                                statx(2) that asks the server; EAGAIN if one is under way
 *   ID lock PATH HOLDER                                 flock(2) until this process ends; EAGAIN if another has it
 *
 * The file that is locked has HOLDER in it. The five before it fail if MOUNT is not what is mounted at TARGET: with
 * ENOENT if it is not there any more, with EBUSY if something else is mounted upon it. What others have mounted is
 * never touched; what others have unmounted is not kept in use.
 *
 * A child carries out each request, so that one that waits does not delay the others and can be killed. One child stays
 * and carries out each look, since every action needs one.
 *
 * Each supervised mount has an anchor: a process whose working directory is the mount's root. When the mount must go
 * although its server does not answer, it leaves the tree at once, while the anchor keeps a copy of it in a mount
 * namespace of its own: umount2(MNT_FORCE), which fails the calls that wait for the server, needs a mount to name.
 * Without it, whoever still had a file of the mount open would wait for ever when closing it, even when killed.
 */
#include "message.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>

enum {
  maximum_pending = 256,
  /* Not the ID of any mount. */
  no_mount = -1,
  /* Between two calls of umount2(MNT_FORCE). */
  force_interval_milliseconds = 50,
  /* How long an anchor goes on calling it. */
  anchor_milliseconds = 20000,
  /* How long an anchor may take to answer: it may itself wait for the server. */
  answer_milliseconds = 500,
  /* How long a server may take to answer that is asked whether it is there. */
  statfs_milliseconds = 2000,
  /* Without an anchor: how long until the mount is detached, in use or not. */
  force_milliseconds = 3000,
  detach_milliseconds = 1000,
};

struct anchor {
  pid_t pid; /* 0: none */
  int process; /* pidfd_open(2): once this process is reaped, its number may become another's. */
  int socket;
};

struct supervised {
  char *target;
  int mount;
  struct anchor anchor;
  struct supervised *next;
};

struct pending {
  pid_t pid; /* 0: free */
  char *id;
  char *target;
  int mount; /* For mount(2): the topmost mount at the target before. */
  bool to_supervise;
  bool unmounts;
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

/* Where an anchor keeps the mount that it has taken over, in the only other file system that it has left. */
static const char anchor_target[] = "/mount";

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
 * In the anchor, whose mount nobody else sees any more: again and again fails whatever waits for its server, and has
 * the kernel give up what was not written back. Then lets the mount go.
 */
static _Noreturn void fail_calls(void) {
  pid_t flusher = fork_child();
  if (flusher == 0) {
    int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _exit(fd < 0 || syncfs(fd) != 0 ? errno : 0);
  }
  for (long long until = now_milliseconds() + anchor_milliseconds; now_milliseconds() < until;) {
    umount2(anchor_target, MNT_FORCE);
    sleep_milliseconds(force_interval_milliseconds);
  }
  if (flusher > 0)
    kill(flusher, SIGKILL);
  if (chdir("/") == 0)
    unmount_within(anchor_target, MNT_FORCE, answer_milliseconds);
  _exit(0);
}

/*
 * In the anchor, in a mount namespace of its own: drops all of it but the mount it is in, now at anchor_target, so as
 * not to keep what others unmount meanwhile. The new root is mounted on /proc, which nobody can remove: removing it
 * would take the mounts away.
 */
static bool leave_other_mounts(void) {
  return mount("none", "/proc", "tmpfs", 0, NULL) == 0 && mkdir("/proc/mount", 0700) == 0 &&
         mkdir("/proc/old", 0700) == 0 && mount(".", "/proc/mount", NULL, MS_MOVE, NULL) == 0 &&
         syscall(SYS_pivot_root, "/proc", "/proc/old") == 0 && umount2("/old", MNT_DETACH) == 0;
}

/* In the anchor: stays in the mount at target until the socket closes, or takes the mount over when told to. */
static _Noreturn void be_anchor(const char *target, int mount_id, int socket) {
  char told;
  if (chdir(target) != 0)
    _exit(1);
  int directory = open(".", O_PATH | O_CLOEXEC);
  if (mount_of(directory) != mount_id)
    _exit(1);
  close(directory);
  if (read(socket, &told, 1) != 1 || unshare(CLONE_NEWNS) != 0 ||
      mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || !leave_other_mounts() ||
      write(socket, "", 1) != 1)
    _exit(1);
  close(socket);
  fail_calls();
}

/* Starts an anchor for the mount at target, without waiting for it to be there. */
static struct anchor start_anchor(const char *target, int mount) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
    return (struct anchor){0};
  pid_t pid = fork();
  if (pid == 0) {
    /* Closes the others' pipes and sockets, the worker's and other anchors', so that their ends are seen. */
    int socket = dup2(sockets[1], STDIN_FILENO);
    close_range(STDIN_FILENO + 1, ~0U, 0);
    lock_file = -1;
    be_anchor(target, mount, socket);
  }
  close(sockets[1]);
  int process = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
  if (process < 0) {
    /* The end of its socket will end it. */
    close(sockets[0]);
    return (struct anchor){0};
  }
  return (struct anchor){pid, process, sockets[0]};
}

/* Forgets an anchor, which then ends unless it has taken the mount over. */
static void release_anchor(struct anchor *anchor) {
  if (anchor->pid == 0)
    return;
  close(anchor->process);
  close(anchor->socket);
  *anchor = (struct anchor){0};
}

/* Ends an anchor that keeps the mount busy, not having taken it over. It may be a sibling of this process. */
static void stop_anchor(struct anchor *anchor) {
  if (anchor->pid == 0)
    return;
  struct pollfd ended = {.fd = anchor->process, .events = POLLIN};
  syscall(SYS_pidfd_send_signal, anchor->process, SIGKILL, NULL, 0);
  poll(&ended, 1, answer_milliseconds);
  release_anchor(anchor);
}

/* Has the anchor take its mount over; false if it cannot. */
static bool take_over(const struct anchor *anchor) {
  struct pollfd watched = {.fd = anchor->socket, .events = POLLIN};
  char answer;
  return anchor->pid != 0 && send(anchor->socket, "", 1, MSG_NOSIGNAL) == 1 &&
         poll(&watched, 1, answer_milliseconds) == 1 && read(anchor->socket, &answer, 1) == 1;
}

/*
 * Removes the mount, if it is the topmost at target, without waiting for its server. Without an anchor, which cannot
 * be started if entering the mount needs the server, it fails calls only as long as the mount may stay.
 */
static int force_unmount(const char *target, int mount, struct anchor anchor) {
  int error = look_for(mount, target);
  if (error != 0)
    return error;
  if (anchor.pid == 0)
    anchor = start_anchor(target, mount);
  bool taken_over = take_over(&anchor);
  if (!taken_over)
    stop_anchor(&anchor);
  long long force_until = now_milliseconds() + (taken_over ? 0 : force_milliseconds);
  long long detach_until = force_until + detach_milliseconds;
  do {
    bool detach = now_milliseconds() >= force_until;
    error = unmount_within(target, (detach ? MNT_DETACH : MNT_FORCE) | UMOUNT_NOFOLLOW, answer_milliseconds);
    int there = look_for(mount, target);
    if (there != 0)
      return there == ENOENT ? 0 : there;
    sleep_milliseconds(force_interval_milliseconds);
  } while ((error == EBUSY || error == EINTR) && now_milliseconds() < detach_until);
  return error;
}

static void supervise(char *target, int mount) {
  struct supervised *entry = malloc(sizeof *entry);
  if (entry == NULL) {
    perror("bb_mount");
    exit(1);
  }
  *entry = (struct supervised){target, mount, start_anchor(target, mount), supervised};
  supervised = entry;
}

static struct supervised *find_supervised(int mount) {
  struct supervised *entry = supervised;
  while (entry != NULL && entry->mount != mount)
    entry = entry->next;
  return entry;
}

static void stop_supervising(struct supervised *unmounted) {
  struct supervised **link = &supervised;
  while (*link != unmounted)
    link = &(*link)->next;
  *link = unmounted->next;
  release_anchor(&unmounted->anchor);
  free(unmounted->target);
  free(unmounted);
}

/* Ends the anchors of mounts that somebody else has unmounted: they may be all that keeps those in use. */
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
    perror("bb_mount");
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
  bool forces = strcmp(verb, "force-unmount") == 0;
  bool syncs = strcmp(verb, "sync") == 0;
  bool looks = strcmp(verb, "look") == 0;
  if (request->malformed || request->next != request->end ||
      !(mounts || unmounts || forces || syncs || looks || strcmp(verb, "statfs") == 0))
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
  struct pending begun = {0, strdup(id), strdup(target), mount_id, to_supervise, unmounts || forces};
  if (begun.id == NULL || begun.target == NULL) {
    perror("bb_mount");
    exit(1);
  }
  struct supervised *entry = mounts ? NULL : find_supervised(mount_id);
  if (unmounts && entry != NULL)
    stop_anchor(&entry->anchor);
  begun.pid = fork_child();
  if (begun.pid == 0) {
    if (mounts)
      _exit(mount(source, target, type, flags, data) == 0 ? 0 : errno);
    if (unmounts)
      _exit(umount2(target, UMOUNT_NOFOLLOW) == 0 ? 0 : errno);
    if (forces)
      _exit(force_unmount(target, mount_id, entry != NULL ? entry->anchor : (struct anchor){0}));
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
  struct supervised *entry = request->unmounts ? find_supervised(request->mount) : NULL;
  if (entry != NULL && error == 0)
    stop_supervising(entry);
  else if (entry != NULL && entry->anchor.pid == 0)
    entry->anchor = start_anchor(entry->target, entry->mount);
  if (request->to_supervise)
    finish_mount(request, error);
  reply(request->id, error, request->mount);
  free(request->target);
  free(request->id);
  *request = (struct pending){0};
}

/* Replaces an anchor that was killed, unless its mount must go. One that ended by itself could not start again. */
static void replace_anchor(pid_t ended, int status) {
  struct supervised *entry = supervised;
  while (entry != NULL && entry->anchor.pid != ended)
    entry = entry->next;
  if (entry == NULL)
    return;
  release_anchor(&entry->anchor);
  for (size_t i = 0; i < maximum_pending; i++)
    if (pending[i].pid != 0 && pending[i].unmounts && pending[i].mount == entry->mount)
      return;
  if (WIFSIGNALED(status))
    entry->anchor = start_anchor(entry->target, entry->mount);
}

static void finish_ended(void) {
  int status;
  for (pid_t child; (child = waitpid(-1, &status, WNOHANG)) > 0;) {
    struct pending *request = find_pending(child);
    if (request != NULL)
      finish(request, status);
    else
      replace_anchor(child, status);
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
  for (long long deadline = now_milliseconds() + answer_milliseconds; left && now_milliseconds() < deadline;) {
    sleep_milliseconds(5);
    finish_ended();
    left = false;
    for (size_t i = 0; i < maximum_pending; i++)
      left |= pending[i].pid != 0;
  }
}

int main(void) {
  /* The worker's process group may be signalled as a whole, as by Ctrl-C, but this process must outlive it. */
  setsid();
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

  /* Without the table, mounts that others unmount would stay in use. */
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
  int failures = 0;
  for (; supervised != NULL; supervised = supervised->next) {
    int error = force_unmount(supervised->target, supervised->mount, supervised->anchor);
    if (error != 0 && error != ENOENT)
      failures++;
  }
  return failures == 0 ? 0 : 1;
}
