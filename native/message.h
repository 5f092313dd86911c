/*
 * Messages between a helper and the process that started it: a 32-bit little-endian length, then that many
 * bytes of NUL-ended strings. Numbers are decimal, and a list is its length followed by its elements, so that
 * neither byte order nor struct layout is part of the protocol.
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* Arguments and environment of one execve(2) are far smaller. */
#define MESSAGE_MAXIMUM_BYTES (64u << 20)

/* An incoming message; strings are taken off its front, and point into it. */
struct message {
  char *memory;
  char *next;
  char *end;
  bool malformed;
};

/* Reads exactly count bytes; false at the end of the stream or on an error. */
static inline bool read_exactly(int fd, char *bytes, size_t count) {
  while (count > 0) {
    ssize_t got = read(fd, bytes, count);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return false;
    bytes += got;
    count -= (size_t)got;
  }
  return true;
}

/* Reads one message; the caller frees its memory. False if the stream has ended or is not a stream of messages. */
static inline bool read_message(int fd, struct message *message) {
  unsigned char header[4];
  if (!read_exactly(fd, (char *)header, sizeof header))
    return false;
  uint32_t size = header[0] | (uint32_t)header[1] << 8 | (uint32_t)header[2] << 16 | (uint32_t)header[3] << 24;
  if (size == 0 || size > MESSAGE_MAXIMUM_BYTES)
    return false;
  char *memory = malloc(size);
  if (memory == NULL)
    return false;
  if (!read_exactly(fd, memory, size) || memory[size - 1] != '\0') {
    free(memory);
    return false;
  }
  *message = (struct message){.memory = memory, .next = memory, .end = memory + size};
  return true;
}

/* The next string; an empty one, and the message marked malformed, if there is none. */
static inline char *take_string(struct message *message) {
  if (message->next == message->end) {
    message->malformed = true;
    return message->end - 1;
  }
  char *string = message->next;
  message->next += strlen(string) + 1;
  return string;
}

/* The next number; 0, and the message marked malformed, if there is none up to maximum. */
static inline unsigned long long take_number(struct message *message, unsigned long long maximum) {
  const char *string = take_string(message);
  char *end;
  errno = 0;
  unsigned long long number = strtoull(string, &end, 10);
  if (*string < '0' || *string > '9' || *end != '\0' || errno != 0 || number > maximum) {
    message->malformed = true;
    return 0;
  }
  return number;
}

/* The length of the list that follows, each element of which has the given number of strings. */
static inline size_t take_count(struct message *message, size_t strings_each) {
  return take_number(message, (size_t)(message->end - message->next) / strings_each);
}

/* The next list of strings, NULL-ended as execve(2) wants it; NULL if there is no memory. */
static inline char **take_strings(struct message *message) {
  size_t count = take_count(message, 1);
  char **strings = calloc(count + 1, sizeof *strings);
  for (size_t i = 0; strings != NULL && i < count; i++)
    strings[i] = take_string(message);
  return strings;
}

/* An outgoing message: small enough for one write(2) to a pipe to be atomic. */
struct reply {
  size_t size;
  char bytes[PIPE_BUF];
};

/* Begins a message. */
static inline void begin_reply(struct reply *reply) { reply->size = 4; }

/* Appends a string, truncated if the message is full. */
static inline void put_string(struct reply *reply, const char *string) {
  size_t room = sizeof reply->bytes - reply->size;
  if (room == 0)
    return;
  size_t length = strnlen(string, room - 1);
  memcpy(reply->bytes + reply->size, string, length);
  reply->size += length;
  reply->bytes[reply->size++] = '\0';
}

static inline void put_number(struct reply *reply, long long number) {
  char digits[24];
  snprintf(digits, sizeof digits, "%lld", number);
  put_string(reply, digits);
}

/* Writes the message; false if nobody reads it any more. */
static inline bool send_reply(int fd, struct reply *reply) {
  size_t size = reply->size - 4;
  for (int i = 0; i < 4; i++)
    reply->bytes[i] = (char)(size >> 8 * i & 0xff);
  for (size_t sent = 0; sent < reply->size;) {
    ssize_t wrote = write(fd, reply->bytes + sent, reply->size - sent);
    if (wrote < 0 && errno != EINTR)
      return false;
    if (wrote > 0)
      sent += (size_t)wrote;
  }
  return true;
}

#endif
