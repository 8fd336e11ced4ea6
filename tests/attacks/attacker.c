/* What a hostile service or user does: attacker WHAT [ARGUMENT…]. Written for tests/attacks.rs. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void told(const char *what, long answer)
{
    printf("%s %s\n", what, answer >= 0 ? "DONE" : strerrorname_np(errno));
    fflush(stdout);
}

static void quiet(void)
{
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
}

/* bounce FIFO: forks and leaves, faster than anybody looks, and gives a sign of life now and then. */
static int bounce(const char *fifo)
{
    signal(SIGTERM, SIG_IGN);
    time_t end = time(NULL) + 60;
    if (fork())
        return usleep(100000);
    setsid();
    int beat = open(fifo, O_WRONLY | O_NONBLOCK);
    quiet();
    for (unsigned hop = 0; time(NULL) < end; hop++) {
        if (hop % 64 == 0 && write(beat, "x", 1) < 0)
            errno = 0;
        if (fork() > 0)
            _exit(0);
    }
    return 0;
}

/* bomb: fills the table of processes with some that ignore SIGTERM and fork again when one is ended. */
static int bomb(void)
{
    signal(SIGTERM, SIG_IGN);
    for (;;) {
        pid_t pid = fork();
        if (pid < 0)
            break;
        if (pid == 0) {
            quiet();
            alarm(60);
            for (;;) {
                usleep(5000);
                if (fork() == 0)
                    alarm(60);
            }
        }
    }
    return usleep(200000);
}

/* swap A B: as user 1000, exchanges two names for as long as it lives. */
static int swap(const char *a, const char *b)
{
    if (setresgid(1000, 1000, 1000) || setresuid(1000, 1000, 1000))
        return 1;
    puts("ready");
    fflush(stdout);
    for (;; usleep(200))
        renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

/* orphan DAEMON: kills it at the moment in which it has made a child that is to hold a user namespace. */
static int orphan(pid_t daemon)
{
    if (ptrace(PTRACE_SEIZE, daemon, 0, PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK))
        return perror("seize"), 1;
    puts("ready");
    fflush(stdout);
    for (;;) {
        int status;
        pid_t stopped = waitpid(-1, &status, __WALL);
        if (stopped < 0)
            return 0;
        if (!WIFSTOPPED(status))
            continue;
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_FORK << 8)) {
            unsigned long child;
            ptrace(PTRACE_GETEVENTMSG, stopped, 0, &child);
            kill(daemon, SIGKILL);
            waitpid(child, &status, __WALL);
            ptrace(PTRACE_DETACH, child, 0, 0);
            return 0;
        }
        ptrace(PTRACE_CONT, stopped, 0, status >> 16 ? 0 : WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status));
    }
}

/* setid FILE: a set-user-ID program by openat2, which the filter cannot see into. */
static int setid(const char *name)
{
    struct { unsigned long long flags, mode, resolve; } how = {O_CREAT | O_RDWR, 06777, 0};
    umask(0);
    struct stat stat;
    const char *ways[] = {"write", "ftruncate", "fallocate"};
    for (int way = 0; way < 3; way++) {
        unlink(name);
        int fd = syscall(SYS_openat2, AT_FDCWD, name, &how, sizeof how);
        long answer = way == 0 ? write(fd, "#!", 2) : way == 1 ? ftruncate(fd, 2) : fallocate(fd, 0, 0, 2);
        fstat(fd, &stat);
        printf("%s %ld %o\n", ways[way], answer < 0 ? -1L : (long)stat.st_size, stat.st_mode & 06000);
        close(fd);
    }
    return 0;
}

/* pry PID: everything that would give power over another process. */
static int pry(pid_t pid)
{
    static const char *files[] = {"mem", "root/etc", "cwd/", "fd/0", "environ", "ns/mnt", "ns/pid", "maps"};
    char path[64];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", pid, files[i]);
        told(files[i], open(path, O_RDONLY));
    }
    told("ptrace", ptrace(PTRACE_SEIZE, pid, 0, 0));
    told("kill", kill(pid, SIGTERM));
    int pidfd = syscall(SYS_pidfd_open, pid, 0);
    told("setns", setns(pidfd, CLONE_NEWNS));
    told("getfd", syscall(SYS_pidfd_getfd, pidfd, 0, 0));
    return 0;
}

/* rootless: what root in a user namespace of its own can do to the mounts that it was given. */
static int rootless(void)
{
    told("own namespaces", unshare(CLONE_NEWUSER | CLONE_NEWNS));
    /* With the flags that are locked as well, so that nothing but the missing MS_RDONLY is refused. */
    unsigned long locked = MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC;
    told("open /", mount(NULL, "/", NULL, locked, NULL));
    told("open /run", mount(NULL, "/run", NULL, locked, NULL));
    told("uncover /var/lib/private", umount2("/var/lib/private", MNT_DETACH));
    told("uncover /tmp", umount2("/tmp", MNT_DETACH));
    told("bind without covers", mount("/var/lib", "/tmp", NULL, MS_BIND, NULL));
    told("set-ID on", mount(NULL, "/var/lib/private/box", NULL, MS_REMOUNT | MS_BIND | MS_NODEV, NULL));
    told("idmap", syscall(SYS_setresuid, 0, 0, 0));
    return 0;
}

/* burdened COMMAND…: root with everything set that a caller could pass on. */
static int burdened(char **command)
{
    gid_t groups[] = {0, 4, 6};
    setgroups(3, groups);
    struct { unsigned version; int pid; } head = {0x20080522, 0};
    struct { unsigned effective, permitted, inheritable; } caps[2];
    syscall(SYS_capget, &head, caps);
    caps[0].inheritable = caps[0].permitted, caps[1].inheritable = caps[1].permitted;
    syscall(SYS_capset, &head, caps);
    for (int cap = 0; cap < 41; cap++)
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
    if (getenv("SECUREBITS"))
        prctl(PR_SET_SECUREBITS, strtol(getenv("SECUREBITS"), NULL, 0));
    execvp(*command, command);
    return 127;
}

int main(int argc, char **argv)
{
    const char *what = argv[1];
#define IS(name) (strcmp(what, name) == 0)
    return IS("bounce")    ? bounce(argv[2])
           : IS("bomb")    ? bomb()
           : IS("swap")    ? swap(argv[2], argv[3])
           : IS("orphan")  ? orphan(atoi(argv[2]))
           : IS("setid")   ? setid(argv[2])
           : IS("pry")     ? pry(atoi(argv[2]))
           : IS("rootless") ? rootless()
           : IS("burdened") ? burdened(argv + 2)
                            : 2;
}
