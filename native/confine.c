#include "confine.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(capability) (UINT64_C(1) << (capability))

enum {
  MAY_MOUNT = 1 << 1,
  MAY_MAKE_USER_NAMESPACES = 1 << 2,
  MAY_ENTER_NAMESPACES = 1 << 3,
  MAY_LOAD_MODULES = 1 << 4,
  MAY_LOAD_KERNELS = 1 << 5,
  MAY_SET_CLOCKS = 1 << 6,
  MAY_SET_HOST_NAME = 1 << 7,
  MAY_USE_BPF = 1 << 8,
  MAY_USE_PERF = 1 << 9,
  MAY_HANDLE_PAGE_FAULTS = 1 << 10,
  MAY_USE_IO_URING = 1 << 11,
  MAY_OPEN_BY_HANDLE = 1 << 12,
  MAY_READ_KERNEL_LOG = 1 << 13,
  MAY_REACH_HYPERVISOR = 1 << 14,
  MAY_USE_FOREIGN_ABI = 1 << 15,
};

static const struct {
  const char *name;
  uint32_t permission;
} names[] = {
    {"bpf", MAY_USE_BPF},
    {"clock", MAY_SET_CLOCKS},
    {"foreignAbi", MAY_USE_FOREIGN_ABI},
    {"hostName", MAY_SET_HOST_NAME},
    {"ioUring", MAY_USE_IO_URING},
    {"kernelLog", MAY_READ_KERNEL_LOG},
    {"kexec", MAY_LOAD_KERNELS},
    {"keys", MAY_USE_KEYS},
    {"modules", MAY_LOAD_MODULES},
    {"mount", MAY_MOUNT},
    {"openByHandle", MAY_OPEN_BY_HANDLE},
    {"perf", MAY_USE_PERF},
    {"setns", MAY_ENTER_NAMESPACES},
    {"userfaultfd", MAY_HANDLE_PAGE_FAULTS},
    {"userNamespaces", MAY_MAKE_USER_NAMESPACES},
    {"vsock", MAY_REACH_HYPERVISOR},
};

uint32_t parse_permission(const char *name) {
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(names[i].name, name) == 0)
      return names[i].permission;
  return 0;
}

#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467
#endif

static const struct {
  uint32_t call;
  uint32_t permission;
} refused[] = {
    {SYS_mount, MAY_MOUNT},
    {SYS_umount2, MAY_MOUNT},
    {SYS_pivot_root, MAY_MOUNT},
    {SYS_fsopen, MAY_MOUNT},
    {SYS_fspick, MAY_MOUNT},
    {SYS_fsconfig, MAY_MOUNT},
    {SYS_fsmount, MAY_MOUNT},
    {SYS_move_mount, MAY_MOUNT},
    {SYS_open_tree, MAY_MOUNT},
    {SYS_open_tree_attr, MAY_MOUNT},
    {SYS_mount_setattr, MAY_MOUNT},
    {SYS_setns, MAY_ENTER_NAMESPACES},

    {SYS_init_module, MAY_LOAD_MODULES},
    {SYS_finit_module, MAY_LOAD_MODULES},
    {SYS_delete_module, MAY_LOAD_MODULES},
    {SYS_kexec_load, MAY_LOAD_KERNELS},
    {SYS_kexec_file_load, MAY_LOAD_KERNELS},
    {SYS_settimeofday, MAY_SET_CLOCKS},
    {SYS_clock_settime, MAY_SET_CLOCKS},
    {SYS_adjtimex, MAY_SET_CLOCKS},
    {SYS_clock_adjtime, MAY_SET_CLOCKS},
    {SYS_sethostname, MAY_SET_HOST_NAME},
    {SYS_setdomainname, MAY_SET_HOST_NAME},

    /* What needs no capability, but has often been a way into the kernel, or tells of it, or leads out of the root. */
    {SYS_bpf, MAY_USE_BPF},
    {SYS_perf_event_open, MAY_USE_PERF},
    {SYS_userfaultfd, MAY_HANDLE_PAGE_FAULTS},
    {SYS_io_uring_setup, MAY_USE_IO_URING},
    {SYS_io_uring_enter, MAY_USE_IO_URING},
    {SYS_io_uring_register, MAY_USE_IO_URING},
    {SYS_open_by_handle_at, MAY_OPEN_BY_HANDLE},
    {SYS_syslog, MAY_READ_KERNEL_LOG},
    /* Keys belong to a user of the machine, whichever root it has. */
    {SYS_add_key, MAY_USE_KEYS},
    {SYS_request_key, MAY_USE_KEYS},
    {SYS_keyctl, MAY_USE_KEYS},
};

#if defined(__x86_64__) && defined(__LP64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define ARCHITECTURE 0
#endif

struct filter {
  unsigned short length;
  struct sock_filter instructions[2 * sizeof refused / sizeof *refused + 32];
};

static void append(struct filter *filter, struct sock_filter instruction) {
  filter->instructions[filter->length++] = instruction;
}

