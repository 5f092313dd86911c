/*
 * An action that attacks what runs it. `hostile-action attacks [PATH…]` tries each of a list of attacks in a process of
 * its own and prints a line for it: a name, and "succeeded" or the name of the error that held it. The paths are files of
 * the machine to be overwritten. Nothing it does harms a machine where it succeeds. The other first arguments are single
 * attacks, which main() lists.
 */
#include "hostile-action.h"

#include <dirent.h>
#include <ftw.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <net/ethernet.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/uio.h>

/* The first process of the PID namespace, which is the helper's. */
enum { helper = 1 };

static int mounts(const char *type) {
  mkdir("m", 0755);
  int error = outcome(mount("none", "m", type, 0, NULL));
  umount2("m", MNT_DETACH);
  return error;
}
static int mount_proc(void) { return mounts("proc"); }
static int mount_sysfs(void) { return mounts("sysfs"); }
static int mount_devtmpfs(void) { return mounts("devtmpfs"); }
static int mount_cgroup2(void) { return mounts("cgroup2"); }
static int mount_bpf(void) { return mounts("bpf"); }
static int mount_tmpfs(void) { return mounts("tmpfs"); }
static int bind_mount(void) {
  mkdir("m", 0755);
  int error = outcome(mount(".", "m", NULL, MS_BIND, NULL));
  umount2("m", MNT_DETACH);
  return error;
}
static int new_mount(void) { return outcome(syscall(SYS_fsopen, "tmpfs", 0)); }
static int copy_mount(void) { return outcome(syscall(SYS_open_tree, AT_FDCWD, ".", 1 /* OPEN_TREE_CLONE */)); }

/* Runs a program of its choice outside, when something crashes: by a /proc of its own, or the one that it was given. */
static int core_pattern_of_new_proc(void) {
  int error = (mkdir("m", 0755), outcome(mount("none", "m", "proc", 0, NULL)));
  if (error == 0)
    error = rewrite("m/sys/kernel/core_pattern");
  umount2("m", MNT_DETACH);
  return error;
}
static int core_pattern(void) { return rewrite("/proc/sys/kernel/core_pattern"); }
static int sysctl(void) { return rewrite("/proc/sys/vm/swappiness"); }
static int sysrq(void) { return write_to("/proc/sysrq-trigger", "h"); }
static int read_kcore(void) { return read_from("/proc/kcore"); }
static int read_kmsg(void) { return read_from("/proc/kmsg"); }
static int read_keys(void) { return read_from("/proc/keys"); }
static int kernel_log(void) {
  char text[64];
  return outcome(syscall(SYS_syslog, 3, text, sizeof text));
}

static int device(mode_t kind, unsigned int major_number, unsigned int minor_number) {
  unlink("device");
  if (mknod("device", kind | 0600, makedev(major_number, minor_number)) != 0)
    return errno;
  int fd = open("device", O_RDONLY);
  int error = errno;
  unlink("device");
  /* No such device: it was allowed. */
  return fd >= 0 || error == ENXIO || error == ENODEV ? 0 : error;
}
static int make_mem(void) { return device(S_IFCHR, 1, 1); }
static int make_kmsg(void) { return device(S_IFCHR, 1, 11); }
static int make_disk(void) { return device(S_IFBLK, 7, 0); }

static int found;
static int try_device(const char *path, const struct stat *status, int type, struct FTW *place) {
  (void)type, (void)place;
  bool memory = S_ISCHR(status->st_mode) && major(status->st_rdev) == 1 &&
                (minor(status->st_rdev) == 1 || minor(status->st_rdev) == 4 || minor(status->st_rdev) == 11);
  if (!memory && !S_ISBLK(status->st_mode))
    return 0;
  int fd = open(path, O_RDONLY | O_NONBLOCK);
  found = fd >= 0 || errno == ENXIO || errno == ENOMEDIUM ? 0 : errno;
  if (fd >= 0)
    close(fd);
  return found == 0;
}
static int open_disk_or_memory(void) {
  found = ENOENT;
  nftw("/dev", try_device, 16, FTW_PHYS);
  return found;
}

static int try_setting(const char *path, const struct stat *status, int type, struct FTW *place) {
  (void)type, (void)place;
  if (!S_ISREG(status->st_mode) || (status->st_mode & 0222) == 0)
    return 0;
  int fd = open(path, O_WRONLY | O_NONBLOCK);
  found = fd >= 0 ? 0 : errno;
  if (fd >= 0)
    close(fd);
  return found == 0;
}
static int change_sysfs(void) {
  found = ENOENT;
  nftw("/sys", try_setting, 16, FTW_PHYS);
  return found;
}
static int leave_cgroup(void) { return write_to("/sys/fs/cgroup/cgroup.procs", "0"); }

