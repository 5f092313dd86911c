#include "stand_in.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
  /* Linux makes one to a server, or as many as the mount option nconnect says: 16 at most. */
  maximum_connections = 64,
  interval_milliseconds = 100,
  call_message = 0,
  reply_message = 1,
  message_accepted = 0,
  program_unavailable = 1,
  /* What Linux's client sends last of all, as the only operation of a COMPOUND (RFC 8881, section 18.50). */
  destroy_client_id = 57,
  /* How long a client that the kernel does not list any more may take to say so: it connects again in its own time. */
  last_words_milliseconds = 60000,
};

static const uint32_t last_fragment = 0x80000000;

struct connection {
  int socket;
  /* The record mark of the fragment under way (RFC 5531, section 11), and how many of its bytes there are. */
  uint32_t mark;
  int mark_bytes;
  /* How much of the fragment is to come. */
  uint32_t left;
  /* Transaction ID and message type, in network byte order, and how many of their bytes there are. */
  unsigned char start[8];
  size_t start_bytes;
  /* The call's last bytes: of a COMPOUND of DESTROY_CLIENTID the number of operations, its number and its argument. */
  unsigned char end[16];
};

static struct connection connections[maximum_connections];
static size_t connection_count;

static void accept_connection(int listener) {
  int socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (socket >= 0)
    connections[connection_count++] = (struct connection){.socket = socket};
}

/* Whether the client has no more to say than it has said. */
static bool is_destroyed;

/* Answers the call that has come to its end. A reply, of which there is none to await, is left alone. */
static bool answer(const struct connection *connection) {
  uint32_t start[2];
  memcpy(start, connection->start, sizeof start);
  if (connection->start_bytes < sizeof start || ntohl(start[1]) != call_message)
    return true;
  uint32_t end[4];
  memcpy(end, connection->end, sizeof end);
  is_destroyed = ntohl(end[0]) == 1 && ntohl(end[1]) == destroy_client_id;
  /* The verifier is AUTH_NONE, without a body. */
  uint32_t reply[] = {htonl(last_fragment | 6 * sizeof(uint32_t)), start[0],       htonl(reply_message),
                      htonl(message_accepted), 0, 0, htonl(program_unavailable)};
  return send(connection->socket, reply, sizeof reply, MSG_NOSIGNAL) == sizeof reply;
}

/* Keeps the last bytes of all that it is given. */
static void keep_end(struct connection *connection, const unsigned char *bytes, size_t count) {
  size_t size = sizeof connection->end;
  size_t fresh = count < size ? count : size;
  memmove(connection->end, connection->end + fresh, size - fresh);
  memcpy(connection->end + size - fresh, bytes + count - fresh, fresh);
}

/* False if the connection is of no use any more. */
static bool take(struct connection *connection, const unsigned char *bytes, size_t count) {
  while (count > 0) {
    if (connection->mark_bytes < 4) {
      connection->mark = connection->mark << 8 | *bytes++;
      count--;
      if (++connection->mark_bytes < 4)
        continue;
      connection->left = connection->mark & ~last_fragment;
    } else {
      size_t taken = count < connection->left ? count : connection->left;
      size_t missing = sizeof connection->start - connection->start_bytes;
      size_t kept = taken < missing ? taken : missing;
      memcpy(connection->start + connection->start_bytes, bytes, kept);
      connection->start_bytes += kept;
      keep_end(connection, bytes, taken);
      connection->left -= (uint32_t)taken;
      bytes += taken;
      count -= taken;
    }
    if (connection->left > 0)
      continue;
    connection->mark_bytes = 0;
    if ((connection->mark & last_fragment) == 0)
      continue;
    if (!answer(connection))
      return false;
    connection->start_bytes = 0;
  }
  return true;
}

/* False if the connection has ended. */
static bool serve(struct connection *connection) {
  static unsigned char bytes[65536];
  ssize_t count = recv(connection->socket, bytes, sizeof bytes, 0);
  return count > 0 && take(connection, bytes, (size_t)count);
}

/* Whether a client of this network namespace has mounts of a server at the port, in use anywhere. */
static bool has_clients(unsigned port) {
  FILE *servers = fopen("/proc/thread-self/net/nfsfs/servers", "re");
  if (servers == NULL)
    return false;
  bool found = false;
  char line[512];
  while (fgets(line, sizeof line, servers) != NULL) {
    unsigned of_line;
    found |= sscanf(line, "v%*u %*s %x", &of_line) == 1 && of_line == port;
  }
  fclose(servers);
  return found;
}

static long long now_milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static unsigned port_of(int listener) {
  struct sockaddr_in address;
  socklen_t size = sizeof address;
  return getsockname(listener, (struct sockaddr *)&address, &size) == 0 ? ntohs(address.sin_port) : 0;
}

/* Accepts and answers what has come, waiting up to so many milliseconds for it. */
static void take_what_comes(int listener, int milliseconds) {
  struct pollfd watched[maximum_connections + 1];
  size_t count = connection_count;
  for (size_t i = 0; i < count; i++)
    watched[i] = (struct pollfd){.fd = connections[i].socket, .events = POLLIN};
  watched[count] = (struct pollfd){.fd = count < maximum_connections ? listener : -1, .events = POLLIN};
  if (poll(watched, count + 1, milliseconds) <= 0)
    return;
  /* Downwards, since the last one takes the place of one that has ended. */
  for (size_t i = count; i-- > 0;) {
    if (watched[i].revents == 0 || serve(&connections[i]))
      continue;
    close(connections[i].socket);
    connections[i] = connections[--connection_count];
  }
  if (watched[count].revents != 0)
    accept_connection(listener);
}

void stand_in(int listener, bool (*may_end)(void)) {
  unsigned port = port_of(listener);
  /* 0: there has been no client. */
  long long last_words_until = 0;
  for (int milliseconds = 0;; milliseconds = interval_milliseconds) {
    take_what_comes(listener, milliseconds);
    bool ended = may_end();
    if (connection_count > 0 || has_clients(port))
      last_words_until = now_milliseconds() + last_words_milliseconds;
    else if (ended && (is_destroyed || now_milliseconds() >= last_words_until))
      return;
  }
}
