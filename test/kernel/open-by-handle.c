/*
 * open-by-handle FILE [OLD NEW]: opens a file by the handle that name_to_handle_at(2) has of it, after replacing some bytes
 * of that by others, both in hexadecimal; prints its content, or why it cannot be opened. Needs CAP_DAC_READ_SEARCH.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { maximum_handle = MAX_HANDLE_SZ, maximum_bytes = 64 };

static size_t parse_hex(const char *text, unsigned char *bytes) {
  size_t length = strlen(text) / 2;
  for (size_t i = 0; i < length && i < maximum_bytes; i++)
    if (sscanf(text + 2 * i, "%2hhx", &bytes[i]) != 1)
      errx(1, "%s is not hexadecimal", text);
  return length;
}

int main(int count, char **arguments) {
  if (count != 2 && count != 4)
    errx(1, "usage: open-by-handle FILE [OLD NEW]");
  union {
    struct file_handle head;
    char room[sizeof(struct file_handle) + maximum_handle];
  } handle = {.head.handle_bytes = maximum_handle};
  int mount_id;
  if (name_to_handle_at(AT_FDCWD, arguments[1], &handle.head, &mount_id, 0) != 0)
    err(1, "name_to_handle_at");
  int file = open(arguments[1], O_RDONLY);
  if (file < 0)
    err(1, "%s", arguments[1]);
  if (count == 4) {
    unsigned char old[maximum_bytes], new[maximum_bytes];
    size_t length = parse_hex(arguments[2], old);
    if (parse_hex(arguments[3], new) != length)
      errx(1, "the lengths differ");
    unsigned char *found = memmem(handle.head.f_handle, handle.head.handle_bytes, old, length);
    if (found == NULL)
      errx(1, "the handle does not have %s in it", arguments[2]);
    memcpy(found, new, length);
  }
  int opened = open_by_handle_at(file, &handle.head, O_RDONLY);
  if (opened < 0) {
    puts(strerror(errno));
    return 0;
  }
  char buffer[4096];
  for (ssize_t read_bytes; (read_bytes = read(opened, buffer, sizeof buffer)) > 0;)
    fwrite(buffer, 1, (size_t)read_bytes, stdout);
  return 0;
}
