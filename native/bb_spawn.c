/*
 * Runs commands of actions for bb_runner and leaves no process of them behind. It also does what may wait for a file
 * system for ever: it checks whether paths exist, and empties directories.
 *
 * Each request is a job of serve.h. Its standard input, which is empty, ends if it is cancelled or the runner has died.
 * It is answered once every process that the command started is gone:
 *
 *   exited CODE SIGNAL RUSAGE…     CODE is -1 if SIGNAL killed it; RUSAGE are the numbers of getrusage(2)
 *   failed STAGE ERRNO TEXT SUBJECT…   it was never started, or (STAGE "helper") how it ended is not known, since the
 *                                      helper's own process beside it was killed; TEXT is strerror(ERRNO)
 *
 * Asked to "probe", it reports what of how commands are to be held it cannot do here: as "failed", or as
 *
 *   probed SHORTCOMING…            sentences, or none
 *
 * An isolated command has a PID namespace, whose first process, a child of this one, inherits the command's orphans and
 * takes everything with it when it ends; and the other namespaces of isolate.h. Without isolation, which needs
 * CAP_SYS_ADMIN, this process becomes the parent of orphans and kills them; but a command of the same user can kill this
 * process first.
 *
 * A job's process touches no file of the action, since those may lie on a file system whose server does not answer. Its
 * child does, and can always be killed.
 */
#include "confine.h"
#include "empty_directory.h"
#include "isolate.h"
#include "message.h"
#include "serve.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* In the child: where to report why it could not become the command; closed by execve(2). */
static int report_fd;

struct limit {
  int resource;
  struct rlimit values;
};

/* How commands are held; the same for all of a runner's. */
struct hold {
  bool isolated;
  bool chroot_into_input_root;
  struct isolation isolation;
  struct confinement confinement;
};

struct run_request {
  struct hold hold;
  const char *build_directory;
  const char *input_root_directory;
  const char *temporary_directory;
  const char *working_directory;
  const char *stdout_path;
  const char *stderr_path;
  /* Absolute; empty for the one that this process is in. */
  const char *cgroup;
  /* Of its user; those that are fewer already stay so. */
  rlim_t maximum_processes;
  bool has_credentials;
  uid_t user;
  gid_t group;
  gid_t *additional_groups;
  size_t additional_group_count;
  struct limit *limits;
  size_t limit_count;
  char **arguments;
  char **environment;
};

struct check_request {
  const char *build_directory;
  const char *path;
  char **readiness_paths;
};

static void put_failure(struct reply *reply, const char *stage, int error, const char *subject) {
  put_string(reply, "failed");
  put_string(reply, stage);
  put_number(reply, error);
  put_string(reply, strerror(error));
  put_string(reply, subject);
}

/* Ends the child with a reply that says why it failed. */
static _Noreturn void fail(const char *stage, int error, const char *subject, const char *more) {
  struct reply reply;
  begin_reply(&reply);
  put_failure(&reply, stage, error, subject);
  if (more != NULL)
    put_string(&reply, more);
  send_reply(report_fd, &reply);
  _exit(127);
}

/*
 * Opens a path below a directory without following any symlink: a command could have placed one to make the runner,
 * which may be root, write elsewhere.
 */
