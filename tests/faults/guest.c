/* A service for the tests that kill: guest WORD... does what the words say, one after the other.
   It never looks at errors that only mean that a former one was here already. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define must(x) do { if ((long)(x) == -1) { perror(#x); exit(99); } } while (0)

static void background(void) {
  close(0); close(1); close(2);
  for (;;) pause();
}

int main(int argc, char **argv) {
  char name[64];
  for (int i = 1; i < argc; i++) {
#define IS(word) (!strcmp(argv[i], word))
    if (IS("shm")) must(shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600));
    else if (IS("attached")) { int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600); must(id); must(shmat(id, NULL, 0)); }
    else if (IS("sem")) must(semget(IPC_PRIVATE, 3, IPC_CREAT | 0600));
    else if (IS("msg")) must(msgget(IPC_PRIVATE, IPC_CREAT | 0600));
    else if (IS("mq")) { snprintf(name, sizeof name, "left-%d", getpid()); must(syscall(SYS_mq_open, name, O_CREAT | O_RDWR, 0600, NULL)); }
    else if (IS("file")) { snprintf(name, sizeof name, "/dev/shm/left-%d", getpid()); must(open(name, O_CREAT | O_WRONLY, 0600)); }
    else if (IS("key")) {
      must(syscall(SYS_add_key, "user", "a", "hello", 5L, -4));
      must(syscall(SYS_keyctl, 22, -1, -2));
    }
    else if (IS("child")) { pid_t p = fork(); must(p); if (p == 0) background(); }
    else if (IS("shown")) { pid_t p = fork(); must(p); if (p == 0) background(); printf("%d\n", p); fflush(stdout); }
    else if (IS("deaf")) { /* double-forked, in a session of its own, deaf to all that can be ignored */
      pid_t p = fork(); must(p);
      if (p == 0) {
        setsid();
        for (int s = 1; s < 65; s++) signal(s, SIG_IGN);
        if (fork()) _exit(0);
        background();
      }
    }
    else if (IS("held")) { /* as root, of a user that a descriptor holds */
      printf("%s %d %s\n", getenv("DYNUSER_UID"), getpid(), getenv("DYNUSER_FD")); fflush(stdout);
    }
    else if (IS("up")) { printf("%u %d\n", getuid(), getpid()); fflush(stdout); }
    else if (IS("wait")) { while (read(0, name, sizeof name) > 0) ; }
    else if (IS("hang")) for (;;) pause();
    else { fprintf(stderr, "guest: what is %s?\n", argv[i]); return 98; }
  }
  return 0;
}
