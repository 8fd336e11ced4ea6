/* Uses the module where little works. Usage: surroundings MODULE PART */
#define _GNU_SOURCE
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

#include "module.h"

static const char *const members[] = {"api", "a-longer-name-of-31-letters-012", "z"};
static const struct user web = {"web", "/var/lib/web", 61200, 3, members};

/* Every kind of record in every way, and the groups; no memory is asked for. */
static void ask_for_everything(void) {
    for (unsigned kind = 0, way = 0; kind < KINDS; way = (way + 1) % WAYS, kind += !way) {
        union record record;
        char buffer[160];
        int error = UNTOUCHED;
        if (!HAS(kind, way)) continue;
        if (way == NEXT) of[kind].set(0);
        status got = look(kind, way, &web, &record, buffer, sizeof buffer, &error);
        DEMAND(got == NSS_STATUS_SUCCESS, "%u/%u: %d, %d", kind, way, got, error);
        check_record(kind, &record, &web, buffer, sizeof buffer);
    }
    gid_t room[4] = {61200, 0, 0, 0}, *groups = room;
    long start = 1, size = 4;
    int error = UNTOUCHED;
    status got = initgroups_of("web", 61200, &start, &size, &groups, -1, &error);
    DEMAND(got == NSS_STATUS_SUCCESS && start == 3 && size == 4, "%d: %ld of %ld", got, start, size);
    DEMAND(groups == room && groups[1] == 44 && groups[2] == 61300, "other groups");
}

/* The same through glibc, as programs do. */
static void ask_glibc(void) {
    union record record, *found;
    char buffer[160];
    int error = getpwnam_r("web", &record.user, buffer, sizeof buffer, (void *)&found);
    DEMAND(!error && found, "getpwnam_r: %d", error);
    check_record(USERS, &record, &web, buffer, sizeof buffer);
    error = getgrgid_r(61200, &record.group, buffer, sizeof buffer, (void *)&found);
    DEMAND(!error && found, "getgrgid_r: %d", error);
    check_record(GROUPS, &record, &web, buffer, sizeof buffer);
    error = getpwnam_r("nobody-here", &record.user, buffer, sizeof buffer, (void *)&found);
    DEMAND(!found, "there is somebody");
}

/* ---- a signal handler looks up while its thread looks up, or is in malloc ---- */

static atomic_long handled;

static void handle(int signal) {
    (void)signal;
    ask_for_everything();
    handled++;
}

static void part_signals(void) {
    /* The frame of a signal, and 8 KiB for the handler; below is nothing. */
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = ((size_t)sysconf(_SC_MINSIGSTKSZ) + 8192 + page - 1) / page * page;
    char *memory = mmap(0, page + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    DEMAND(memory != MAP_FAILED && !mprotect(memory, page, PROT_NONE), "no memory");
    stack_t stack = {.ss_sp = memory + page, .ss_size = size};
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK | SA_RESTART};
    DEMAND(!sigaltstack(&stack, 0) && !sigaction(SIGUSR1, &action, 0), "no handler");
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    timer_t timer;
    DEMAND(!timer_create(CLOCK_MONOTONIC, &event, &timer), "no timer");
    for (size_t i = 0; handled < 3000; i++) {
        /* Somewhere in what follows, mostly. */
        struct itimerspec soon = {.it_value = {0, 1 + (long)(i * 7919 % 12000)}};
        DEMAND(!timer_settime(timer, 0, &soon, 0), "no time");
        union record record;
        char buffer[160];
        int error = UNTOUCHED;
        void *memory = malloc(1 + i % 5000);
        DEMAND(memory, "no memory");
        errno = 7;
        /* Not a walk: the handler's is the same one. */
        status got = look(i % 2, i / 2 % 2, &web, &record, buffer, sizeof buffer, &error);
        DEMAND(errno == 7, "errno %d", errno);
        DEMAND(got == NSS_STATUS_SUCCESS, "%d, %d", got, error);
        check_record(i % 2, &record, &web, buffer, sizeof buffer);
        free(memory);
        if (i % 64 == 0) ask_glibc();
    }
}