static int open_beneath(int directory, const char *path, int flags, mode_t mode) {
  char *copy = strdup(path);
  if (copy == NULL)
    return -1;
  int current = fcntl(directory, F_DUPFD_CLOEXEC, 0);
  char *rest;
  char *name = strtok_r(copy, "/", &rest);
  if (name == NULL)
    name = ".";
  while (current >= 0 && name != NULL) {
    char *following = strtok_r(NULL, "/", &rest);
    int next = -1;
    if (strcmp(name, "..") == 0)
      errno = EXDEV;
    else if (following != NULL)
      next = openat(current, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    else
      next = openat(current, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
    int error = errno;
    close(current);
    errno = error;
    current = next;
    name = following;
  }
  int error = errno;
  free(copy);
  errno = error;
  return current;
}

static const char *find_variable(char **environment, const char *name) {
  size_t length = strlen(name);
  for (; *environment != NULL; environment++)
    if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
      return *environment + length + 1;
  return NULL;
}

/* Reports why execve(2) failed: ENOENT may also mean a missing interpreter. */
static _Noreturn void fail_exec(int error, const char *path) {
  fail(error == ENOENT && access(path, F_OK) == 0 ? "interpreter" : "exec", error, path, NULL);
}

static _Noreturn void execute(char **arguments, char **environment) {
  const char *name = arguments[0];
  if (strchr(name, '/') != NULL) {
    execve(name, arguments, environment);
    fail_exec(errno, name);
  }

  const char *path = find_variable(environment, "PATH");
  if (path == NULL)
    path = "";
  char *candidate = malloc(strlen(path) + strlen(name) + 2);
  char *refused = malloc(strlen(path) + strlen(name) + 2);
  if (candidate == NULL || refused == NULL)
    fail("exec", ENOMEM, name, NULL);
  int refusal = 0;
  for (const char *entry = path; *path != '\0' && entry != NULL;) {
    const char *end = strchrnul(entry, ':');
    int length = (int)(end - entry);
    sprintf(candidate, "%.*s%s%s", length, entry, length > 0 && end[-1] != '/' ? "/" : "", name);
    execve(candidate, arguments, environment);
    int error = errno;
    bool elsewhere = error == ENOENT || error == ENOTDIR || error == ENAMETOOLONG || error == ELOOP;
    if (!elsewhere && error != EACCES)
      fail_exec(error, candidate);
    struct stat status;
    bool present = stat(candidate, &status) == 0 && !S_ISDIR(status.st_mode);
    if (refusal == 0 && present) {
      refusal = error;
      strcpy(refused, candidate);
    }
    entry = *end == '\0' ? NULL : end + 1;
  }
  if (refusal != 0)
    fail_exec(refusal, refused);
  fail("search", ENOENT, name, path);
}

static void apply_credentials(const struct run_request *request) {
  if (setgroups(request->additional_group_count, request->additional_groups) != 0)
    fail("credentials", errno, "setgroups", NULL);
  if (setresgid(request->group, request->group, request->group) != 0)
    fail("credentials", errno, "setresgid", NULL);
  if (setresuid(request->user, request->user, request->user) != 0)
    fail("credentials", errno, "setresuid", NULL);
}

/* In the child: moves into a cgroup, and sees no other. */
static void enter_cgroup(const char *path) {
  int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  int processes = directory < 0 ? -1 : openat(directory, "cgroup.procs", O_WRONLY | O_CLOEXEC);
  if (processes < 0 || write(processes, "0", 1) != 1)
    fail("cgroup", errno, path, NULL);
  close(processes);
  close(directory);
}

/* In the child: what makes it the one to go when memory is short, rather than a worker or a runner; root only. */
static void offer_to_be_killed(void) {
  int score = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
  if (score < 0)
    return;
  char text[16] = "";
  if (read(score, text, sizeof text - 1) > 0 && atoi(text) < 500) {
    ssize_t written = write(score, "500", 3);
    (void)written;
  }
  close(score);
}

/* In the child: gives it keys of its own. A command that may not use keys needs none. */
static void leave_keyring(const struct confinement *confinement) {
  if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS &&
      (confinement->permissions & MAY_USE_KEYS) != 0)
    fail("confinement", errno, "keyctl", NULL);
}

/* In a child: closes the pipes to the runner, whose end must be seen even if this process waits for a file system. */
static void leave_pipes(void) {
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
    fail("stdin", errno, "/dev/null", NULL);
  close(null);
}

static void bound_processes(rlim_t maximum) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NPROC, &limit) != 0)
    fail("limits", errno, "getrlimit", NULL);
  limit.rlim_max = limit.rlim_max < maximum ? limit.rlim_max : maximum;
  limit.rlim_cur = limit.rlim_cur < maximum ? limit.rlim_cur : maximum;
  if (setrlimit(RLIMIT_NPROC, &limit) != 0)
    fail("limits", errno, "setrlimit", NULL);
}

static int open_build_directory(const char *path) {
  int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0)
    fail("build_directory", errno, path, NULL);
  return directory;
}

/*
 * In the child, isolated, without a root of its own: leaves of the machine only what a command may see, and opens the
 * input root as it is seen then.
 */
