#include "hostile-action.h"

#include <pty.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

void say(const char *name, int error) {
  printf("%s %s\n", name, error == 0 ? "succeeded" : strerrorname_np(error));
  fflush(stdout);
}

void in_child(const char *name, int (*attack)(void)) {
  pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(attack());
  }
  int status = 0;
  waitpid(child, &status, 0);
  say(name, WIFEXITED(status) ? WEXITSTATUS(status) : EFAULT);
}

int outcome(long result) { return result >= 0 ? 0 : errno; }

int reached(long result) {
  bool refused = result < 0 && (errno == EPERM || errno == EACCES || errno == ENOSYS || errno == EROFS);
  return refused ? errno : 0;
}

int write_to(const char *path, const char *text) {
  int fd = open(path, O_WRONLY);
  if (fd < 0)
    return errno;
  int error = outcome(write(fd, text, strlen(text)));
  close(fd);
  return error;
}

int rewrite(const char *path) {
  char text[4096];
  int fd = open(path, O_RDONLY);
  if (fd < 0)
    return errno;
  ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  text[size < 0 ? 0 : size] = '\0';
  return write_to(path, text);
}

int read_from(const char *path) {
  int fd = open(path, O_RDONLY | O_NONBLOCK);
  if (fd < 0)
    return errno;
  char byte;
  ssize_t got = read(fd, &byte, 1);
  int error = got > 0 || (got < 0 && errno == EAGAIN) ? 0 : got < 0 ? errno : EIO;
  close(fd);
  return error;
}

int start_processes(int wanted) {
  int started = 0;
  for (; started < wanted; started++) {
    pid_t child = fork();
    if (child < 0)
      break;
    if (child == 0)
      for (;;)
        pause();
  }
  printf("processes %d\n", started);
  return 0;
}

int take_memory(size_t mebibytes) {
  size_t size = mebibytes << 20;
  char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return 1;
  for (size_t at = 0; at < size; at += 4096)
    memory[at] = 1;
  printf("memory %zu\n", mebibytes);
  return 0;
}

int make_files(int count) {
  char name[256], target[256], digits[16];
  memset(name, 'n', 255);
  name[255] = '\0';
  static const char kinds[] = "flds";
  for (int i = 0; i < count; i++)
    for (const char *kind = kinds; *kind != '\0'; kind++) {
      name[0] = *kind;
      memcpy(name + 1, digits, (size_t)snprintf(digits, sizeof digits, "%d", i));
      memcpy(target, name, sizeof target);
      target[0] = 'f';
      int made = *kind == 'f'   ? mknod(name, S_IFREG | 0644, 0)
                 : *kind == 'l' ? link(target, name)
                 : *kind == 'd' ? mkdir(name, 0755)
                                : symlink(target, name);
      if (made != 0) {
        printf("%c %d %s\n", *kind, i, strerrorname_np(errno));
        return 1;
      }
    }
  printf("files %d\n", count);
  return 0;
}

int take_locks(int count) {
  int file = open("locked", O_CREAT | O_RDWR, 0644);
  int description = open("locked", O_RDWR);
  for (int i = 0; i < count; i++) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2 * i, .l_len = 1};
    struct flock open_lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 2 * count + 2 * i, .l_len = 1};
    if (fcntl(file, F_SETLK, &lock) != 0 || fcntl(description, F_OFD_SETLK, &open_lock) != 0) {
      perror("fcntl");
      return 1;
    }
  }
  if (flock(file, LOCK_EX | LOCK_NB) != 0 && errno != EWOULDBLOCK && errno != EAGAIN) {
    perror("flock");
    return 1;
  }
  printf("locks %d\n", count);
  return 0;
}

static socklen_t address_of(const char *name, struct sockaddr_un *address) {
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  bool abstract = strchr(name, '/') == NULL;
  size_t length = strlen(name);
  memcpy(address->sun_path + (abstract ? 1 : 0), name, length);
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

int connect_to(const char *name) {
  struct sockaddr_un address;
  socklen_t size = address_of(name, &address);
  say("connect", outcome(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&address, size)));
  return 0;
}

int listen_at(const char *name) {
  struct sockaddr_un address;
  socklen_t size = address_of(name, &address);
  int listening = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(listening, (struct sockaddr *)&address, size) != 0 || listen(listening, 1) != 0)
    return 1;
  printf("listening\n");
  fflush(stdout);
  struct timeval second = {.tv_sec = 1};
  setsockopt(listening, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
  while (accept(listening, NULL, NULL) < 0 && access("done", F_OK) != 0)
    ;
  return 0;
}

int keep_key(void) {
  enum { session = -3, search = 10 };
  say("find", outcome(syscall(SYS_keyctl, search, session, "user", "hostile", 0)));
  say("add", outcome(syscall(SYS_add_key, "user", "hostile", "secret", 6, session)));
  say("find again", outcome(syscall(SYS_keyctl, search, session, "user", "hostile", 0)));
  return 0;
}

int use_terminal(void) {
  int master;
  pid_t child = forkpty(&master, NULL, NULL, NULL);
  if (child < 0) {
    perror("forkpty");
    return 1;
  }
  if (child == 0)
    _exit(isatty(0) && write(1, "on a terminal\n", 14) == 14 ? 0 : 1);
  char text[64];
  ssize_t got = read(master, text, sizeof text);
  printf("%.*s", got > 0 ? (int)got : 0, text);
  int status = 1;
  waitpid(child, &status, 0);
  return status;
}
