/*
 * Load generator for bench/nfs: speaks NFSv4.1 sessions over one TCP connection, `depth` requests under way, one
 * per slot. Builds each request once and patches xid and sequenceid, so that it costs far less than any server.
 *
 *   load PORT KIND DEPTH SECONDS    prints: operations bytes seconds
 *
 * KIND: getattr lookup access read4k openclose createremove readdir read1m write1m
 *       echo echo-read1m echo-write1m: messages of the same sizes to and from a server that does nothing else
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 2 << 20, MAX_DEPTH = 128, IO = 1 << 20, ECHO_SIZE = 200 };

static int connection;
static unsigned char *in;
static size_t in_length, in_taken;
static uint32_t next_xid = 1;

struct message {
  unsigned char *bytes;
  size_t length;
  size_t count_at;
  uint32_t operations;
};

static void fail(const char *what) {
  fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "unexpected answer");
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void send_all(const unsigned char *bytes, size_t length) {
  while (length > 0) {
    ssize_t sent = write(connection, bytes, length);
    if (sent <= 0) fail("write");
    bytes += sent;
    length -= (size_t)sent;
  }
}

static uint32_t get(const unsigned char *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void set(unsigned char *at, uint32_t value) {
  at[0] = value >> 24;
  at[1] = value >> 16;
  at[2] = value >> 8;
  at[3] = value;
}

/* The next whole record; valid until the next call. */
static unsigned char *receive(size_t *length) {
  for (;;) {
    size_t have = in_length - in_taken;
    if (have >= 4) {
      size_t record = get(in + in_taken) & 0x7fffffff;
      if (have >= 4 + record) {
        unsigned char *start = in + in_taken + 4;
        in_taken += 4 + record;
        *length = record;
        return start;
      }
    }
    memmove(in, in + in_taken, have);
    in_length = have;
    in_taken = 0;
    ssize_t got = read(connection, in + in_length, BUFFER - in_length);
    if (got <= 0) fail("read");
    in_length += (size_t)got;
  }
}

static int buffered(void) {
  size_t have = in_length - in_taken;
  return have >= 4 && have >= 4 + (size_t)(get(in + in_taken) & 0x7fffffff);
}

static void u32(struct message *m, uint32_t value) {
  set(m->bytes + m->length, value);
  m->length += 4;
}

static void u64(struct message *m, uint64_t value) {
  u32(m, value >> 32);
  u32(m, (uint32_t)value);
}

static void bytes(struct message *m, const void *data, size_t length) {
  memcpy(m->bytes + m->length, data, length);
  m->length += length;
}

static void opaque(struct message *m, const void *data, size_t length) {
  u32(m, length);
  bytes(m, data, length);
  while (m->length & 3) m->bytes[m->length++] = 0;
}

static void text(struct message *m, const char *value) { opaque(m, value, strlen(value)); }

static void begin(struct message *m, size_t capacity) {
  m->bytes = malloc(capacity);
  m->length = 4;
  m->operations = 0;
  u32(m, 0);
  u32(m, 0);
  u32(m, 2);
  u32(m, 100003);
  u32(m, 4);
  u32(m, 1);
  u32(m, 1); /* AUTH_SYS, as root */
  u32(m, 28);
  u32(m, 0);
  opaque(m, "bench", 5);
  u32(m, 0);
  u32(m, 0);
  u32(m, 0);
  u32(m, 0);
  u32(m, 0);
  u32(m, 0); /* tag */
  u32(m, 1); /* minor version */
  m->count_at = m->length;
  u32(m, 0);
}

static void operation(struct message *m, uint32_t number) {
  u32(m, number);
  m->operations++;
}

static void end(struct message *m) {
  set(m->bytes, 0x80000000u | (uint32_t)(m->length - 4));
  set(m->bytes + m->count_at, m->operations);
  set(m->bytes + 4, next_xid++);
}

/* Reply header (record mark cut off), then COMPOUND4res: its status. */
static uint32_t status_of(const unsigned char *reply) { return get(reply + 24); }

