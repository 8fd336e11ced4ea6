/* Calls the module as glibc would, and as nobody should. Usage: probe MODULE PART
 *
 * Every part ends the program with a sentence on stderr when the module does not keep its word. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <nss.h>
#include <pthread.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DEMAND(what, ...)                                                                          \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "line %d: %s: ", __LINE__, #what);                                     \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

#define TABLE "/run/dynuser/users/"
#define UNTOUCHED 4242

typedef enum nss_status status;

static status (*pwnam)(const char *, struct passwd *, char *, size_t, int *);
static status (*pwuid)(uid_t, struct passwd *, char *, size_t, int *);
static status (*grnam)(const char *, struct group *, char *, size_t, int *);
static status (*grgid)(gid_t, struct group *, char *, size_t, int *);
static status (*setpw)(int), (*endpw)(void), (*setgr)(int), (*endgr)(void);
static status (*pwent)(struct passwd *, char *, size_t, int *);
static status (*grent)(struct group *, char *, size_t, int *);
static status (*initgroups_of)(const char *, gid_t, long *, long *, gid_t **, long, int *);

static void load(const char *file) {
    void *module = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    DEMAND(module, "%s", dlerror());
    struct { void **to; const char *symbol; } entries[] = {
        {(void **)&pwnam, "getpwnam_r"}, {(void **)&pwuid, "getpwuid_r"},
        {(void **)&grnam, "getgrnam_r"}, {(void **)&grgid, "getgrgid_r"},
        {(void **)&setpw, "setpwent"},   {(void **)&endpw, "endpwent"},
        {(void **)&setgr, "setgrent"},   {(void **)&endgr, "endgrent"},
        {(void **)&pwent, "getpwent_r"}, {(void **)&grent, "getgrent_r"},
        {(void **)&initgroups_of, "initgroups_dyn"},
    };
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        char symbol[64];
        snprintf(symbol, sizeof symbol, "_nss_dynuser_%s", entries[i].symbol);
        *entries[i].to = dlsym(module, symbol);
        DEMAND(*entries[i].to, "%s", dlerror());
    }
}

/* The ways to get the record of web, 61200. */
enum way { PWNAM, PWUID, PWENT, GRNAM, GRGID, GRENT, WAYS };

static union { struct passwd user; struct group group; } record;

static status get(enum way way, char *buffer, size_t length, int *errnop) {
    switch (way) {
    case PWNAM: return pwnam("web", &record.user, buffer, length, errnop);
    case PWUID: return pwuid(61200, &record.user, buffer, length, errnop);
    case PWENT: return pwent(&record.user, buffer, length, errnop);
    case GRNAM: return grnam("web", &record.group, buffer, length, errnop);
    case GRGID: return grgid(61200, &record.group, buffer, length, errnop);
    default: return grent(&record.group, buffer, length, errnop);
    }
}

static int within(const void *at, size_t size, const char *buffer, size_t length) {
    uintptr_t from = (uintptr_t)buffer, start = (uintptr_t)at;
    return start >= from && start + size <= from + length;
}

static void check_record(enum way way, const char *buffer, size_t length) {
    const char *words[] = {"web", "x", "Dynamic User", "/", "/usr/sbin/nologin"};
    char *user[] = {record.user.pw_name, record.user.pw_passwd, record.user.pw_gecos,
                    record.user.pw_dir, record.user.pw_shell};
    char *group[] = {record.group.gr_name, record.group.gr_passwd};
    int is_user = way <= PWENT;
    for (int i = 0; i < (is_user ? 5 : 2); i++) {
        char *word = is_user ? user[i] : group[i];
        DEMAND(within(word, strlen(words[i]) + 1, buffer, length), "word %d is outside", i);
        DEMAND(!strcmp(word, words[i]), "word %d is %s", i, word);
    }
    if (is_user) {
        DEMAND(record.user.pw_uid == 61200 && record.user.pw_gid == 61200, "wrong number");
        return;
    }
    DEMAND(record.group.gr_gid == 61200, "wrong number");
    DEMAND((uintptr_t)record.group.gr_mem % _Alignof(char *) == 0, "the list is not aligned");
    DEMAND(within(record.group.gr_mem, sizeof(char *), buffer, length), "the list is outside");
    DEMAND(!record.group.gr_mem[0], "the list is not empty");
}