static void load(struct filter *filter, size_t offset) {
  append(filter, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
}

/* Ends the filter with this action, if the value that was loaded last compares so. */
static void end_if(struct filter *filter, int comparison, uint32_t value, uint32_t action) {
  append(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | comparison | BPF_K, value, 0, 1));
  append(filter, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* Refuses a call if its first argument, of which the lower half comes first, compares so. Loads another value. */
static void refuse_argument(struct filter *filter, uint32_t call, int comparison, uint32_t value) {
  append(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 4));
  load(filter, offsetof(struct seccomp_data, args[0]));
  end_if(filter, comparison, value, SECCOMP_RET_ERRNO | EPERM);
  append(filter, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
}

static void make_filter(struct filter *filter, uint32_t permissions) {
  uint32_t refuse = SECCOMP_RET_ERRNO | EPERM;
  filter->length = 0;
  load(filter, offsetof(struct seccomp_data, arch));
  /* Its numbers mean other calls: it is free of them all, or has none. */
  append(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0));
  append(filter, (struct sock_filter)BPF_STMT(
                     BPF_RET | BPF_K, (permissions & MAY_USE_FOREIGN_ABI) != 0 ? SECCOMP_RET_ALLOW : refuse));
  load(filter, offsetof(struct seccomp_data, nr));
  /* How a tracer has a call passed over. */
  end_if(filter, BPF_JEQ, UINT32_MAX, SECCOMP_RET_ALLOW);
#ifdef __x86_64__
  /* The x32 ABI, which has the same architecture. */
  end_if(filter, BPF_JGE, 0x40000000, (permissions & MAY_USE_FOREIGN_ABI) != 0 ? SECCOMP_RET_ALLOW : refuse);
#endif
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
    if ((permissions & refused[i].permission) == 0)
      end_if(filter, BPF_JEQ, refused[i].call, refuse);
  if ((permissions & MAY_REACH_HYPERVISOR) == 0)
    refuse_argument(filter, SYS_socket, BPF_JEQ, AF_VSOCK);
  if ((permissions & MAY_MAKE_USER_NAMESPACES) == 0) {
    /* Its flags are in memory, which no filter sees; C libraries then take clone(2). */
    end_if(filter, BPF_JEQ, SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS);
    refuse_argument(filter, SYS_clone, BPF_JSET, CLONE_NEWUSER);
    refuse_argument(filter, SYS_unshare, BPF_JSET, CLONE_NEWUSER);
  }
  append(filter, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
}

/* NULL if there is nothing in the way of a filter. */
static const char *missing_filter(void) {
  uint32_t action = SECCOMP_RET_ERRNO;
  if (ARCHITECTURE == 0)
    return "bb_spawn has a filter for x86-64 and little-endian arm64 only";
  if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0)
    return "this kernel has no seccomp filters";
  return NULL;
}

static const char *filter_system_calls(uint32_t permissions) {
  struct filter filter;
  make_filter(&filter, permissions);
  struct sock_fprog program = {.len = filter.length, .filter = filter.instructions};
  /* Nothing here keeps a secret in its own memory: kernels before 5.16 would slow the command down to guard it. */
  unsigned int flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) == 0 ? NULL : "seccomp";
}

/* Hence a program that is executed by root, or is set-user-ID, gets no other. */
static const char *drop_bounding_capabilities(uint64_t kept) {
  for (int capability = 0;; capability++) {
    int held = prctl(PR_CAPBSET_READ, capability);
    if (held < 0)
      return errno == EINVAL ? NULL : "PR_CAPBSET_READ";
    if (held == 1 && (kept & BIT(capability)) == 0 && prctl(PR_CAPBSET_DROP, capability) != 0)
      return "PR_CAPBSET_DROP";
  }
}

struct capabilities {
  struct __user_cap_header_struct header;
  struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
};

static bool read_capabilities(struct capabilities *own) {
  own->header = (struct __user_cap_header_struct){.version = _LINUX_CAPABILITY_VERSION_3};
  return syscall(SYS_capget, &own->header, own->sets) == 0;
}

static bool has(const struct capabilities *own, int capability) {
  return (own->sets[capability / 32].effective & (UINT32_C(1) << capability % 32)) != 0;
}

const char *confine(const struct confinement *confinement) {
  struct capabilities own;
  if (!read_capabilities(&own))
    return "capget";
  bool filtered = missing_filter() == NULL;
  /* The other way to a filter, which takes set-user-ID programs from the command. */
  if (filtered && !has(&own, CAP_SYS_ADMIN) && !confinement->new_privileges &&
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return "PR_SET_NO_NEW_PRIVS";
  if (filtered && (has(&own, CAP_SYS_ADMIN) || !confinement->new_privileges)) {
    const char *failed = filter_system_calls(confinement->permissions);
    if (failed != NULL)
      return failed;
  }
  if (has(&own, CAP_SETPCAP)) {
    const char *failed = drop_bounding_capabilities(confinement->capabilities);
    if (failed != NULL)
      return failed;
  }
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
    return "PR_CAP_AMBIENT";
  for (int half = 0; half < _LINUX_CAPABILITY_U32S_3; half++) {
    uint32_t kept = (uint32_t)(confinement->capabilities >> 32 * half);
    own.sets[half].permitted &= kept;
    own.sets[half].effective &= kept;
    /* Root needs none there, and another user's programs with file capabilities would gain them. */
    own.sets[half].inheritable = 0;
  }
  return syscall(SYS_capset, &own.header, own.sets) == 0 ? NULL : "capset";
}

void tell_shortcomings(const struct confinement *confinement, void (*tell)(const char *shortcoming)) {
  struct capabilities own;
  if (!read_capabilities(&own))
    return;
  if (missing_filter() != NULL)
    tell(missing_filter());
  else if (!has(&own, CAP_SYS_ADMIN) && confinement->new_privileges)
    tell("without CAP_SYS_ADMIN, set-user-ID programs and a filter of system calls exclude each other");
  else if (!has(&own, CAP_SYS_ADMIN))
    tell("without CAP_SYS_ADMIN, set-user-ID programs run as whoever starts them");
  bool beyond = false;
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++)
    beyond |= prctl(PR_CAPBSET_READ, capability) == 1 && (confinement->capabilities & BIT(capability)) == 0;
  if (beyond && !has(&own, CAP_SETPCAP) && (!has(&own, CAP_SYS_ADMIN) && confinement->new_privileges))
    tell("without CAP_SETPCAP, set-user-ID programs get all of the runner's bounding capabilities");
}
