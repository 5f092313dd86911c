#ifndef CONFINE_H
#define CONFINE_H

/*
 * Leaves this process, and whatever it executes, what a package manager needs in a root file system of its own, and no
 * more; set-user-ID programs that it executes included. Of the capabilities, those that act on the files, users and
 * processes there; the ambient and inheritable ones are cleared. Of the system calls, all but those that mount, make a
 * user namespace, in which every capability could be had again, or change or reach into the kernel; and only those of
 * this program's own ABI.
 *
 * The bounding set stays as it is without CAP_SETPCAP, the system calls without CAP_SYS_ADMIN and where
 * missing_filter() says so.
 *
 * Returns NULL, or the name of the system call that failed, with errno set.
 */
const char *confine(void);

/* Why no system call can be kept from a command on this machine; NULL if it can. */
const char *missing_filter(void);

#endif