/* Sends, and returns the first operation's result behind its number and status. */
static unsigned char *call(struct message *m) {
  size_t length;
  end(m);
  send_all(m->bytes, m->length);
  free(m->bytes);
  unsigned char *reply = receive(&length);
  errno = 0;
  if (status_of(reply) != 0) {
    fprintf(stderr, "load: status %u\n", status_of(reply));
    fail("compound");
  }
  return reply + 24 + 4 + 4 + 4 + 4 + 4;
}

static unsigned char session[16];
static uint32_t client_high, client_low;
static uint32_t sequence_ids[MAX_DEPTH];

enum { SEQUENCE = 53, PUTROOTFH = 24, PUTFH = 22, GETFH = 10, GETATTR = 9, LOOKUP = 15, ACCESS = 3, READ = 25,
       WRITE = 38, OPEN = 18, CLOSE = 4, CREATE = 6, REMOVE = 28, READDIR = 26, SAVEFH = 32 };

/* Where a request's sequenceid is: right behind the first operation's number and the session. */
static void sequence(struct message *m, uint32_t slot, int cache) {
  operation(m, SEQUENCE);
  bytes(m, session, 16);
  u32(m, ++sequence_ids[slot]);
  u32(m, slot);
  u32(m, MAX_DEPTH - 1);
  u32(m, cache);
}

static size_t sequence_at(const struct message *m) { return m->count_at + 4 + 4 + 16; }

static void channel(struct message *m) {
  u32(m, 0);
  u32(m, IO + 4096);
  u32(m, IO + 4096);
  u32(m, 4096);
  u32(m, 16);
  u32(m, MAX_DEPTH);
  u32(m, 0);
}

static void start_session(void) {
  struct message m;
  char owner[64];
  snprintf(owner, sizeof owner, "bench %d", getpid());
  begin(&m, 4096);
  operation(&m, 42);
  u64(&m, 1);
  text(&m, owner);
  u32(&m, 0x10000);
  u32(&m, 0);
  u32(&m, 0);
  unsigned char *result = call(&m);
  client_high = get(result);
  client_low = get(result + 4);
  uint32_t sequenceid = get(result + 8);
  begin(&m, 4096);
  operation(&m, 43);
  u32(&m, client_high);
  u32(&m, client_low);
  u32(&m, sequenceid);
  u32(&m, 0);
  channel(&m);
  channel(&m);
  u32(&m, 0x40000000);
  u32(&m, 1);
  u32(&m, 0);
  result = call(&m);
  memcpy(session, result, 16);
  begin(&m, 4096);
  sequence(&m, 0, 0);
  operation(&m, 58);
  u32(&m, 0);
  call(&m);
}

static unsigned char *skip_sequence(unsigned char *result) { return result + 36; }

struct handle {
  unsigned char bytes[128];
  uint32_t length;
};

static struct handle root;
static const char *export_name;

static void put_root(struct message *m) {
  if (root.length) {
    operation(m, PUTFH);
    opaque(m, root.bytes, root.length);
    return;
  }
  operation(m, PUTROOTFH);
  if (*export_name) {
    operation(m, LOOKUP);
    text(m, export_name);
  }
}

/* The handle in GETFH's result, which `result` points to with its number and status before. */
static void take_handle(unsigned char *result, struct handle *handle) {
  handle->length = get(result + 8);
  memcpy(handle->bytes, result + 12, handle->length);
}

static void find_root(void) {
  struct message m;
  begin(&m, 4096);
  sequence(&m, 0, 0);
  put_root(&m);
  operation(&m, GETFH);
  unsigned char *result = skip_sequence(call(&m)) + 8;
  if (*export_name) result += 8;
  take_handle(result, &root);
}

static void open_arguments(struct message *m, const char *name, uint32_t slot, int create) {
  char owner[32];
  snprintf(owner, sizeof owner, "owner %u", slot);
  operation(m, OPEN);
  u32(m, 0);
  u32(m, 3 | 0x400);
  u32(m, 0);
  u32(m, client_high);
  u32(m, client_low);
  text(m, owner);
  u32(m, create);
  if (create) {
    u32(m, 0);
    u32(m, 2); /* fattr4: mode */
    u32(m, 0);
    u32(m, 1 << 1);
    u32(m, 4);
    u32(m, 0644);
  }
  u32(m, 0);
  text(m, name);
}