static int open_narrowed(const struct run_request *request) {
  char *entries[] = {(char *)request->input_root_directory, NULL, NULL};
  if (*request->temporary_directory != '\0')
    entries[1] = (char *)request->temporary_directory;
  const char *failed = narrow_machine(&request->hold.isolation, request->build_directory, entries);
  if (failed != NULL)
    fail("isolation", errno, failed, NULL);
  int directory = open_build_directory(request->build_directory);
  int input_root = open_beneath(directory, request->input_root_directory, O_PATH | O_DIRECTORY, 0);
  if (input_root < 0)
    fail("input_root_directory", errno, request->input_root_directory, NULL);
  close(directory);
  return input_root;
}

/* In the child: becomes the command. */
static _Noreturn void run(const struct run_request *request, pid_t parent) {
  const struct hold *hold = &request->hold;
  setsid();
  offer_to_be_killed();
  if (*request->cgroup != '\0') {
    enter_cgroup(request->cgroup);
    if (hold->isolated && unshare(CLONE_NEWCGROUP) != 0 && errno != EINVAL)
      fail("isolation", errno, "unshare", NULL);
  }
  int build_directory = open_build_directory(request->build_directory);
  /* A mount of its own, so that what is opened to be written does not keep the others from becoming read-only. */
  int outputs = hold->isolated ? open_tree(build_directory, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH |
                                                                    AT_RECURSIVE)
                               : build_directory;
  if (outputs < 0)
    fail("isolation", errno, "open_tree", NULL);
  int input_root = open_beneath(build_directory, request->input_root_directory, O_PATH | O_DIRECTORY, 0);
  if (input_root < 0)
    fail("input_root_directory", errno, request->input_root_directory, NULL);
  int create = O_WRONLY | O_APPEND | O_CREAT | O_EXCL;
  int out = open_beneath(outputs, request->stdout_path, create, 0666);
  if (out < 0)
    fail("stdout_path", errno, request->stdout_path, NULL);
  int err = open_beneath(outputs, request->stderr_path, create, 0666);
  if (err < 0)
    fail("stderr_path", errno, request->stderr_path, NULL);

  bound_processes(request->maximum_processes);
  for (size_t i = 0; i < request->limit_count; i++)
    if (setrlimit(request->limits[i].resource, &request->limits[i].values) != 0)
      fail("limits", errno, "setrlimit", NULL);
  if (hold->isolated && !hold->chroot_into_input_root)
    input_root = open_narrowed(request);
  if (fchdir(input_root) != 0)
    fail("input_root_directory", errno, request->input_root_directory, NULL);
  if (hold->chroot_into_input_root && hold->isolated) {
    const char *failed = enter_root(&hold->isolation, input_root);
    if (failed != NULL)
      fail("chroot", errno, failed, NULL);
  } else if (hold->chroot_into_input_root && chroot(".") != 0) {
    fail("chroot", errno, request->input_root_directory, NULL);
  }
  leave_keyring(&hold->confinement);
  /* Before a user is taken that may no longer shed capabilities for the set-user-ID programs to come. */
  const char *unconfined = confine(&hold->confinement);
  if (unconfined != NULL)
    fail("confinement", errno, unconfined, NULL);
  if (request->has_credentials)
    apply_credentials(request);
  if (*request->working_directory != '\0' && chdir(request->working_directory) != 0)
    fail("working_directory", errno, request->working_directory, NULL);

  /* Only now, as changing credentials clears it; the parent may have died before. */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent)
    _exit(127);

  if (dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0)
    fail("stdio", errno, "dup2", NULL);
  execute(request->arguments, request->environment);
}

/* In the child: reports whether paths exist, which may take for ever on a dead mount. */
static _Noreturn void check(const struct check_request *request) {
  struct stat status;
  for (char **path = request->readiness_paths; *path != NULL; path++)
    if (stat(*path, &status) != 0)
      fail("readiness_path", errno, *path, NULL);
  int build_directory = open(request->build_directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (build_directory < 0)
    fail("build_directory", errno, request->build_directory, NULL);
  if (open_beneath(build_directory, request->path, O_PATH, 0) < 0)
    fail("path", errno, request->path, NULL);
  _exit(0);
}

/* A directory that is made again, as it was, if a command has put something else in its place, and is then emptied. */
struct clean_request {
  const char *path;
  mode_t mode;
  uid_t user;
  gid_t group;
};

static struct clean_request take_clean_request(struct message *message) {
  struct clean_request request = {.path = take_string(message)};
  request.mode = (mode_t)take_number(message, 07777);
  request.user = (uid_t)take_number(message, UINT32_MAX);
  request.group = (gid_t)take_number(message, UINT32_MAX);
  return request;
}

/* In the child. */
static _Noreturn void empty(const char *path) {
  struct leftover left = empty_directory(path);
  if (left.error != 0)
    fail("empty", left.error, left.path, NULL);
  _exit(0);
}

/* In the child. */
static _Noreturn void clean(const struct clean_request *request) {
  int error = restore_directory(request->path, request->mode, request->user, request->group);
  if (error != 0)
    fail("clean", error, request->path, NULL);
  empty(request->path);
}

static bool is_child_of(const char *pid, pid_t parent) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return false;
  ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  if (size <= 0)
    return false;
  text[size] = '\0';
  /* The command's name, in parentheses, may hold any byte. */
  const char *name_end = strrchr(text, ')');
  int its_parent;
  return name_end != NULL && sscanf(name_end + 1, " %*c %d", &its_parent) == 1 && its_parent == parent;
}