/* Every length at every alignment; the buffer ends where the memory ends, with a canary before. */
static void part_short(void) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), most = 160;
    char *memory = mmap(0, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    DEMAND(memory != MAP_FAILED && !mprotect(memory + page, page, PROT_NONE), "no memory");
    for (enum way way = 0; way < WAYS; way++)
        for (size_t gap = 0; gap < 16; gap++) {
            size_t need = 0;
            for (size_t length = 0; length <= most; length++) {
                char *end = memory + page - gap, *buffer = end - length;
                memset(memory, 0x5A, page);
                memset(&record, 0x5A, sizeof record);
                if (length == 0) setpw(0), setgr(0);
                int error = UNTOUCHED;
                status got = get(way, buffer, length, &error);
                for (char *at = memory; at < memory + page; at++)
                    DEMAND((at >= buffer && at < end) || *at == 0x5A,
                           "way %d wrote outside a buffer of %zu bytes", way, length);
                if (got == NSS_STATUS_SUCCESS) {
                    DEMAND(error == UNTOUCHED, "errnop is touched by a success");
                    check_record(way, buffer, length);
                    need = need ? need : length;
                    if (way == PWENT) setpw(0);
                    if (way == GRENT) setgr(0);
                } else {
                    /* A walk must still have the record that did not fit: it is the only one. */
                    DEMAND(got == NSS_STATUS_TRYAGAIN && error == ERANGE, "way %d, %zu bytes: %d, %s",
                           way, length, got, strerror(error));
                    /* The list's alignment may make a longer buffer fail, never a user's. */
                    DEMAND(!need || (way >= GRNAM && length < need + sizeof(char *)),
                           "%zu bytes were enough, %zu are not", need, length);
                }
            }
            size_t exact = way <= PWENT ? 4 + 2 + 13 + 2 + 18 : 4 + 2 + sizeof(char *);
            DEMAND(way <= PWENT ? need == exact : need >= exact && need < exact + sizeof(char *),
                   "way %d needs %zu bytes", way, need);
        }
}

