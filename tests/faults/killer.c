/* killer N COMMAND...: runs a command and kills it at its Nth system call that changes the world outside
   of it, before the call does anything. Counted over all threads and children together, in the
   order in which they come: strace's inject=…:when=N counts for each thread anew.

   With KILLER_ALSO=FILE in the environment the process whose PID is in that file is killed just before.
   The program is run as it is. Children that share its memory go on, as they would.
   Prints "killed N CALL" or, when it ended by itself, "ended COUNT". Exits with 0 when it killed, else with 3. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define must(x) do { if ((long)(x) == -1) { perror(#x); exit(1); } } while (0)

/* The number of the first argument that says what is done, and what it must be (0: any). */
static const struct { long nr; const char *name; } CALLS[] = {
#define C(x) { SYS_##x, #x }
#ifdef SYS_rename
  C(rename), C(symlink), C(unlink), C(mkdir), C(rmdir), C(link), C(chmod), C(chown), C(lchown), C(mknod), C(creat),
#endif
  C(renameat), C(renameat2), C(symlinkat), C(unlinkat), C(mkdirat), C(linkat), C(mknodat),
  C(fchmod), C(fchmodat), C(fchown), C(fchownat), C(truncate), C(ftruncate), C(fallocate), C(utimensat),
  C(setxattr), C(fsetxattr), C(lsetxattr), C(removexattr), C(fremovexattr),
  C(openat), C(openat2), C(write), C(pwrite64), C(writev),
#ifdef SYS_open
  C(open),
#endif
  C(mount), C(umount2), C(pivot_root), C(fsconfig), C(fsmount), C(move_mount), C(open_tree), C(mount_setattr),
  C(setns), C(unshare), C(kill), C(tgkill), C(tkill), C(pidfd_send_signal), C(setresuid), C(setresgid), C(setgroups),
  C(shmctl), C(msgctl), C(semctl), C(mq_unlink), C(keyctl), C(sendmsg), C(sendto), C(bind), C(listen), C(flock),
  C(clone), C(fork), C(vfork), C(execve), C(setsid),
#ifdef SYS_clone3
  C(clone3),
#endif
#ifdef SYS_fchmodat2
  C(fchmodat2),
#endif
};

/* Whether a descriptor is a file, directory, pipe or socket, not the event loop's own. */
static int outside(pid_t tid, int fd) {
  char path[64], to[256];
  snprintf(path, sizeof path, "/proc/%d/fd/%d", tid, fd);
  ssize_t n = readlink(path, to, sizeof to - 1);
  if (n < 0) return 1;
  to[n] = 0;
  return strncmp(to, "anon_inode:", 11) != 0;
}

/* The name of the call if it changes anything. */
static const char *effect(pid_t tid, const struct __ptrace_syscall_info *i) {
  const char *name = NULL;
  for (unsigned k = 0; k < sizeof CALLS / sizeof *CALLS; k++)
    if (CALLS[k].nr == (long)i->entry.nr) name = CALLS[k].name;
  if (!name) return NULL;
  const unsigned long long *a = (const unsigned long long *)i->entry.args;
  int writes = O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY);
  if (!strcmp(name, "openat")) return a[2] & writes ? name : NULL;
  if (!strcmp(name, "open")) return a[1] & writes ? name : NULL;
  if (!strcmp(name, "openat2")) {
    errno = 0;
    long flags = ptrace(PTRACE_PEEKDATA, tid, a[2], 0);
    return errno || flags & writes ? name : NULL;
  }
  if (!strcmp(name, "write") || !strcmp(name, "pwrite64") || !strcmp(name, "writev")) return outside(tid, a[0]) ? name : NULL;
  if (!strcmp(name, "shmctl") || !strcmp(name, "msgctl")) return (a[1] & 0xff) <= 1 ? name : NULL; /* IPC_RMID, IPC_SET */
  if (!strcmp(name, "semctl")) return (a[2] & 0xff) <= 1 ? name : NULL;
  return name;
}

static void kill_other(void) {
  const char *path = getenv("KILLER_ALSO");
  FILE *file = path ? fopen(path, "r") : NULL;
  int pid = 0;
  if (file && fscanf(file, "%d", &pid) == 1 && pid > 1) kill(pid, SIGKILL);
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  long at = atol(argv[1]), count = 0;
  int killed = 0, gate[2];
  const char *last = "";
  must(pipe(gate));
  pid_t victim = fork();
  must(victim);
  if (victim == 0) {
    char c;
    close(gate[1]);
    if (read(gate[0], &c, 1) != 1) _exit(127);
    close(gate[0]);
    execvp(argv[2], argv + 2);
    _exit(127);
  }
  close(gate[0]);
  long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK
               | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
  must(ptrace(PTRACE_SEIZE, victim, 0, options));
  must(ptrace(PTRACE_INTERRUPT, victim, 0, 0));
  must(write(gate[1], "x", 1));
  int counting = 0, status, how = 0;
  for (;;) {
    pid_t tid = waitpid(-1, &status, __WALL);
    if (tid < 0) {
      if (errno == EINTR) continue;
      break; /* nobody is left */
    }
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      if (tid == victim) how = status;
      continue;
    }
    int signal = WSTOPSIG(status), event = status >> 16, deliver = 0;
    if (event == PTRACE_EVENT_EXEC && tid == victim) counting = 1;
    if (signal == (SIGTRAP | 0x80)) {
      struct __ptrace_syscall_info i;
      if (counting && ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof i, &i) > 0 && i.op == PTRACE_SYSCALL_INFO_ENTRY) {
        const char *name = effect(tid, &i);
        if (name) {
          if (++count == at) { /* a call whose task is being killed is not carried out */
            last = name;
            killed = 1;
            kill_other();
            kill(victim, SIGKILL);
          }
        }
      }
    } else if (event == PTRACE_EVENT_STOP) {
      /* Of a group stop (it is left alone), or of our own interrupt, or a new task. */
      if (signal != SIGTRAP) { ptrace(PTRACE_LISTEN, tid, 0, 0); continue; }
    } else if (event == 0) {
      deliver = signal;
    }
    ptrace(PTRACE_SYSCALL, tid, 0, deliver);
  }
  if (killed && WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL) {
    printf("killed %ld %s\n", at, last);
    return 0;
  }
  printf("ended %ld\n", count);
  return 3;
}
