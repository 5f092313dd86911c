#include "serve.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

struct job {
  struct job *next;
  unsigned long long number;
  pid_t process;
  /* The other end is its standard input; -1 once that has ended. */
  int input;
  /* The other end is its standard output. */
  int output;
};

static struct job *jobs;

static bool answer(unsigned long long number, const char *verb, const char *text) {
  struct reply reply;
  begin_reply(&reply);
  put_number(&reply, (long long)number);
  put_string(&reply, verb);
  put_string(&reply, text);
  return send_reply(STDOUT_FILENO, &reply);
}

static void close_pipe(const int pipe[2]) {
  close(pipe[0]);
  close(pipe[1]);
}

/* In the child: leaves what belongs to this process and to the other jobs, whose ends must be seen. */
static void leave_jobs(int signals) {
  close(signals);
  for (const struct job *job = jobs; job != NULL; job = job->next) {
    close(job->input);
    close(job->output);
  }
}

/* False if nobody reads the answer that it could not be started. */
static bool begin(unsigned long long number, struct message *request, int signals,
                  int (*work)(struct message *request)) {
  int input[2], output[2];
  if (pipe2(input, O_CLOEXEC) != 0)
    return answer(number, "ended", strerror(errno));
  if (pipe2(output, O_CLOEXEC) != 0) {
    int error = errno;
    close_pipe(input);
    return answer(number, "ended", strerror(error));
  }
  struct job *job = malloc(sizeof *job);
  pid_t process = job == NULL ? -1 : fork();
  if (process == 0) {
    leave_jobs(signals);
    bool placed = dup2(input[0], STDIN_FILENO) >= 0 && dup2(output[1], STDOUT_FILENO) >= 0;
    close_pipe(input);
    close_pipe(output);
    _exit(placed ? work(request) : 1);
  }
  if (process < 0) {
    int error = errno;
    free(job);
    close_pipe(input);
    close_pipe(output);
    return answer(number, "ended", strerror(error));
  }
  close(input[0]);
  close(output[1]);
  *job = (struct job){.next = jobs, .number = number, .process = process, .input = input[1], .output = output[0]};
  jobs = job;
  return true;
}

static void cancel(struct job *job) {
  if (job->input >= 0)
    close(job->input);
  job->input = -1;
}

/* False if it is no message that this process can be sent, or nobody reads the answer. */
static bool take(struct message *message, int signals, int (*work)(struct message *request)) {
  unsigned long long number = take_number(message, LLONG_MAX);
  const char *verb = take_string(message);
  if (message->malformed)
    return false;
  if (strcmp(verb, "begin") == 0)
    return begin(number, message, signals, work);
  /* Its answer may be on its way. */
  struct job *job = jobs;
  while (job != NULL && job->number != number)
    job = job->next;
  if (strcmp(verb, "cancel") == 0) {
    if (job != NULL)
      cancel(job);
    return true;
  }
  if (strcmp(verb, "kill") == 0) {
    if (job != NULL)
      kill(job->process, SIGKILL);
    return true;
  }
  return false;
}

/* The answer of a job that has ended is in its pipe as a whole, or never will be. */
static bool pass_on_answer(const struct job *job, int status) {
  struct message said;
  fcntl(job->output, F_SETFL, O_NONBLOCK);
  if (read_message(job->output, &said)) {
    struct reply reply;
    begin_reply(&reply);
    put_number(&reply, (long long)job->number);
    while (said.next != said.end)
      put_string(&reply, take_string(&said));
    free(said.memory);
    return send_reply(STDOUT_FILENO, &reply);
  }
  char how[64];
  if (WIFSIGNALED(status))
    snprintf(how, sizeof how, "killed by signal %d", WTERMSIG(status));
  else
    snprintf(how, sizeof how, "exit code %d", WEXITSTATUS(status));
  return answer(job->number, "ended", how);
}

/* False if nobody reads the answers. */
static bool reap(void) {
  int status;
  for (pid_t ended; (ended = waitpid(-1, &status, WNOHANG)) > 0;) {
    struct job **place = &jobs;
    while (*place != NULL && (*place)->process != ended)
      place = &(*place)->next;
    struct job *job = *place;
    if (job == NULL)
      continue;
    *place = job->next;
    bool passed_on = pass_on_answer(job, status);
    cancel(job);
    close(job->output);
    free(job);
    if (!passed_on)
      return false;
  }
  return true;
}

int take_signals(void) {
  sigset_t handled;
  sigemptyset(&handled);
  sigaddset(&handled, SIGCHLD);
  sigaddset(&handled, SIGTERM);
  sigaddset(&handled, SIGINT);
  sigaddset(&handled, SIGHUP);
  signal(SIGCHLD, SIG_DFL);
  signal(SIGPIPE, SIG_IGN);
  if (sigprocmask(SIG_BLOCK, &handled, NULL) != 0)
    return -1;
  return signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK);
}

int serve(int (*work)(struct message *request)) {
  int signals = take_signals();
  if (signals < 0)
    return perror("bb_spawn: signalfd"), 1;
  struct pollfd watched[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
  for (;;) {
    if (poll(watched, 2, -1) < 0)
      continue;
    struct signalfd_siginfo signal;
    if (watched[1].revents != 0 && read(signals, &signal, sizeof signal) == sizeof signal) {
      if (signal.ssi_signo != SIGCHLD)
        return 0;
      if (!reap())
        return 1;
    }
    if (watched[0].revents == 0)
      continue;
    struct message message;
    if (!read_message(STDIN_FILENO, &message))
      return 0;
    bool taken = take(&message, signals, work);
    free(message.memory);
    if (!taken)
      return 1;
  }
}
