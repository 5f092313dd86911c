#ifndef SERVE_H
#define SERVE_H

#include "message.h"

/*
 * Does work for another process: each job in a child, so that one that hangs, or is killed, is no other's matter. Since
 * this process is small, such a child costs a fraction of one that a large process starts for itself.
 *
 * Standard input carries messages, each of which begins with the job's number, which its sender chooses:
 *
 *   NUMBER begin REQUEST…   starts it
 *   NUMBER cancel           ends its standard input, which until then is open, and empty
 *   NUMBER kill             kills its process
 *
 * Standard output carries one message a job, sent once its process has ended: what that wrote to its standard output,
 * or that it did not answer, and how it ended:
 *
 *   NUMBER STRING…
 *   NUMBER ended HOW
 *
 * `work` does a job, in its child, and returns its exit status. Returns the exit status for this process at the end of
 * standard input, or at SIGTERM, SIGINT or SIGHUP, whereupon the standard input of all jobs ends.
 */
int serve(int (*work)(struct message *request));

/* Has SIGCHLD, SIGTERM, SIGINT and SIGHUP come by a descriptor of signalfd(2) instead; -1 if that cannot be. */
int take_signals(void);

#endif
