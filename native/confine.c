#include "confine.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(capability) (UINT64_C(1) << (capability))

/*
 * Those that act on files, users and processes of the root file system alone. Others change the machine, look into
 * processes outside, or make what does.
 */
static const uint64_t kept_capabilities =
    BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) | BIT(CAP_KILL) | BIT(CAP_SETGID) |
    BIT(CAP_SETUID) | BIT(CAP_SETPCAP) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SYS_CHROOT) | BIT(CAP_AUDIT_WRITE) |
    BIT(CAP_SETFCAP);

/* Hence a program that is executed by root, or is set-user-ID, gets no other. */
static const char *drop_bounding_capabilities(void) {
  for (int capability = 0;; capability++) {
    int held = prctl(PR_CAPBSET_READ, capability);
    if (held < 0)
      return errno == EINVAL ? NULL : "PR_CAPBSET_READ";
    if (held == 1 && (kept_capabilities & BIT(capability)) == 0 && prctl(PR_CAPBSET_DROP, capability) != 0)
      return "PR_CAPBSET_DROP";
  }
}

#if defined(__x86_64__) && defined(__LP64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifdef ARCHITECTURE

#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, (action))
#define REFUSE RETURN(SECCOMP_RET_ERRNO | EPERM)
/* The next instruction is for the given system call only. */
#define IF_CALL(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1)
#define REFUSE_CALL(number) IF_CALL(number), REFUSE

static struct sock_filter filter[] = {
    LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
    REFUSE,
    LOAD(nr),
    /* How a tracer has a call passed over. */
    IF_CALL(UINT32_MAX),
    RETURN(SECCOMP_RET_ALLOW),
#ifdef __x86_64__
    /* The x32 ABI, which has the same architecture. */
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
    REFUSE,
#endif

    REFUSE_CALL(SYS_mount),
    REFUSE_CALL(SYS_umount2),
    REFUSE_CALL(SYS_pivot_root),
    REFUSE_CALL(SYS_fsopen),
    REFUSE_CALL(SYS_fspick),
    REFUSE_CALL(SYS_fsconfig),
    REFUSE_CALL(SYS_fsmount),
    REFUSE_CALL(SYS_move_mount),
    REFUSE_CALL(SYS_open_tree),
    REFUSE_CALL(SYS_open_tree_attr),
    REFUSE_CALL(SYS_mount_setattr),
    REFUSE_CALL(SYS_setns),

    REFUSE_CALL(SYS_init_module),
    REFUSE_CALL(SYS_finit_module),
    REFUSE_CALL(SYS_delete_module),
    REFUSE_CALL(SYS_kexec_load),
    REFUSE_CALL(SYS_kexec_file_load),
    REFUSE_CALL(SYS_settimeofday),
    REFUSE_CALL(SYS_clock_settime),
    REFUSE_CALL(SYS_adjtimex),
    REFUSE_CALL(SYS_clock_adjtime),
    REFUSE_CALL(SYS_sethostname),
    REFUSE_CALL(SYS_setdomainname),

    /* What needs no capability, but has often been a way into the kernel, or leads out of the root. */
    REFUSE_CALL(SYS_bpf),
    REFUSE_CALL(SYS_perf_event_open),
    REFUSE_CALL(SYS_userfaultfd),
    REFUSE_CALL(SYS_io_uring_setup),
    REFUSE_CALL(SYS_open_by_handle_at),
    /* Keys belong to a user of the machine, whichever root it has. */
    REFUSE_CALL(SYS_add_key),
    REFUSE_CALL(SYS_request_key),
    REFUSE_CALL(SYS_keyctl),

    /* Its flags are in memory, which no filter sees; C libraries then take clone(2). */
    IF_CALL(SYS_clone3),
    RETURN(SECCOMP_RET_ERRNO | ENOSYS),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 1, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare, 0, 2),
    /* The flags: the lower half, which comes first, of the first argument. */
    LOAD(args[0]),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEWUSER, 1, 0),
    RETURN(SECCOMP_RET_ALLOW),
    REFUSE,
};

const char *missing_filter(void) {
  uint32_t action = SECCOMP_RET_ERRNO;
  if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0)
    return "this kernel has no seccomp filters";
  return NULL;
}

/* Needs CAP_SYS_ADMIN; the other way, PR_SET_NO_NEW_PRIVS, would take set-user-ID programs from the command. */
static const char *filter_system_calls(void) {
  struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
  /* Nothing here keeps a secret in its own memory: kernels before 5.16 would slow the command down to guard it. */
  unsigned int flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) == 0 ? NULL : "seccomp";
}

#else

const char *missing_filter(void) {
  return "bb_spawn has a filter for x86-64 and little-endian arm64 only";
}

static const char *filter_system_calls(void) { return NULL; }

#endif

const char *confine(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
  if (syscall(SYS_capget, &header, sets) != 0)
    return "capget";
  uint64_t effective = (uint64_t)sets[1].effective << 32 | sets[0].effective;

  if ((effective & BIT(CAP_SYS_ADMIN)) != 0 && missing_filter() == NULL) {
    const char *failed = filter_system_calls();
    if (failed != NULL)
      return failed;
  }
  if ((effective & BIT(CAP_SETPCAP)) != 0) {
    const char *failed = drop_bounding_capabilities();
    if (failed != NULL)
      return failed;
  }
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
    return "PR_CAP_AMBIENT";
  for (int half = 0; half < _LINUX_CAPABILITY_U32S_3; half++) {
    uint32_t kept = (uint32_t)(kept_capabilities >> 32 * half);
    sets[half].permitted &= kept;
    sets[half].effective &= kept;
    /* Root needs none there, and another user's programs with file capabilities would gain them. */
    sets[half].inheritable = 0;
  }
  return syscall(SYS_capset, &header, sets) == 0 ? NULL : "capset";
}
