/* Trees of directories. */
#include "checks.h"
#include <limits.h>

static int renamed_directories(void) {
  CHECK(mkdir("directory", 0755) == 0 && mkdir("directory/inner", 0755) == 0 && mkdir("empty", 0755) == 0);
  CHECK(place("file") == 0);
  CHECK(rename("directory", "directory/inner/x") < 0 && errno == EINVAL);
  CHECK(rename("empty", "directory") < 0 && (errno == ENOTEMPTY || errno == EEXIST));
  CHECK(rename("file", "empty") < 0 && errno == EISDIR);
  CHECK(rename("empty", "file") < 0 && errno == ENOTDIR);
  CHECK(rmdir("directory") < 0 && (errno == ENOTEMPTY || errno == EEXIST));
  CHECK(rename("directory", "empty") == 0 && access("empty/inner", F_OK) == 0);
  CHECK(unlink("empty") < 0 && errno == EISDIR);
  CHECK(rmdir("file") < 0 && errno == ENOTDIR);
  return 0;
}

static int removed_working_directory(void) {
  int start = open(".", O_RDONLY | O_DIRECTORY);
  CHECK(mkdir("removed", 0755) == 0 && chdir("removed") == 0 && rmdir("../removed") == 0);
  CHECK(open("file", O_CREAT | O_WRONLY, 0644) < 0 && (errno == ENOENT || errno == ESTALE));
  CHECK(fchdir(start) == 0 && access("removed", F_OK) < 0 && errno == ENOENT);
  close(start);
  return 0;
}

static int deep_paths(void) {
  char start[PATH_MAX], path[PATH_MAX];
  CHECK(getcwd(start, sizeof start));
  for (int depth = 0; depth < 40; depth++) {
    CHECK(mkdir("deep directory", 0755) == 0 && chdir("deep directory") == 0);
  }
  CHECK(place("file") == 0 && getcwd(path, sizeof path));
  CHECK(chdir(start) == 0 && chdir(path) == 0 && holds("file", CONTENT) && chdir(start) == 0);
  return 0;
}

/* 25 directories with names of 250 bytes: no path can say where the last one is. */
static int paths_beyond_path_max(void) {
  enum { DEPTH = 25, LENGTH = 250 };
  char name[LENGTH + 1] = "", path[DEPTH * (LENGTH + 1) + 1] = "";
  struct stat status;
  memset(name, 'd', LENGTH);
  int directory = open(".", O_RDONLY | O_DIRECTORY);
  for (int depth = 0; depth < DEPTH; depth++) {
    CHECK(mkdirat(directory, name, 0755) == 0);
    int inner = openat(directory, name, O_RDONLY | O_DIRECTORY);
    CHECK(inner >= 0 && close(directory) == 0);
    directory = inner;
    strcat(strcat(path, name), "/");
  }
  CHECK(strlen(path) > PATH_MAX && access(path, F_OK) < 0 && errno == ENAMETOOLONG);
  int file = openat(directory, "file", O_RDWR | O_CREAT | O_EXCL, 0644);
  CHECK(file >= 0 && write(file, CONTENT, 10) == 10 && close(file) == 0);
  CHECK(fstatat(directory, "file", &status, 0) == 0 && status.st_size == 10);
  CHECK(renameat(directory, "file", AT_FDCWD, "from the depth") == 0 && holds("from the depth", CONTENT));
  CHECK(linkat(AT_FDCWD, "from the depth", directory, "file", 0) == 0);
  CHECK(unlinkat(directory, "file", 0) == 0);
  for (int depth = 0; depth < DEPTH; depth++) {
    int outer = openat(directory, "..", O_RDONLY | O_DIRECTORY);
    CHECK(outer >= 0 && close(directory) == 0 && unlinkat(outer, name, AT_REMOVEDIR) == 0);
    directory = outer;
  }
  close(directory);
  CHECK(access(name, F_OK) < 0 && errno == ENOENT);
  return 0;
}

const struct check directory_checks[] = {
  { "renamed and removed directories", renamed_directories },
  { "a working directory that is removed", removed_working_directory },
  { "deep paths", deep_paths },
  { "deeper than any path can say", paths_beyond_path_max },
  {},
};