/* Kills every child; false if none can be killed, as may be so with set-user-ID programs. */
static bool kill_children(void) {
  DIR *processes = opendir("/proc");
  if (processes == NULL)
    return false;
  int killed = 0, refused = 0;
  for (struct dirent *entry; (entry = readdir(processes)) != NULL;) {
    if (*entry->d_name < '1' || *entry->d_name > '9' || !is_child_of(entry->d_name, getpid()))
      continue;
    if (kill((pid_t)atoi(entry->d_name), SIGKILL) == 0)
      killed++;
    else
      refused++;
  }
  closedir(processes);
  return killed > 0 || refused == 0;
}

struct outcome {
  int status;
  struct rusage usage;
  bool cancelled;
};

/* Reaped between two looks at the children left, which may start others faster than they are reaped. */
enum { maximum_reaped = 64 };

/*
 * Waits until the command or standard input has ended, then kills whatever is left: as the subreaper (prctl(2)), this
 * process becomes the parent of each orphan, so it is done once it has no child left.
 */
static struct outcome supervise(pid_t command, int signals) {
  /* The outcome of a command that cannot be waited for. */
  struct outcome outcome = {.status = SIGKILL};
  struct pollfd watched[] = {{.fd = signals, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
  bool killing = false;
  for (;;) {
    siginfo_t ended = {0};
    int left = 0, reaped = 0;
    while (reaped < maximum_reaped && (left = waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT)) == 0 &&
           ended.si_pid != 0) {
      if (ended.si_pid == command) {
        killing = true;
        /* Before it is reaped: after that, its number may become another's. */
        kill(-command, SIGKILL);
        wait4(command, &outcome.status, 0, &outcome.usage);
      } else {
        waitpid(ended.si_pid, NULL, 0);
      }
      ended.si_pid = 0;
      reaped++;
    }
    if (left < 0 && errno == ECHILD)
      return outcome;
    if (killing && !kill_children())
      return outcome;
    int patience = reaped == maximum_reaped ? 0 : killing ? 100 : -1;
    if (poll(watched, killing ? 1 : 2, patience) <= 0)
      continue;
    if (watched[1].revents != 0 && !killing) {
      killing = outcome.cancelled = true;
      kill(-command, SIGKILL);
      kill(command, SIGKILL);
    }
    struct signalfd_siginfo signal;
    if (watched[0].revents != 0 && read(signals, &signal, sizeof signal) == sizeof signal &&
        signal.ssi_signo != SIGCHLD)
      killing = outcome.cancelled = true;
  }
}

static void put_outcome(struct reply *reply, const struct outcome *outcome) {
  const struct rusage *usage = &outcome->usage;
  bool signalled = WIFSIGNALED(outcome->status);
  put_string(reply, "exited");
  put_number(reply, signalled ? -1 : WEXITSTATUS(outcome->status));
  put_number(reply, signalled ? WTERMSIG(outcome->status) : 0);
  const long long numbers[] = {
      usage->ru_utime.tv_sec * 1000000LL + usage->ru_utime.tv_usec,
      usage->ru_stime.tv_sec * 1000000LL + usage->ru_stime.tv_usec,
      usage->ru_maxrss,
      usage->ru_minflt,
      usage->ru_majflt,
      usage->ru_nswap,
      usage->ru_inblock,
      usage->ru_oublock,
      usage->ru_msgsnd,
      usage->ru_msgrcv,
      usage->ru_nsignals,
      usage->ru_nvcsw,
      usage->ru_nivcsw,
  };
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    put_number(reply, numbers[i]);
}

/*
 * In the first process of the command's PID namespace: starts the command, reports how it ended, and ends, whereupon
 * the kernel kills what is left there. The command can see this process, but its signals have no effect here.
 */
static _Noreturn void be_init(const struct run_request *request) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  /* Whether the parent has already died: getppid(2) does not see a parent outside the namespace. */
  struct pollfd reader = {.fd = report_fd};
  if (poll(&reader, 1, 0) != 0)
    _exit(127);
  /* The command could reopen what this process has open. */
  dup2(STDIN_FILENO, STDERR_FILENO);
  const char *failed = enter_namespaces(&request->hold.isolation);
  if (failed != NULL)
    fail("isolation", errno, failed, NULL);
  pid_t command = fork();
  if (command < 0)
    fail("isolation", errno, "fork", NULL);
  if (command == 0)
    run(request, getppid());
  struct outcome outcome;
  while (wait4(-1, &outcome.status, 0, &outcome.usage) != command)
    ;
  struct reply report;
  begin_reply(&report);
  put_outcome(&report, &outcome);
  send_reply(report_fd, &report);
  _exit(0);
}

