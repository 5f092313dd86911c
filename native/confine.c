#include "confine.h"

#include <errno.h>
#include <linux/capability.h>
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

const char *confine(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
  if (syscall(SYS_capget, &header, sets) != 0)
    return "capget";
  uint64_t effective = (uint64_t)sets[1].effective << 32 | sets[0].effective;

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
