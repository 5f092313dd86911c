/* In the place of an NFS server that is gone: whoever still waits for it gets an error instead of waiting for ever. */
#ifndef STAND_IN_H
#define STAND_IN_H

#include <stdbool.h>

/*
 * Accepts the connections that come to the listening TCP socket, and answers each ONC RPC call on them with the
 * accept_stat PROG_UNAVAIL (RFC 5531, section 9). Linux's NFS client makes it EPFNOSUPPORT at once, while for SYSTEM_ERR
 * it would break the connection and try again, each time later.
 *
 * Returns once `may_end` returns true (it is asked some ten times a second), and the NFS clients of this network
 * namespace that knew a server at the socket's port have gone: the kernel does not list them any more, has closed their
 * connections, and has sent their DESTROY_CLIENTID.
 */
void stand_in(int listener, bool (*may_end)(void));

#endif
