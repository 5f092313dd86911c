/*
 * eavesdrop PORT COMMAND ARGUMENT…: what a process can learn of a TCP server at PORT of 127.0.0.1. Captures the packets
 * of all network interfaces while COMMAND runs, and prints:
 *
 *   capture: yes        or the name of an errno, if it may not
 *   own datagram: 1     whether a datagram of its own, sent over loopback, was captured: 0 or 1
 *   NFS calls: N        packets captured that contain the head of an NFSv4 COMPOUND call
 *   sockets: N          TCP sockets at PORT, as ss(8) lists them
 *   connect: CODE       0 or the name of the errno of connect(2), from a reserved port if it may have one
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char marker[] = "a datagram that eavesdrop sends to itself";

/* In an RPC call after the xid: CALL, RPC version 2, program 100003, version 4, procedure 1 (RFC 5531, RFC 8881). */
static const unsigned char compound_call[] = {0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0x86, 0xa3, 0, 0, 0, 4, 0, 0, 0, 1};

static struct sockaddr_in loopback(int port) {
  return (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void send_marker(void) {
  struct sockaddr_in address = loopback(9);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  /* Fails without loopback, which the report will show. */
  sendto(fd, marker, sizeof marker, 0, (struct sockaddr *)&address, sizeof address);
  close(fd);
}

static void run(char **command) {
  pid_t child = fork();
  if (child == 0) {
    execvp(command[0], command);
    fail(command[0]);
  }
  int status;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
    fail("run the command");
}

/* Reports what has been captured so far. */
static void report_packets(int capture) {
  static char packet[1 << 17];
  int own = 0, calls = 0;
  for (ssize_t size; (size = recv(capture, packet, sizeof packet, MSG_DONTWAIT)) >= 0;) {
    own |= memmem(packet, size, marker, sizeof marker) != NULL;
    calls += memmem(packet, size, compound_call, sizeof compound_call) != NULL;
  }
  printf("own datagram: %d\nNFS calls: %d\n", own, calls);
}

/* In any state, of one address family (sock_diag(7)). */
static int count_sockets(int family, int port) {
  int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
  struct {
    struct nlmsghdr header;
    struct inet_diag_req_v2 body;
  } request = {
      {.nlmsg_len = sizeof request, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
      {.sdiag_family = family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = -1}};
  if (fd < 0 || send(fd, &request, sizeof request, 0) < 0)
    fail("ask for sockets");
  static char answer[1 << 16];
  for (int count = 0;;) {
    ssize_t size = recv(fd, answer, sizeof answer, 0);
    if (size < 0)
      fail("receive sockets");
    for (struct nlmsghdr *header = (struct nlmsghdr *)answer; NLMSG_OK(header, size); header = NLMSG_NEXT(header, size)) {
      if (header->nlmsg_type == NLMSG_DONE) {
        close(fd);
        return count;
      }
      if (header->nlmsg_type == NLMSG_ERROR)
        fail("list sockets");
      struct inet_diag_msg *found = NLMSG_DATA(header);
      count += ntohs(found->id.idiag_sport) == port;
    }
  }
}

static const char *connect_to(int port) {
  struct sockaddr_in address = loopback(port);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  for (int own = 1023; own > 0; own--) {
    struct sockaddr_in reserved = loopback(own);
    if (bind(fd, (struct sockaddr *)&reserved, sizeof reserved) == 0 || errno != EADDRINUSE)
      break;
  }
  bool connected = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
  return connected ? "0" : strerrorname_np(errno);
}

int main(int argc, char **argv) {
  if (argc < 3)
    return 2;
  int port = atoi(argv[1]);
  int capture = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
  printf("capture: %s\n", capture >= 0 ? "yes" : strerrorname_np(errno));
  fflush(stdout);
  send_marker();
  run(argv + 2);
  report_packets(capture);
  printf("sockets: %d\n", count_sockets(AF_INET, port) + count_sockets(AF_INET6, port));
  printf("connect: %s\n", connect_to(port));
  return 0;
}
