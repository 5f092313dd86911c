#ifndef HOSTILE_ACTION_H
#define HOSTILE_ACTION_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Prints how an attack went: 0, or the error that held it. */
void say(const char *name, int error);

/* Has a process of its own try an attack, and prints how it went; one that crashes is held. */
void in_child(const char *name, int (*attack)(void));

/* 0 for a result that is not negative; else errno. */
int outcome(long result);

/* As outcome(), of a call with arguments that make no sense: errors other than a refusal mean that it was reached. */
int reached(long result);

/* Writes a text to a file; 0 or errno. */
int write_to(const char *path, const char *text);

/* Writes to a file what it has. */
int rewrite(const char *path);

/* 0 if a file has a byte to read, EIO if not. */
int read_from(const char *path);

/* These print lines, and return an exit code. */

/* As many as it is given, or can have. */
int start_processes(int wanted);
int take_memory(size_t mebibytes);
/* As many files, links, directories and symlinks, with names as long as they can be. */
int make_files(int count);
/* As many locks of each kind. */
int take_locks(int count);
/* A socket: one of the file system if it has a slash, else of the abstract namespace. */
int connect_to(const char *name);
/* Says when it listens, and ends when somebody has connected, or the file "done" exists. */
int listen_at(const char *name);
/* Says whether its session keyring has another's key, and puts one there. */
int keep_key(void);
/* Opens a pseudo-terminal, and says what a shell on it writes. */
int use_terminal(void);

#endif
