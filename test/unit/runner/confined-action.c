/*
 * An action that tries what a command may and may not do, and prints a line for each: a name, and 0 or the
 * name of the error. Built statically, so that it runs in an empty input root. Nothing it tries changes this machine
 * where it is allowed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *name, long result) {
  printf("%s %s\n", name, result >= 0 ? "0" : strerrorname_np(errno));
  fflush(stdout);
}

/* As say(), of a child that is made by flags of clone(2). */
static void say_cloned(const char *name, unsigned long flags) {
  long child = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
  if (child == 0)
    _exit(0);
  say(name, child);
  if (child > 0)
    waitpid((pid_t)child, NULL, 0);
}

/* As say(), of what would change this process. */
#define SAY_ELSEWHERE(name, result)                                                                                    \
  do {                                                                                                                 \
    pid_t child = fork();                                                                                              \
    if (child == 0) {                                                                                                  \
      say(name, result);                                                                                               \
      _exit(0);                                                                                                        \
    }                                                                                                                  \
    waitpid(child, NULL, 0);                                                                                           \
  } while (0)

static int capabilities(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct sets[2];
  if (syscall(SYS_capget, &header, sets) != 0)
    return 1;
  uint64_t bounding = 0, ambient = 0;
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++) {
    bounding |= (uint64_t)prctl(PR_CAPBSET_READ, capability) << capability;
    ambient |= (uint64_t)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0) << capability;
  }
#define SET(which) ((unsigned long long)sets[1].which << 32 | sets[0].which)
  printf("uid %u\neffective %llx\npermitted %llx\ninheritable %llx\nbounding %llx\nambient %llx\n", geteuid(),
         SET(effective), SET(permitted), SET(inheritable), (unsigned long long)bounding, (unsigned long long)ambient);
  return 0;
}

static int barred(void) {
  char name[256] = "";
  gethostname(name, sizeof name);
  mkdir("m", 0755);
  say("mount proc", mount("proc", "m", "proc", 0, NULL));
  say("mount tmpfs", mount("tmpfs", "m", "tmpfs", 0, NULL));
  say("bind", mount("/", "m", NULL, MS_BIND, NULL));
  say("umount2", umount2("m", MNT_DETACH));
  say("mknod mem", mknod("mem", S_IFCHR | 0600, makedev(1, 1)));
  say("mknod disk", mknod("disk", S_IFBLK | 0600, makedev(7, 0)));
  say("sethostname", sethostname(name, strlen(name)));
  say("settimeofday", syscall(SYS_settimeofday, NULL, NULL));
  SAY_ELSEWHERE("unshare mount", unshare(CLONE_NEWNS));
  SAY_ELSEWHERE("unshare network", unshare(CLONE_NEWNET));
  return 0;
}

