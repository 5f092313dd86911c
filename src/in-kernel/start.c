/*
 * The first process of a kernel in QEMU, alone in its initramfs: loads the modules that `/modules` names, makes the
 * host's tree the root, and becomes the program that the kernel's parameter `start` names.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/module.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel panics when its first process ends. */
static void fail(const char *what) {
  fprintf(stderr, "start: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int is_compressed(const char *name) {
  const char *end = strrchr(name, '.');
  return end != NULL && strcmp(end, ".ko") != 0;
}

static void load_modules(void) {
  FILE *list = fopen("/modules", "r");
  if (list == NULL)
    fail("/modules");
  char name[256];
  while (fscanf(list, "%255s", name) == 1) {
    int module = open(name, O_RDONLY | O_CLOEXEC);
    int flags = is_compressed(name) ? MODULE_INIT_COMPRESSED_FILE : 0;
    if (module < 0 || (syscall(SYS_finit_module, module, "", flags) < 0 && errno != EEXIST))
      fail(name);
    close(module);
  }
  fclose(list);
}

int main(void) {
  if (chdir("/") < 0)
    fail("/");
  load_modules();
  mkdir("/host", 0755);
  if (mount("host", "/host", "virtiofs", 0, NULL) < 0 || chdir("/host") < 0 ||
      mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0)
    fail("the host's tree");
  const char *start = getenv("start");
  if (start == NULL)
    start = "";
  execl(start, start, NULL);
  fail(start);
}