static struct reply probed;

static void put_shortcoming(const char *shortcoming) { put_string(&probed, shortcoming); }

/* In the first process of a PID namespace, if commands are isolated: reports what they need and cannot have. */
static _Noreturn void probe(const struct hold *hold) {
  begin_reply(&probed);
  put_string(&probed, "probed");
  tell_shortcomings(&hold->confinement, put_shortcoming);
  if (hold->isolated) {
    const char *failed = enter_namespaces(&hold->isolation);
    if (failed == NULL && hold->chroot_into_input_root)
      failed = enter_root(&hold->isolation, open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    else if (failed == NULL)
      failed = narrow_machine(&hold->isolation, NULL, NULL);
    if (failed != NULL)
      fail("isolation", errno, failed, NULL);
  }
  const char *unconfined = confine(&hold->confinement);
  if (unconfined != NULL)
    fail("confinement", errno, unconfined, NULL);
  send_reply(report_fd, &probed);
  _exit(0);
}

static struct hold take_hold(struct message *message) {
  struct hold hold;
  hold.isolated = take_number(message, 1) == 1;
  hold.chroot_into_input_root = take_number(message, 1) == 1;
  hold.isolation.mounts_proc = take_number(message, 1) == 1;
  hold.isolation.own_network = take_number(message, 1) == 1;
  hold.isolation.host_name = take_string(message);
  hold.isolation.writable_paths = take_strings(message);
  hold.isolation.devices = take_strings(message);
  hold.isolation.hidden_paths = take_strings(message);
  hold.confinement.capabilities = take_number(message, UINT64_MAX);
  hold.confinement.permissions = 0;
  hold.confinement.new_privileges = take_number(message, 1) == 1;
  char **permissions = take_strings(message);
  message->malformed |= hold.isolation.writable_paths == NULL || hold.isolation.devices == NULL ||
                        hold.isolation.hidden_paths == NULL || permissions == NULL;
  for (char **name = permissions; name != NULL && *name != NULL; name++) {
    uint32_t permission = parse_permission(*name);
    message->malformed |= permission == 0;
    hold.confinement.permissions |= permission;
  }
  for (char **path = hold.isolation.devices; path != NULL && *path != NULL; path++)
    message->malformed |= strncmp(*path, "/dev/", strlen("/dev/")) != 0;
  return hold;
}

static struct run_request take_run_request(struct message *message) {
  struct run_request request = {.hold = take_hold(message)};
  request.build_directory = take_string(message);
  request.input_root_directory = take_string(message);
  request.temporary_directory = take_string(message);
  request.working_directory = take_string(message);
  request.stdout_path = take_string(message);
  request.stderr_path = take_string(message);
  request.cgroup = take_string(message);
  request.maximum_processes = take_number(message, UINT64_MAX);
  request.has_credentials = take_number(message, 1) == 1;
  if (request.has_credentials) {
    request.user = (uid_t)take_number(message, UINT32_MAX - 1);
    request.group = (gid_t)take_number(message, UINT32_MAX - 1);
    request.additional_group_count = take_count(message, 1);
    request.additional_groups = calloc(request.additional_group_count + 1, sizeof(gid_t));
    for (size_t i = 0; request.additional_groups != NULL && i < request.additional_group_count; i++)
      request.additional_groups[i] = (gid_t)take_number(message, UINT32_MAX - 1);
    message->malformed |= request.additional_groups == NULL;
  }
  request.limit_count = take_count(message, 3);
  request.limits = calloc(request.limit_count + 1, sizeof(struct limit));
  for (size_t i = 0; request.limits != NULL && i < request.limit_count; i++) {
    request.limits[i].resource = (int)take_number(message, INT_MAX);
    request.limits[i].values.rlim_cur = take_number(message, UINT64_MAX);
    request.limits[i].values.rlim_max = take_number(message, UINT64_MAX);
  }
  request.arguments = take_strings(message);
  request.environment = take_strings(message);
  message->malformed |= request.limits == NULL || request.arguments == NULL || request.environment == NULL ||
                        request.arguments[0] == NULL;
  return request;
}

static struct check_request take_check_request(struct message *message) {
  struct check_request request = {.build_directory = take_string(message), .path = take_string(message)};
  request.readiness_paths = take_strings(message);
  message->malformed |= request.readiness_paths == NULL;
  return request;
}

static void set_default_signals(void) {
  sigset_t none;
  sigemptyset(&none);
  for (int number = 1; number < NSIG; number++)
    signal(number, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void die(const char *what) {
  perror(what);
  exit(1);
}

/* Does one request, in a process of its own. */
static int work(struct message *message) {
  const char *verb = take_string(message);
  bool runs = strcmp(verb, "run") == 0;
  bool probes = strcmp(verb, "probe") == 0;
  bool checks = strcmp(verb, "check") == 0;
  bool empties = strcmp(verb, "empty") == 0;
  bool cleans = strcmp(verb, "clean") == 0;
  struct run_request run_request = {0};
  struct check_request check_request = {0};
  struct clean_request clean_request = {0};
  if (cleans)
    clean_request = take_clean_request(message);
  if (probes)
    run_request.hold = take_hold(message);
  const char *to_empty = empties ? take_string(message) : "";
  if (runs)
    run_request = take_run_request(message);
  if (checks)
    check_request = take_check_request(message);
  if (message->malformed || message->next != message->end || !(runs || probes || checks || empties || cleans)) {
    fprintf(stderr, "bb_spawn: malformed request\n");
    return 2;
  }

  setsid();
  int report[2];
  int signals = take_signals();
  if (signals < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0 || pipe2(report, O_CLOEXEC) != 0)
    die("bb_spawn: cannot watch a command");
  report_fd = STDOUT_FILENO;
  if (run_request.hold.isolated && unshare(CLONE_NEWPID) != 0)
    fail("isolation", errno, "unshare", NULL);
  pid_t self = getpid();
  pid_t child = fork();
  if (child < 0)
    die("bb_spawn: fork");
  if (child == 0) {
    set_default_signals();
    report_fd = report[1];
    close(report[0]);
    leave_pipes();
    if (probes)
      probe(&run_request.hold);
    if (run_request.hold.isolated)
      be_init(&run_request);
    if (runs)
      run(&run_request, self);
    if (checks)
      check(&check_request);
    if (cleans)
      clean(&clean_request);
    empty(to_empty);
  }
  close(report[1]);

  struct outcome outcome = supervise(child, signals);
  struct message reported;
  struct reply reply;
  begin_reply(&reply);
  if (read_message(report[0], &reported))
    while (reported.next != reported.end)
      put_string(&reply, take_string(&reported));
  else if (run_request.hold.isolated && !outcome.cancelled)
    put_failure(&reply, "helper", EOWNERDEAD, "bb_spawn");
  else
    put_outcome(&reply, &outcome);
  return send_reply(STDOUT_FILENO, &reply) ? 0 : 1;
}

int main(void) {
  if (isatty(STDIN_FILENO)) {
    fprintf(stderr, "bb_spawn: bb_runner runs this program, with requests on its standard input\n");
    return 2;
  }
  setsid();
  /*
   * A command of the same user must neither trace this process and its children nor reach what they have open, or this
   * program itself, through /proc. execve(2) undoes it for the command.
   */
  prctl(PR_SET_DUMPABLE, 0);
  /* Otherwise the commands would inherit descriptors that were passed by mistake. */
  close_range(STDERR_FILENO + 1, ~0U, 0);
  return serve(work);
}
