/*
 * Large directories that change while they are listed:
 *
 *     directory-changes empty DIRECTORY         removes each entry when it is listed; says how many there were
 *     directory-changes list DIRECTORY STAYING CHANGES
 *
 * The second expects files "stays N" and "goes N", N from 0 on, and makes so many changes in the course of the listing:
 * of each "goes N" it removes the even ones and renames the odd ones to "renamed N", and makes "made N". Of the STAYING
 * ones each must be listed exactly once, and no other name twice.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const char *what, const char *name) {
  printf("%s %s: %s\n", what, name, strerror(errno));
  return 1;
}

static bool is_dots(const char *name) { return !strcmp(name, ".") || !strcmp(name, ".."); }

static int empty(const char *directory) {
  DIR *dir = opendir(directory);
  struct dirent *entry;
  int removed = 0;
  if (!dir) return fail("cannot open", directory);
  while ((entry = readdir(dir))) {
    if (is_dots(entry->d_name)) continue;
    if (unlinkat(dirfd(dir), entry->d_name, 0) != 0) return fail("cannot remove", entry->d_name);
    removed++;
  }
  closedir(dir);
  if (rmdir(directory) != 0) return fail("cannot remove", directory);
  printf("%d\n", removed);
  return 0;
}

static int change(int directory, int number) {
  char name[64], new_name[64];
  snprintf(name, sizeof name, "made %d", number);
  if (mknodat(directory, name, S_IFREG | 0644, 0) != 0) return fail("cannot make", name);
  snprintf(name, sizeof name, "goes %d", number);
  snprintf(new_name, sizeof new_name, "renamed %d", number);
  if (number % 2 == 0 && unlinkat(directory, name, 0) != 0) return fail("cannot remove", name);
  if (number % 2 == 1 && renameat(directory, name, directory, new_name) != 0) return fail("cannot rename", name);
  return 0;
}

enum { STAYS, GOES, RENAMED, MADE, WORDS };
static const char *words[WORDS] = { "stays", "goes", "renamed", "made" };

static int list(const char *directory, int staying, int changes) {
  /* How often the names with each word were listed, by their number. */
  char *times[WORDS];
  int most = staying > changes ? staying : changes, listed = 0, changed = 0;
  for (int kind = 0; kind < WORDS; kind++) times[kind] = calloc(most, 1);
  DIR *dir = opendir(directory);
  struct dirent *entry;
  if (!dir) return fail("cannot open", directory);
  while ((entry = readdir(dir))) {
    if (is_dots(entry->d_name)) continue;
    char word[16];
    int number, kind = 0;
    if (sscanf(entry->d_name, "%15s %d", word, &number) != 2 || number < 0 || number >= most) {
      return fail("did not expect", entry->d_name);
    }
    while (kind < MADE && strcmp(words[kind], word)) kind++;
    if (times[kind][number]++ > 0) return fail("listed twice:", entry->d_name);
    if (++listed % ((staying + changes) / changes) == 0 && changed < changes) {
      if (change(dirfd(dir), changed++)) return 1;
    }
  }
  closedir(dir);
  for (int number = 0; number < staying; number++) {
    if (!times[STAYS][number]) {
      printf("not listed: stays %d\n", number);
      return 1;
    }
  }
  printf("%d of %d changes\n", changed, changes);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 3 && !strcmp(argv[1], "empty")) return empty(argv[2]);
  if (argc == 5 && !strcmp(argv[1], "list")) return list(argv[2], atoi(argv[3]), atoi(argv[4]));
  fprintf(stderr, "usage: directory-changes empty DIRECTORY | list DIRECTORY STAYING CHANGES\n");
  return 2;
}