static int filtered(void) {
  SAY_ELSEWHERE("unshare user", unshare(CLONE_NEWUSER));
  SAY_ELSEWHERE("unshare user and mount", unshare(CLONE_NEWUSER | CLONE_NEWNS));
  say_cloned("clone user", CLONE_NEWUSER);
  say("fsopen", syscall(SYS_fsopen, "proc", 0));
  say("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 0));
  say("setns", syscall(SYS_setns, -1, 0));
  say("bpf", syscall(SYS_bpf, 0, NULL, 0));
  say("perf_event_open", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
  say("userfaultfd", syscall(SYS_userfaultfd, O_CLOEXEC | 1));
  say("io_uring_setup", syscall(SYS_io_uring_setup, 0, NULL));
  say("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, 0));
  say("keyctl", syscall(SYS_keyctl, 0, -3, 0));
  say("syslog", syscall(SYS_syslog, 3, NULL, 0));
  say("io_uring_enter", syscall(SYS_io_uring_enter, -1, 0, 0, 0, NULL, 0));
  say("add_key", syscall(SYS_add_key, "user", "x", "x", 1, -4));
  say("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
  say("adjtimex", syscall(SYS_adjtimex, &(struct timex){0}));
  say("finit_module", syscall(SYS_finit_module, -1, "", 0));
  say("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
#ifdef __x86_64__
  say("x32 getpid", syscall(0x40000000 | SYS_getpid));
  long i386;
  __asm__ volatile("int $0x80" : "=a"(i386) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
  errno = i386 < 0 ? (int)-i386 : 0;
  say("i386 getpid", i386 < 0 ? -1 : 0);
#endif
  say("clone3", syscall(SYS_clone3, NULL, 0));
  return 0;
}

static int allowed(void) {
  int file = open("file", O_CREAT | O_RDWR, 0644);
  say("chown", fchown(file, 1234, 2345));
  say("write to another's file", open("file", O_RDWR));
  say("chmod set-user-ID", chmod("file", 04755));
  /* cap_net_raw+ep, revision 2. */
  uint32_t capability[] = {0x02000001, 1u << CAP_NET_RAW, 0, 0, 0};
  say("file capability", syscall(SYS_setxattr, "file", "security.capability", capability, sizeof capability, 0));
  say("mkfifo", mkfifo("fifo", 0600));
  say_cloned("clone", 0);
  say("fork", waitpid(fork() == 0 ? (_exit(0), 0) : -1, NULL, 0));
  SAY_ELSEWHERE("chroot", chroot("/"));
  SAY_ELSEWHERE("setgid", setgid(2345));
  SAY_ELSEWHERE("setuid", setuid(1234));
  SAY_ELSEWHERE("unshare files", unshare(CLONE_FILES));
  return 0;
}

/* Reads a directory to its end. */
static int list(const char *path) {
  DIR *directory = opendir(path);
  if (directory == NULL)
    return -1;
  do
    errno = 0;
  while (readdir(directory) != NULL);
  return errno == 0 ? 0 : -1;
}

/* With the machine's own /proc in the input root: what of this process's parent, the helper, can be had. */
static int parent(void) {
  FILE *status = fopen("/proc/self/stat", "r");
  int pid;
  if (status == NULL || fscanf(status, "%*d (%*[^)]) %*c %d", &pid) != 1)
    return 1;
  char path[64], target[256];
  snprintf(path, sizeof path, "/proc/%d", pid);
  if (chdir(path) != 0)
    return 1;
  char comm[64] = "";
  int fd = open("comm", O_RDONLY);
  printf("comm %.*s", (int)read(fd, comm, sizeof comm), comm);
  say("exe", readlink("exe", target, sizeof target));
  say("stat exe", stat("exe", &(struct stat){0}));
  say("open fd/0", open("fd/0", O_RDONLY));
  say("open fd/1", open("fd/1", O_WRONLY));
  say("maps", open("maps", O_RDONLY));
  say("map_files", list("map_files"));
  say("mem", open("mem", O_RDWR));
  say("root", chdir("root"));
  return 0;
}

/* What of the machine can be changed by files. */
static int machine(void) {
  const char *const files[] = {
      "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/sys/kernel/profiling",
      "/sys/kernel/mm/transparent_hugepage/enabled", "/etc/passwd", "/lib64/ld-linux-x86-64.so.2",
  };
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    if (access(files[i], F_OK) == 0)
      say(files[i], open(files[i], O_WRONLY));
  return 0;
}

/* How many bytes files have that would tell of the machine. */
static int secrets(void) {
  const char *const files[] = {"/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/kallsyms", "/proc/timer_list"};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    char byte;
    int file = open(files[i], O_RDONLY | O_NONBLOCK);
    if (file >= 0)
      printf("%s %zd\n", files[i], read(file, &byte, 1));
  }
  return 0;
}

int main(int count, char **arguments) {
  const char *wanted = count > 1 ? arguments[1] : "";
  return strcmp(wanted, "capabilities") == 0 ? capabilities()
         : strcmp(wanted, "barred") == 0     ? barred()
         : strcmp(wanted, "filtered") == 0   ? filtered()
         : strcmp(wanted, "allowed") == 0    ? allowed()
         : strcmp(wanted, "parent") == 0     ? parent()
         : strcmp(wanted, "machine") == 0    ? machine()
         : strcmp(wanted, "secrets") == 0    ? secrets()
                                             : 2;
}
