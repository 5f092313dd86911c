/* The only program in synthetic input roots. As /bin/sh: "sh -c ''" does nothing; "sh -c 'read FILES STEP'" reads every
 * STEPth file of a root of FILES files (bench/synthetic-root.ts). As /usr/bin/env, by which Buildbarn's runner begins what
 * is chrooted: "env -- PROGRAM …". Status 1: a file could not be read, or there is no such program. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
  long files = 0, step = 1;
  if (argc > 2 && strcmp(argv[1], "--") == 0) {
    execv(argv[2], argv + 2);
    perror(argv[2]);
    return 1;
  }
  if (argc < 3 || sscanf(argv[2], "read %ld %ld", &files, &step) != 2) {
    return 0;
  }
  static char buffer[65536];
  for (long index = 0; index < files; index += step) {
    char path[100];
    long directory = index / 100;
    snprintf(path, sizeof path, "/tree/%ld/%ld/file-%ld.txt", directory / 100, directory % 100, index % 100);
    int file = open(path, O_RDONLY);
    ssize_t count = -1;
    while (file >= 0 && (count = read(file, buffer, sizeof buffer)) > 0) {
    }
    if (count < 0) {
      perror(path);
      return 1;
    }
    close(file);
  }
  return 0;
}