static int host_name(void) {
  char name[65] = "";
  gethostname(name, sizeof name);
  return outcome(sethostname(name, strlen(name)));
}
static int set_time(void) {
  struct timeval now;
  gettimeofday(&now, NULL);
  return outcome(settimeofday(&now, NULL));
}
static int set_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return outcome(clock_settime(CLOCK_REALTIME, &now));
}
static int adjust_time(void) { return outcome(adjtimex(&(struct timex){.modes = ADJ_OFFSET})); }

static int swap_on(void) { return reached(syscall(SYS_swapon, "nothing", 0)); }
static int swap_off(void) { return reached(syscall(SYS_swapoff, "nothing")); }
static int accounting(void) { return reached(syscall(SYS_acct, "/nothing")); }
static int restart(void) { return reached(reboot(RB_DISABLE_CAD)); }
static int load_module(void) { return reached(syscall(SYS_finit_module, -1, "", 0)); }
static int unload_module(void) { return reached(syscall(SYS_delete_module, "nothing", O_NONBLOCK)); }
static int load_kernel(void) { return reached(syscall(SYS_kexec_load, 0, 0, NULL, 0)); }
static int bpf(void) { return reached(syscall(SYS_bpf, 0, NULL, 0)); }
static int perf(void) { return reached(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0)); }
static int page_faults(void) { return reached(syscall(SYS_userfaultfd, O_CLOEXEC)); }
static int io_uring(void) { return reached(syscall(SYS_io_uring_setup, 0, NULL)); }
static int add_key(void) { return reached(syscall(SYS_add_key, "user", "hostile", "x", 1, -4 /* @u */)); }
static int search_key(void) { return reached(syscall(SYS_keyctl, 10, -4, "user", "hostile", 0)); }
static int request_key(void) { return reached(syscall(SYS_request_key, "user", "hostile", NULL, 0)); }
static int enter_namespace(void) { return reached(syscall(SYS_setns, -1, 0)); }

/* Any file of the file system that this one is on, among them blobs that are no input, by a handle it makes up. */
static int open_by_handle(void) {
  struct {
    struct file_handle head;
    unsigned char bytes[128];
  } handle = {.head.handle_bytes = 128};
  int mount_id;
  if (name_to_handle_at(AT_FDCWD, ".", &handle.head, &mount_id, 0) != 0)
    return errno;
  int directory = open(".", O_RDONLY);
  return reached(open_by_handle_at(directory, &handle.head, O_RDONLY));
}

static int unshare_user(void) { return outcome(unshare(CLONE_NEWUSER)); }
static int unshare_mounts(void) { return outcome(unshare(CLONE_NEWNS)); }
static int unshare_network(void) { return outcome(unshare(CLONE_NEWNET)); }
static int clone_user(void) {
  long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
  if (child == 0)
    _exit(0);
  return outcome(child);
}
static int clone3_user(void) {
  struct clone_args flags = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
  long child = syscall(SYS_clone3, &flags, sizeof flags);
  if (child == 0)
    _exit(0);
  return outcome(child);
}

static int capture_packets(void) { return outcome(socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL))); }
static int raw_socket(void) { return outcome(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)); }
static int vsock(void) { return reached(socket(AF_VSOCK, SOCK_STREAM, 0)); }

static int foreign_abi(void) {
#ifdef __x86_64__
  long result = syscall(0x40000000 | SYS_getpid);
  return result >= 0 || errno == ENOSYS ? 0 : errno;
#else
  return EPERM;
#endif
}

static int trace_helper(void) {
  int error = outcome(ptrace(PTRACE_SEIZE, helper, NULL, NULL));
  ptrace(PTRACE_DETACH, helper, NULL, NULL);
  return error;
}
static int read_helper(void) {
  char byte;
  struct iovec local = {&byte, 1}, remote = {(void *)0x1000, 1};
  return reached(process_vm_readv(helper, &local, 1, &remote, 1, 0));
}
static int take_descriptor(void) {
  int process = (int)syscall(SYS_pidfd_open, helper, 0);
  return outcome(syscall(SYS_pidfd_getfd, process, 0, 0));
}
static int helper_memory(void) { return outcome(open("/proc/1/mem", O_RDWR)); }
static int helper_root(void) { return outcome(chdir("/proc/1/root")); }
static int helper_directory(void) { return outcome(chdir("/proc/1/cwd")); }
static int helper_environment(void) { return outcome(open("/proc/1/environ", O_RDONLY)); }
static int helper_program(void) { return outcome(open("/proc/1/exe", O_RDONLY)); }
static int change_program(void) { return outcome(chmod("/proc/1/exe", 0755)); }