static unsigned char stateid[16];

/* Opens (and makes) the file; its handle and stateid. */
static void open_file(const char *name, uint32_t slot, struct handle *handle) {
  struct message m;
  begin(&m, 4096);
  sequence(&m, 0, 0);
  put_root(&m);
  open_arguments(&m, name, slot, 1);
  operation(&m, GETFH);
  unsigned char *result = skip_sequence(call(&m)) + 8;
  memcpy(stateid, result + 8, 16);
  result += 8 + 16 + 20 + 4;
  uint32_t words = get(result);
  result += 4 + 4 * words;
  uint32_t delegation = get(result);
  result += 4;
  if (delegation == 3) {
    uint32_t why = get(result);
    result += 4 + (why == 1 || why == 2 ? 4 : 0);
  }
  take_handle(result, handle);
}

static void fill_file(const struct handle *handle, size_t length) {
  struct message m;
  begin(&m, length + 4096);
  sequence(&m, 0, 0);
  operation(&m, PUTFH);
  opaque(&m, handle->bytes, handle->length);
  operation(&m, WRITE);
  bytes(&m, stateid, 16);
  u64(&m, 0);
  u32(&m, 2);
  unsigned char *data = calloc(1, length);
  opaque(&m, data, length);
  free(data);
  call(&m);
}

/* What the Linux client asks for. */
static void attributes(struct message *m) {
  u32(m, 2);
  u32(m, 0x0010011a);
  u32(m, 0x00b0a23a);
}

static void directory_attributes(struct message *m) {
  u32(m, 2);
  u32(m, 0x0018091a);
  u32(m, 0x00b0a23a);
}

static void build(struct message *m, const char *kind, uint32_t slot, const struct handle *file) {
  char name[32];
  snprintf(name, sizeof name, "file %u", slot);
  begin(m, IO + 8192);
  if (!strcmp(kind, "createremove")) {
    sequence(m, slot, 1);
    put_root(m);
    operation(m, CREATE);
    u32(m, 2);
    snprintf(name, sizeof name, "made %u", slot);
    text(m, name);
    u32(m, 0);
    u32(m, 0);
    put_root(m);
    operation(m, REMOVE);
    text(m, name);
  } else if (!strcmp(kind, "openclose")) {
    sequence(m, slot, 1);
    put_root(m);
    open_arguments(m, name, slot, 0);
    operation(m, CLOSE);
    u32(m, 0);
    u32(m, 1); /* the current stateid */
    u32(m, 0);
    u32(m, 0);
    u32(m, 0);
  } else {
    sequence(m, slot, 0);
    if (!strcmp(kind, "lookup")) {
      put_root(m);
      operation(m, LOOKUP);
      text(m, name);
      operation(m, GETFH);
      operation(m, GETATTR);
      attributes(m);
    } else if (!strcmp(kind, "readdir")) {
      operation(m, PUTFH);
      opaque(m, file->bytes, file->length);
      operation(m, READDIR);
      u64(m, 0);
      u64(m, 0);
      u32(m, 32768);
      u32(m, IO);
      directory_attributes(m);
    } else {
      operation(m, PUTFH);
      opaque(m, file->bytes, file->length);
      if (!strcmp(kind, "getattr")) {
        operation(m, GETATTR);
        attributes(m);
      } else if (!strcmp(kind, "access")) {
        operation(m, ACCESS);
        u32(m, 0x1f);
        operation(m, GETATTR);
        attributes(m);
      } else if (!strcmp(kind, "read4k") || !strcmp(kind, "read1m")) {
        operation(m, READ);
        bytes(m, stateid, 16);
        u64(m, 0);
        u32(m, !strcmp(kind, "read4k") ? 4096 : IO);
      } else if (!strcmp(kind, "write1m")) {
        operation(m, WRITE);
        bytes(m, stateid, 16);
        u64(m, 0);
        u32(m, 0);
        u32(m, IO);
        memset(m->bytes + m->length, 'x', IO);
        m->length += IO;
      } else {
        fail("no such kind");
      }
    }
  }
  end(m);
}

