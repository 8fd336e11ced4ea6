/* Makes the things that tests/leftovers.rs looks for: maker UID WHAT. Prints "ready" when it is done. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned uid;
#define must(x) do { if ((long)(x) == -1) { perror(#x); exit(1); } } while (0)

static void become(unsigned r, unsigned e, unsigned s) {
  must(setgroups(0, NULL));
  if (r == uid) must(setresgid(uid, uid, uid));
  must(setresuid(r, e, s));
}
static void ready(void) { puts("ready"); fflush(stdout); }
static void stay(void) { ready(); for (;;) pause(); }
static void *other_thread(void *_) {
  must(syscall(SYS_setresuid, uid, uid, uid));
  stay();
  return NULL;
}
static long key(const char *name, int ring) { return syscall(SYS_add_key, "user", name, "hello", 5L, ring); }

int main(int argc, char **argv) {
  uid = atoi(argv[1]);
  const char *what = argv[2];
  const char *arg = argc > 3 ? argv[3] : "";
#define IS(word) (!strcmp(what, word))
  if (IS("container")) { /* runs a command in a user namespace with the first 65,536 IDs */
    int p[2], q[2]; char c, path[64]; must(pipe(p)); must(pipe(q));
    pid_t child = fork();
    if (child == 0) {
      must(unshare(CLONE_NEWUSER)); must(write(p[1], "x", 1)); must(read(q[0], &c, 1));
      execvp(argv[3], argv + 3); _exit(127);
    }
    must(read(p[0], &c, 1));
    for (int i = 0; i < 2; i++) {
      snprintf(path, sizeof path, "/proc/%d/%s", child, i ? "uid_map" : "gid_map");
      int f = open(path, O_WRONLY); must(f); must(write(f, "0 0 65536", 9)); close(f);
    }
    must(write(q[1], "x", 1));
    int status; must(waitpid(child, &status, 0));
    return status ? 1 : 0;
  }
  if (IS("suid")) { must(setresuid(0, 0, uid)); stay(); }
  if (IS("euid")) { must(setresuid(0, uid, 0)); stay(); }
  if (IS("gid")) { must(setresgid(0, uid, 0)); must(setresgid(0, 0, uid)); stay(); }
  if (IS("groups")) { gid_t g = uid; must(setgroups(1, &g)); stay(); }
  if (IS("thread")) { pthread_t t; pthread_create(&t, NULL, other_thread, NULL); for (;;) pause(); }
  if (IS("leaderless")) { become(uid, uid, uid); pthread_t t; pthread_create(&t, NULL, other_thread, NULL); pthread_exit(NULL); }
  if (IS("pidns")) {
    must(unshare(CLONE_NEWPID));
    if (fork() == 0) { become(uid, uid, uid); stay(); }
    for (;;) pause();
  }
  if (IS("zombie")) {
    int p[2]; must(pipe(p));
    if (fork() == 0) { become(uid, uid, uid); _exit(0); }
    siginfo_t i; must(waitid(P_ALL, 0, &i, WEXITED | WNOWAIT));
    stay();
  }
  if (IS("fuse")) { /* a user's file system that never answers, where he lets others in and where he does not */
    for (int i = 0; i < 2; i++) {
      char path[] = "/dev/shm/fuse0", options[128]; path[13] += i;
      int f = open("/dev/fuse", O_RDWR); must(f); must(mkdir(path, 0700));
      snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%u,group_id=%u%s", f, uid, uid, i ? ",allow_other" : "");
      must(mount("fuse", path, "fuse", MS_NOSUID | MS_NODEV, options));
    }
    stay();
  }
  if (IS("attach")) { void *m = shmat(atoi(arg), NULL, 0); must(m); stay(); }
  become(uid, uid, uid);
  prctl(PR_SET_DUMPABLE, 1);
  if (IS("plain")) stay();
  if (IS("nodump")) { prctl(PR_SET_DUMPABLE, 0); stay(); }
  if (IS("userns")) { must(unshare(CLONE_NEWUSER)); stay(); }
  if (IS("daemon")) { if (fork()) for (;;) pause(); setsid(); if (fork()) _exit(0); stay(); }
  if (IS("deaf")) { for (int s = 1; s < 65; s++) signal(s, SIG_IGN); stay(); }
  if (IS("hunter")) { /* kills, stops and traces everything it may, for ever */
    ready();
    for (;;) { kill(-1, SIGKILL); kill(-1, SIGSTOP); }
  }
  if (IS("bomb")) {
    struct rlimit l = {200, 200}; must(setrlimit(RLIMIT_NPROC, &l));
    for (int i = 0; i < 190; i++) if (fork() == 0) break;
    ready();
    for (;;) { pid_t p = fork(); if (p == 0) { if (fork() == 0) continue; _exit(0); } if (p > 0) waitpid(p, NULL, 0); while (waitpid(-1, NULL, WNOHANG) > 0); }
  }
  if (IS("shm")) {
    int id = shmget(atoi(arg) ? atoi(arg) : IPC_PRIVATE, 4096, IPC_CREAT | 0666); must(id);
    printf("%d\n", id); return 0;
  }
  if (IS("givenshm")) {
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0666); must(id);
    struct shmid_ds d; must(shmctl(id, IPC_STAT, &d)); d.shm_perm.uid = 1; d.shm_perm.gid = 1; must(shmctl(id, IPC_SET, &d));
    printf("%d\n", id); return 0;
  }
  if (IS("shmat")) { must(shmat(atoi(arg), NULL, 0)); return 0; }
  if (IS("sem")) { must(semget(IPC_PRIVATE, 3, IPC_CREAT | 0600)); return 0; }
  if (IS("msg")) { must(msgget(IPC_PRIVATE, IPC_CREAT | 0600)); return 0; }
  if (IS("mq")) { must(mq_open(arg, O_CREAT | O_RDWR, 0600, NULL)); return 0; }
  if (IS("deep")) {
    must(chdir("/dev/shm"));
    for (int i = 0; i < 3000; i++) {
      must(mkdir("deep", 0700)); must(chdir("deep"));
      must(mkdir("dynuser-7", 0700)); must(open("file", O_CREAT | O_WRONLY, 0600) < 0 ? -1 : close(3));
    }
    return 0;
  }
  if (IS("wide")) { /* half of them directories */
    char name[32]; must(chdir("/dev/shm")); must(mkdir("wide", 0700)); must(chdir("wide"));
    for (int i = 0; i < 50000; i++) {
      snprintf(name, sizeof name, "d%d", i); must(mkdir(name, 0700));
      name[0] = 'f'; must(open(name, O_CREAT | O_WRONLY, 0600) < 0 ? -1 : close(3));
    }
    return 0;
  }
  if (IS("mover")) { /* moves directories about in /dev/shm/moving, and puts others and links in their places, for ever */
    must(chdir("/dev/shm/moving"));
    if (fork() == 0) for (;;) {
      rename("a/chain", "b/chain"); rename("b/chain/1/1", "a/part"); rename("a/part", "b/chain/1/1"); rename("b/chain", "a/chain");
    }
    for (int i = 0; i < 2; i++) if (fork() == 0) for (;;) syscall(SYS_renameat2, AT_FDCWD, "bait", AT_FDCWD, i ? "precious" : "link", 2);
    stay();
  }
  if (IS("keys")) {
    must(key("a", -4)); must(key("b", -5));
    long p = syscall(SYS_keyctl, 22, -1, -2); must(p); must(key("c", p));
    if (!strcmp(arg, "quota")) { char n[32]; for (int i = 0; ; i++) { snprintf(n, 32, "q%d", i); if (key(n, -4) < 0) break; } }
    if (!strcmp(arg, "closed")) must(syscall(SYS_keyctl, 5, -4, 0x003f0000 & ~0x00040000 & ~0x00020000));
    if (!strcmp(arg, "found")) must(syscall(SYS_keyctl, 5, -4, 0x08000000));
    if (!strcmp(arg, "found by owner")) { must(syscall(SYS_keyctl, 5, -5, 0x00080000)); must(syscall(SYS_keyctl, 5, -4, 0x00080000)); }
    if (!strcmp(arg, "locked")) must(syscall(SYS_keyctl, 5, -4, 0));
    return 0;
  }
  if (IS("haskeys")) {
    long n = 0, p = syscall(SYS_keyctl, 22, -1, -2);
    n += syscall(SYS_keyctl, 10, -4, "user", "a", 0) > 0;
    n += syscall(SYS_keyctl, 10, -5, "user", "b", 0) > 0;
    n += syscall(SYS_keyctl, 10, p, "user", "c", 0) > 0;
    printf("%ld\n", n); return 0;
  }
  fprintf(stderr, "maker: what is %s?\n", what);
  return 2;
}