/* Calls open(2) on what a folder of the helper's in /proc has. */
static int open_all(const char *folder, int flags) {
  DIR *entries = opendir(folder);
  if (entries == NULL)
    return errno;
  int error = ENOENT;
  for (struct dirent *entry; error != 0 && (entry = readdir(entries)) != NULL;)
    if (*entry->d_name != '.')
      error = outcome(openat(dirfd(entries), entry->d_name, flags));
  closedir(entries);
  return error;
}
static int helper_libraries(void) { return open_all("/proc/1/map_files", O_WRONLY); }
static int forge_result(void) { return open_all("/proc/1/fd", O_WRONLY); }

static int leave_root(void) {
  struct stat root, here;
  stat("/", &root);
  mkdir("inner", 0755);
  int outer = open(".", O_RDONLY | O_DIRECTORY);
  if (chroot("inner") != 0 || fchdir(outer) != 0)
    return errno;
  for (int i = 0; i < 64; i++)
    if (chdir("..") != 0)
      return errno;
  stat(".", &here);
  return here.st_dev != root.st_dev || here.st_ino != root.st_ino ? 0 : ENOENT;
}

static int raise_priority(void) { return outcome(setpriority(PRIO_PROCESS, 0, -20)); }
static int real_time(void) { return outcome(sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){1})); }
static int raise_limit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NPROC, &limit);
  if (limit.rlim_max == RLIM_INFINITY)
    return EPERM;
  limit.rlim_max++;
  return outcome(setrlimit(RLIMIT_NPROC, &limit));
}
static int outlive_others(void) { return write_to("/proc/self/oom_score_adj", "-1000"); }

static const struct {
  const char *name;
  int (*try)(void);
} attacks[] = {
#define ATTACK(name) {#name, name}
    ATTACK(mount_proc),     ATTACK(mount_sysfs),      ATTACK(mount_devtmpfs),      ATTACK(mount_cgroup2),
    ATTACK(mount_bpf),      ATTACK(mount_tmpfs),      ATTACK(bind_mount),          ATTACK(new_mount),
    ATTACK(copy_mount),     ATTACK(core_pattern),     ATTACK(core_pattern_of_new_proc), ATTACK(sysctl),
    ATTACK(sysrq),          ATTACK(read_kcore),       ATTACK(read_kmsg),           ATTACK(read_keys),
    ATTACK(kernel_log),     ATTACK(make_mem),         ATTACK(make_kmsg),           ATTACK(make_disk),
    ATTACK(open_disk_or_memory), ATTACK(change_sysfs), ATTACK(leave_cgroup),       ATTACK(host_name),
    ATTACK(set_time),       ATTACK(set_clock),        ATTACK(adjust_time),         ATTACK(swap_on),
    ATTACK(swap_off),       ATTACK(accounting),       ATTACK(restart),             ATTACK(load_module),
    ATTACK(unload_module),  ATTACK(load_kernel),      ATTACK(bpf),                 ATTACK(perf),
    ATTACK(page_faults),    ATTACK(io_uring),         ATTACK(add_key),             ATTACK(search_key),
    ATTACK(request_key),    ATTACK(enter_namespace),  ATTACK(open_by_handle),      ATTACK(unshare_user),
    ATTACK(unshare_mounts), ATTACK(unshare_network),  ATTACK(clone_user),          ATTACK(clone3_user),
    ATTACK(capture_packets), ATTACK(raw_socket),      ATTACK(vsock),               ATTACK(foreign_abi),
    ATTACK(trace_helper),   ATTACK(read_helper),      ATTACK(take_descriptor),     ATTACK(helper_memory),
    ATTACK(helper_root),    ATTACK(helper_directory), ATTACK(helper_environment),  ATTACK(helper_program),
    ATTACK(change_program), ATTACK(helper_libraries), ATTACK(forge_result),        ATTACK(leave_root),
    ATTACK(raise_priority), ATTACK(real_time),        ATTACK(raise_limit),         ATTACK(outlive_others),
};

static int try_all(char **paths) {
  for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++)
    in_child(attacks[i].name, attacks[i].try);
  for (; *paths != NULL; paths++) {
    int error = outcome(open(*paths, O_WRONLY));
    say(*paths, error);
  }
  return 0;
}

int main(int count, char **arguments) {
  const char *wanted = count > 1 ? arguments[1] : "";
  const char *argument = count > 2 ? arguments[2] : "";
  return strcmp(wanted, "attacks") == 0    ? try_all(arguments + 2)
         : strcmp(wanted, "processes") == 0 ? start_processes(atoi(argument))
         : strcmp(wanted, "memory") == 0    ? take_memory((size_t)atoi(argument))
         : strcmp(wanted, "files") == 0     ? make_files(atoi(argument))
         : strcmp(wanted, "locks") == 0     ? take_locks(atoi(argument))
         : strcmp(wanted, "connect") == 0   ? connect_to(argument)
         : strcmp(wanted, "listen") == 0    ? listen_at(argument)
         : strcmp(wanted, "key") == 0       ? keep_key()
         : strcmp(wanted, "terminal") == 0  ? use_terminal()
                                            : 2;
}