/* A directory of 1,000 files. */
static void make_directory(struct handle *directory) {
  struct message m;
  begin(&m, 4096);
  sequence(&m, 0, 0);
  put_root(&m);
  operation(&m, CREATE);
  u32(&m, 2);
  text(&m, "directory");
  u32(&m, 2);
  u32(&m, 0);
  u32(&m, 1 << 1);
  u32(&m, 4);
  u32(&m, 0755);
  operation(&m, GETFH);
  unsigned char *result = skip_sequence(call(&m)) + 8 + 8 + 20;
  uint32_t words = get(result);
  take_handle(result + 4 + 4 * words, directory);
  for (int index = 0; index < 1000; index++) {
    char name[32];
    struct message c;
    snprintf(name, sizeof name, "entry number %d", index);
    begin(&c, 4096);
    sequence(&c, 0, 0);
    operation(&c, PUTFH);
    opaque(&c, directory->bytes, directory->length);
    open_arguments(&c, name, 0, 1);
    operation(&c, CLOSE);
    u32(&c, 0);
    u32(&c, 1);
    u32(&c, 0);
    u32(&c, 0);
    u32(&c, 0);
    call(&c);
  }
}

int main(int argc, char **argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: load PORT KIND DEPTH SECONDS [EXPORT]\n");
    return 2;
  }
  const char *kind = argv[2];
  uint32_t depth = (uint32_t)atoi(argv[3]);
  double seconds = atof(argv[4]);
  export_name = argc > 5 ? argv[5] : "";
  in = malloc(BUFFER);
  connection = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])) };
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(connection, (struct sockaddr *)&address, sizeof address)) fail("connect");
  int one = 1;
  setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);

  struct message requests[MAX_DEPTH];
  int echo = !strncmp(kind, "echo", 4);
  if (echo) {
    size_t size = strcmp(kind, "echo-write1m") ? ECHO_SIZE : ECHO_SIZE + IO;
    for (uint32_t slot = 0; slot < depth; slot++) {
      begin(&requests[slot], size);
      memset(requests[slot].bytes + requests[slot].length, 0, size - requests[slot].length);
      requests[slot].length = size;
      end(&requests[slot]);
    }
  } else {
    struct handle file;
    start_session();
    find_root();
    for (uint32_t slot = 0; slot < depth; slot++) {
      char name[32];
      snprintf(name, sizeof name, "file %u", slot);
      if (strcmp(kind, "hold")) open_file(name, slot, &file);
    }
    if (!strcmp(kind, "read1m") || !strcmp(kind, "read4k")) fill_file(&file, IO);
    if (!strcmp(kind, "readdir")) make_directory(&file);
    for (uint32_t slot = 0; slot < depth; slot++) build(&requests[slot], kind, slot, &file);
  }

  unsigned char *out = malloc(MAX_DEPTH * 1024);
  for (uint32_t slot = 0; slot < depth; slot++) {
    set(requests[slot].bytes + 4, slot);
    send_all(requests[slot].bytes, requests[slot].length);
  }
  uint64_t done = 0, received = 0;
  double start = now(), stop = start + seconds, at = start;
  while (at < stop) {
    size_t out_length = 0;
    /* All that has arrived is answered in one write. */
    do {
      size_t length;
      unsigned char *reply = receive(&length);
      uint32_t slot = echo ? (uint32_t)(done % depth) : get(reply);
      if (!echo && status_of(reply) != 0) {
        fprintf(stderr, "load: %s: status %u\n", kind, status_of(reply));
        return 1;
      }
      done++;
      received += length;
      struct message *m = &requests[slot];
      if (!echo) set(m->bytes + sequence_at(m), ++sequence_ids[slot]);
      if (m->length > 1024) {
        send_all(m->bytes, m->length);
      } else {
        memcpy(out + out_length, m->bytes, m->length);
        out_length += m->length;
      }
    } while (buffered());
    if (out_length) send_all(out, out_length);
    at = now();
  }
  printf("%llu %llu %f\n", (unsigned long long)done, (unsigned long long)received, at - start);
  return 0;
}