/* ---- no descriptor, and none to be had ---- */

static void part_descriptors(void) {
    struct rlimit none = {0, 0};
    ask_glibc();
    DEMAND(!close_range(0, ~0U, 0) && !setrlimit(RLIMIT_NOFILE, &none), "limit");
    DEMAND(dup(0) < 0 && syscall(SYS_memfd_create, "", 0) < 0 && errno == EMFILE, "there are descriptors");
    ask_for_everything();
    ask_glibc();
}

/* ---- filters of system calls ---- */

static void filter(struct sock_filter *program, unsigned short length) {
    struct sock_fprog it = {length, program};
    DEMAND(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    DEMAND(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &it), "seccomp");
}

#define NUMBER_OF_CALL BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define IF(call, answer)                                                                           \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, answer)
#define ELSE(answer) BPF_STMT(BPF_RET | BPF_K, answer)

static void part_only_readlink(void) {
    struct sock_filter program[] = {
        NUMBER_OF_CALL,
#ifdef SYS_readlink
        IF(readlink, SECCOMP_RET_ALLOW),
#endif
        IF(readlinkat, SECCOMP_RET_ALLOW),
        IF(write, SECCOMP_RET_ALLOW),
        IF(exit_group, SECCOMP_RET_ALLOW),
        ELSE(SECCOMP_RET_KILL_PROCESS),
    };
    filter(program, sizeof program / sizeof *program);
    ask_for_everything();
    _exit(0);
}

/* What RestrictAddressFamilies= without AF_UNIX does: the module is loaded and asked under it. */
static void part_no_sockets(void) {
    struct sock_filter program[] = {
        NUMBER_OF_CALL,
        IF(socket, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
        IF(connect, SECCOMP_RET_KILL_PROCESS),
        ELSE(SECCOMP_RET_ALLOW),
    };
    filter(program, sizeof program / sizeof *program);
    ask_glibc();
}

/* Whoever tries a socket dies. glibc itself does, to ask nscd, except where a program has named the services. */
static void part_death_for_sockets(void) {
    struct sock_filter program[] = {
        NUMBER_OF_CALL,
        IF(socket, SECCOMP_RET_KILL_PROCESS),
        IF(connect, SECCOMP_RET_KILL_PROCESS),
        ELSE(SECCOMP_RET_ALLOW),
    };
    extern int __nss_configure_lookup(const char *, const char *);
    DEMAND(!__nss_configure_lookup("passwd", "files dynuser"), "passwd");
    DEMAND(!__nss_configure_lookup("group", "files dynuser"), "group");
    filter(program, sizeof program / sizeof *program);
    ask_glibc();
}

/* ---- threads with as little stack as can be ---- */

static void *in_thread(void *unused) {
    ask_for_everything();
    ask_glibc();
    return unused;
}

static void part_stacks(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    DEMAND(!pthread_attr_setstacksize(&attributes, (size_t)sysconf(_SC_THREAD_STACK_MIN)), "stack size");
    ask_glibc();
    /* One after the other: a walk through all records is one for the whole process. */
    for (int i = 0; i < 8; i++) {
        DEMAND(!pthread_create(&thread, &attributes, in_thread, 0), "no thread");
        pthread_join(thread, 0);
    }
}

int main(int argc, char **argv) {
    DEMAND(argc == 3, "usage: surroundings MODULE PART");
    if (!strcmp(argv[2], "no sockets")) part_no_sockets();
    else if (!strcmp(argv[2], "death for sockets")) part_death_for_sockets();
    else {
        load(argv[1]);
        if (!strcmp(argv[2], "signals")) part_signals();
        else if (!strcmp(argv[2], "descriptors")) part_descriptors();
        else if (!strcmp(argv[2], "only readlink")) part_only_readlink();
        else if (!strcmp(argv[2], "stacks")) part_stacks();
        else DEMAND(0, "no part %s", argv[2]);
    }
    return 0;
}