/* The thread's errno stays, whatever happens; what happened is in errnop. */
static void part_errno(void) {
    struct passwd user;
    struct group group;
    char buffer[256];
    int error;
#define CALL(call, wanted_status, wanted_error)                                                    \
    do {                                                                                           \
        error = UNTOUCHED;                                                                         \
        errno = 7;                                                                                 \
        status got = call;                                                                         \
        int after = errno;                                                                         \
        DEMAND(after == 7, "%s left errno %d", #call, after);                                      \
        DEMAND(got == NSS_STATUS_##wanted_status, "%s: status %d", #call, got);                    \
        DEMAND(error == wanted_error, "%s: errnop %d", #call, error);                              \
    } while (0)
    CALL(pwnam("web", &user, buffer, sizeof buffer, &error), SUCCESS, UNTOUCHED);
    CALL(grgid(61200, &group, buffer, sizeof buffer, &error), SUCCESS, UNTOUCHED);
    CALL(pwnam("nobody-here", &user, buffer, sizeof buffer, &error), NOTFOUND, ENOENT);
    CALL(grnam("a:b", &group, buffer, sizeof buffer, &error), NOTFOUND, ENOENT);
    CALL(pwuid(61201, &user, buffer, sizeof buffer, &error), NOTFOUND, ENOENT);
    CALL(grgid(1000, &group, buffer, sizeof buffer, &error), NOTFOUND, ENOENT);
    CALL(pwuid(61200, &user, buffer, 5, &error), TRYAGAIN, ERANGE);
    CALL(initgroups_of("web", 61200, 0, 0, 0, -1, &error), NOTFOUND, ENOENT);
    CALL(setpw(1), SUCCESS, UNTOUCHED);
    CALL(pwent(&user, buffer, sizeof buffer, &error), SUCCESS, UNTOUCHED);
    for (int again = 0; again < 3; again++)
        CALL(pwent(&user, buffer, sizeof buffer, &error), NOTFOUND, ENOENT);
    CALL(endpw(), SUCCESS, UNTOUCHED);
    CALL(pwent(&user, buffer, sizeof buffer, &error), SUCCESS, UNTOUCHED);
    CALL(setgr(0), SUCCESS, UNTOUCHED);
    CALL(grent(&group, buffer, sizeof buffer, &error), SUCCESS, UNTOUCHED);
    CALL(grent(&group, buffer, sizeof buffer, &error), NOTFOUND, ENOENT);
    CALL(endgr(), SUCCESS, UNTOUCHED);
    CALL(grent(&group, buffer, sizeof buffer, &error), SUCCESS, UNTOUCHED);
    /* As glibc calls: errnop is errno itself. */
    errno = 7;
    DEMAND(pwuid(61201, &user, buffer, sizeof buffer, &errno) == NSS_STATUS_NOTFOUND, "miss");
    DEMAND(errno == ENOENT, "errno is %d", errno);
    errno = 7;
    DEMAND(pwuid(61200, &user, buffer, sizeof buffer, &errno) == NSS_STATUS_SUCCESS, "hit");
    DEMAND(errno == 7, "errno is %d", errno);
    /* Null pointers. */
    CALL(pwnam(0, &user, buffer, sizeof buffer, &error), UNAVAIL, EINVAL);
    CALL(grnam(0, &group, buffer, sizeof buffer, &error), UNAVAIL, EINVAL);
    CALL(pwnam("web", 0, buffer, sizeof buffer, &error), UNAVAIL, EINVAL);
    CALL(pwuid(61200, &user, 0, sizeof buffer, &error), UNAVAIL, EINVAL);
    CALL(pwuid(61200, &user, 0, 0, &error), TRYAGAIN, ERANGE);
    CALL(pwuid(61200, &user, buffer, sizeof buffer, 0), SUCCESS, UNTOUCHED);
    CALL(pwuid(61201, &user, buffer, sizeof buffer, 0), NOTFOUND, UNTOUCHED);
    CALL(pwent(0, 0, 0, 0), UNAVAIL, UNTOUCHED);
    CALL(initgroups_of(0, 0, 0, 0, 0, 0, 0), NOTFOUND, UNTOUCHED);
    /* A table that cannot be reached: the next service is asked. */
    DEMAND(!system("rm -r /run/dynuser && touch /run/dynuser"), "no shell");
    CALL(pwnam("web", &user, buffer, sizeof buffer, &error), UNAVAIL, ENOTDIR);
    CALL(grgid(61200, &group, buffer, sizeof buffer, &error), UNAVAIL, ENOTDIR);
    setpw(0);
    CALL(pwent(&user, buffer, sizeof buffer, &error), UNAVAIL, ENOTDIR);
    DEMAND(!system("rm /run/dynuser && ln -s dynuser /run/dynuser"), "no shell");
    CALL(pwuid(61200, &user, buffer, sizeof buffer, &error), UNAVAIL, ELOOP);
    CALL(grent(&group, buffer, sizeof buffer, &error), UNAVAIL, ELOOP);
    DEMAND(!system("rm /run/dynuser"), "no shell");
    setgr(0);
    CALL(grent(&group, buffer, sizeof buffer, &error), NOTFOUND, ENOENT);
    CALL(pwuid(61200, &user, buffer, sizeof buffer, &error), NOTFOUND, ENOENT);
}

static atomic_int stop;
static atomic_long hits, misses;

/* Asks for a user that comes, goes and changes; every answer is one that was true. */
static void *hammer(void *unused) {
    while (!stop) {
        struct passwd user;
        struct group group;
        char buffer[128];
        int error = UNTOUCHED;
        errno = 7;
        status got = pwuid(61200, &user, buffer, sizeof buffer, &error);
        if (got == NSS_STATUS_SUCCESS)
            DEMAND(!strcmp(user.pw_name, "web") || !strcmp(user.pw_name, "a-longer-name"), "%s",
                   user.pw_name);
        else DEMAND(got == NSS_STATUS_NOTFOUND && error == ENOENT, "%d, %d", got, error);
        atomic_fetch_add(got == NSS_STATUS_SUCCESS ? &hits : &misses, 1);
        got = grnam("web", &group, buffer, sizeof buffer, &error);
        if (got == NSS_STATUS_SUCCESS)
            DEMAND((group.gr_gid == 61200 || group.gr_gid == 61201) && !strcmp(group.gr_name, "web"),
                   "%s %u", group.gr_name, group.gr_gid);
        else DEMAND(got == NSS_STATUS_NOTFOUND && error == ENOENT, "%d, %d", got, error);
        DEMAND(errno == 7, "errno %d", errno);
    }
    return unused;
}

static void put(const char *target, const char *link) {
    unlink(TABLE "new");
    DEMAND(!symlink(target, TABLE "new") && !rename(TABLE "new", link), "%s", strerror(errno));
}

static void part_flap(void) {
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) DEMAND(!pthread_create(&threads[i], 0, hammer, 0), "no thread");
    for (time_t end = time(0) + 2; time(0) < end;) {
        put("a-longer-name", TABLE "uid:61200"), put("61201", TABLE "name:web");
        put("no/name", TABLE "uid:61200"), put("0", TABLE "name:web");
        unlink(TABLE "uid:61200"), unlink(TABLE "name:web");
        put("web", TABLE "uid:61200"), put("61200", TABLE "name:web");
    }
    stop = 1;
    for (int i = 0; i < 8; i++) pthread_join(threads[i], 0);
    DEMAND(hits > 100 && misses > 0, "%ld hits, %ld misses", hits, misses);
}

static atomic_int seen[131072];

/* Walks with a buffer that is first too short. */
static void *walk(void *unused) {
    for (;;) {
        struct group group;
        char buffer[128];
        int error = UNTOUCHED;
        status got = grent(&group, buffer, 10, &error);
        if (got == NSS_STATUS_TRYAGAIN) got = grent(&group, buffer, sizeof buffer, &error);
        if (got == NSS_STATUS_NOTFOUND) return unused;
        DEMAND(got == NSS_STATUS_SUCCESS, "status %d, error %d", got, error);
        seen[group.gr_gid]++;
    }
}

/* Every other group is in a second range. */
static int number(int i) { return i % 2 ? 70000 + i : 61184 + i * 8; }

/* Eight threads share one walk: each of 500 groups is seen by exactly one of them. */
static void part_walk(void) {
    pthread_t threads[8];
    put("61184-65519,70000-70499", TABLE "ranges");
    for (int i = 0; i < 500; i++) {
        char link[64], name[16];
        snprintf(link, sizeof link, TABLE "uid:%d", number(i));
        snprintf(name, sizeof name, "user%d", i);
        put(name, link);
    }
    for (int round = 1; round <= 20; round++) {
        setgr(0);
        for (int i = 0; i < 8; i++) DEMAND(!pthread_create(&threads[i], 0, walk, 0), "no thread");
        for (int i = 0; i < 8; i++) pthread_join(threads[i], 0);
        for (int i = 0; i < 500; i++)
            DEMAND(seen[number(i)] == round, "%d was seen %d times in %d rounds", number(i),
                   seen[number(i)], round);
    }
}

int main(int argc, char **argv) {
    DEMAND(argc == 3, "usage: probe MODULE PART");
    load(argv[1]);
    if (!strcmp(argv[2], "short")) part_short();
    else if (!strcmp(argv[2], "errno")) part_errno();
    else if (!strcmp(argv[2], "flap")) part_flap();
    else if (!strcmp(argv[2], "walk")) part_walk();
    else DEMAND(0, "no part %s", argv[2]);
    return 0;
}
