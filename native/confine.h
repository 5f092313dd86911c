#ifndef CONFINE_H
#define CONFINE_H

/*
 * Leaves this process, and whatever it executes, only the capabilities that a package manager needs in a root file
 * system of its own, also where set-user-ID programs are executed; clears the ambient and inheritable ones. The
 * bounding set stays as it is without CAP_SETPCAP.
 *
 * Returns NULL, or the name of the system call that failed, with errno set.
 */
const char *confine(void);

#endif
