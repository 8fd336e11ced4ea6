/* Calls the module as glibc would, and as nobody should. Usage: probe MODULE PART
 *
 * Every part ends the program with a sentence on stderr when the module does not keep its word. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "module.h"

static const char *const members[] = {"api", "a-longer-name-of-31-letters-012", "z"};
static const struct user web = {"web", "/var/lib/web", 61200, 3, members};

/* Every length at every alignment; the buffer ends where the memory ends, with a canary before. */
static void part_short(void) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), most = 160;
    char *memory = mmap(0, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    DEMAND(memory != MAP_FAILED && !mprotect(memory + page, page, PROT_NONE), "no memory");
    for (unsigned kind = 0, way = 0; kind < KINDS; way = (way + 1) % WAYS, kind += !way)
        for (size_t gap = 0; HAS(kind, way) && gap < 16; gap++) {
            of[kind].set(0);
            for (size_t length = 0; length <= most; length++) {
                char *end = memory + page - gap, *buffer = end - length;
                union record record;
                memset(memory, 0x5A, page);
                memset(&record, 0x5A, sizeof record);
                int error = UNTOUCHED;
                status got = look(kind, way, &web, &record, buffer, length, &error);
                for (char *at = memory; at < memory + page; at++)
                    DEMAND((at >= buffer && at < end) || *at == 0x5A,
                           "%u/%u wrote outside a buffer of %zu bytes", kind, way, length);
                if (length >= need(kind, &web, buffer)) {
                    DEMAND(got == NSS_STATUS_SUCCESS, "%u/%u: %d in %zu bytes", kind, way, got,
                           length);
                    DEMAND(error == UNTOUCHED, "errnop is touched by a success");
                    check_record(kind, &record, &web, buffer, length);
                    if (way == NEXT) of[kind].set(0);
                } else
                    /* A walk must still have the record that did not fit: it is the only one. */
                    DEMAND(got == NSS_STATUS_TRYAGAIN && error == ERANGE, "%u/%u, %zu bytes: %d, %s",
                           kind, way, length, got, strerror(error));
            }
        }
}

/* The thread's errno stays, whatever happens; what happened is in errnop. */
static void part_errno(void) {
    union record record;
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
    CALL(of[USERS].by_name("web", &record, buffer, sizeof buffer, &error), SUCCESS, UNTOUCHED);
    CALL(of[GROUPS].by_number(61200, &record, buffer, sizeof buffer, &error), SUCCESS, UNTOUCHED);
    CALL(of[USERS].by_name("nobody-here", &record, buffer, sizeof buffer, &error), NOTFOUND, ENOENT);
    CALL(of[GROUPS].by_name("a:b", &record, buffer, sizeof buffer, &error), NOTFOUND, ENOENT);
    CALL(of[USERS].by_number(61201, &record, buffer, sizeof buffer, &error), NOTFOUND, ENOENT);
    CALL(of[GROUPS].by_number(1000, &record, buffer, sizeof buffer, &error), NOTFOUND, ENOENT);
    CALL(of[USERS].by_number(61200, &record, buffer, 5, &error), TRYAGAIN, ERANGE);
    CALL(of[SHADOWS].by_name("web", &record, buffer, sizeof buffer, &error), SUCCESS, UNTOUCHED);
    CALL(of[SHADOWS].by_name("a/b", &record, buffer, sizeof buffer, &error), NOTFOUND, ENOENT);
    CALL(of[SHADOWS].by_name("web", &record, buffer, 6, &error), TRYAGAIN, ERANGE);
    CALL(of[GROUP_SHADOWS].by_name("web", &record, buffer, sizeof buffer, &error), SUCCESS, UNTOUCHED);
    CALL(of[GROUP_SHADOWS].by_name("webb", &record, buffer, sizeof buffer, &error), NOTFOUND, ENOENT);
    CALL(of[GROUP_SHADOWS].by_name("web", &record, buffer, 7, &error), TRYAGAIN, ERANGE);
    /* The name may lie where the record goes to. */
    strcpy(buffer, "web");
    CALL(of[USERS].by_name(buffer, &record, buffer, sizeof buffer, &error), SUCCESS, UNTOUCHED);
    check_record(USERS, &record, &web, buffer, sizeof buffer);
    strcpy(buffer + 2, "web");
    CALL(of[GROUPS].by_name(buffer + 2, &record, buffer, sizeof buffer, &error), SUCCESS, UNTOUCHED);
    check_record(GROUPS, &record, &web, buffer, sizeof buffer);
    CALL(of[USERS].set(1), SUCCESS, UNTOUCHED);
    CALL(of[USERS].next(&record, buffer, sizeof buffer, &error), SUCCESS, UNTOUCHED);
    for (int again = 0; again < 3; again++)
        CALL(of[USERS].next(&record, buffer, sizeof buffer, &error), NOTFOUND, ENOENT);
    CALL(of[USERS].end(), SUCCESS, UNTOUCHED);
    CALL(of[USERS].next(&record, buffer, sizeof buffer, &error), SUCCESS, UNTOUCHED);
    CALL(of[GROUPS].set(0), SUCCESS, UNTOUCHED);
    CALL(of[GROUPS].next(&record, buffer, sizeof buffer, &error), SUCCESS, UNTOUCHED);
    CALL(of[GROUPS].next(&record, buffer, sizeof buffer, &error), NOTFOUND, ENOENT);
    CALL(of[GROUPS].end(), SUCCESS, UNTOUCHED);
    CALL(of[GROUPS].next(&record, buffer, sizeof buffer, &error), SUCCESS, UNTOUCHED);
    /* As glibc calls: errnop is errno itself. */
    errno = 7;
    DEMAND(of[USERS].by_number(61201, &record, buffer, sizeof buffer, &errno) == NSS_STATUS_NOTFOUND, "miss");
    DEMAND(errno == ENOENT, "errno is %d", errno);
    errno = 7;
    DEMAND(of[USERS].by_number(61200, &record, buffer, sizeof buffer, &errno) == NSS_STATUS_SUCCESS, "hit");
    DEMAND(errno == 7, "errno is %d", errno);
    /* Null pointers. */
    CALL(of[USERS].by_name(0, &record, buffer, sizeof buffer, &error), UNAVAIL, EINVAL);
    CALL(of[GROUPS].by_name(0, &record, buffer, sizeof buffer, &error), UNAVAIL, EINVAL);
    CALL(of[USERS].by_name("web", 0, buffer, sizeof buffer, &error), UNAVAIL, EINVAL);
    CALL(of[USERS].by_number(61200, &record, 0, sizeof buffer, &error), UNAVAIL, EINVAL);
    CALL(of[USERS].by_number(61200, &record, 0, 0, &error), TRYAGAIN, ERANGE);
    CALL(of[USERS].by_number(61200, &record, buffer, sizeof buffer, 0), SUCCESS, UNTOUCHED);
    CALL(of[USERS].by_number(61201, &record, buffer, sizeof buffer, 0), NOTFOUND, UNTOUCHED);
    for (enum kind kind = 0; kind < KINDS; kind++) {
        CALL(of[kind].by_name(0, 0, 0, 0, &error), UNAVAIL, EINVAL);
        CALL(of[kind].next(0, 0, 0, 0), UNAVAIL, UNTOUCHED);
    }
    CALL(initgroups_of(0, 0, 0, 0, 0, 0, 0), UNAVAIL, UNTOUCHED);
    CALL(initgroups_of("web", 61200, 0, 0, 0, -1, &error), UNAVAIL, EINVAL);
    CALL(initgroups_of("api", 61200, 0, 0, 0, -1, &error), NOTFOUND, ENOENT);
    /* A table that cannot be reached: the next service is asked. */
    DEMAND(!system("rm -r /run/dynuser && touch /run/dynuser"), "no shell");
    CALL(of[USERS].by_name("web", &record, buffer, sizeof buffer, &error), UNAVAIL, ENOTDIR);
    CALL(of[GROUPS].by_number(61200, &record, buffer, sizeof buffer, &error), UNAVAIL, ENOTDIR);
    CALL(of[SHADOWS].by_name("web", &record, buffer, sizeof buffer, &error), UNAVAIL, ENOTDIR);
    CALL(initgroups_of("web", 61200, 0, 0, 0, -1, &error), UNAVAIL, ENOTDIR);
    of[USERS].set(0);
    CALL(of[USERS].next(&record, buffer, sizeof buffer, &error), UNAVAIL, ENOTDIR);
    DEMAND(!system("rm /run/dynuser && ln -s dynuser /run/dynuser"), "no shell");
    CALL(of[USERS].by_number(61200, &record, buffer, sizeof buffer, &error), UNAVAIL, ELOOP);
    CALL(of[GROUPS].next(&record, buffer, sizeof buffer, &error), UNAVAIL, ELOOP);
    DEMAND(!system("rm /run/dynuser"), "no shell");
    of[GROUPS].set(0);
    CALL(of[GROUPS].next(&record, buffer, sizeof buffer, &error), NOTFOUND, ENOENT);
    CALL(of[USERS].by_number(61200, &record, buffer, sizeof buffer, &error), NOTFOUND, ENOENT);
}

static atomic_int stop;
static atomic_long hits, misses;

/* What the links say in turns. */
static const char *const one[] = {"api"}, *const two[] = {"api", "db"};
static const struct user phases[] = {
    {"web", "/", 61200, 0, 0},
    {"web", "/var/lib/web", 61200, 1, one},
    {"web", "/var/lib/another-and-longer-home-for-it", 61201, 2, two},
    {"a-longer-name", "/srv", 61200, 0, 0},
};

/* Which of the phases a record is of; it must be of one as a whole. */
static void check_phase(enum kind kind, const union record *record) {
    const char *name = kind == USERS ? record->user.pw_name : record->group.gr_name;
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
        const struct user *phase = &phases[i];
        if (strcmp(name, phase->name)) continue;
        if (kind == USERS && record->user.pw_uid == phase->number &&
            !strcmp(record->user.pw_dir, phase->home))
            return;
        if (kind == GROUPS && record->group.gr_gid == phase->number) {
            size_t same = 0;
            while (same < phase->member_count && record->group.gr_mem[same] &&
                   !strcmp(record->group.gr_mem[same], phase->members[same]))
                same++;
            if (same == phase->member_count && !record->group.gr_mem[same]) return;
        }
    }
    DEMAND(0, "%s was never so", name);
}

/* Asks for a user that comes, goes and changes; every answer is one that was true. */
static void *hammer(void *unused) {
    while (!stop)
        for (int turn = 0; turn < 4; turn++) {
            enum kind kind = turn % 2 ? GROUPS : USERS;
            union record record;
            char buffer[160];
            int error = UNTOUCHED;
            errno = 7;
            status got = look(kind, turn < 2 ? NUMBER : NAME, &web, &record, buffer, sizeof buffer,
                              &error);
            DEMAND(errno == 7, "errno %d", errno);
            if (got == NSS_STATUS_SUCCESS) check_phase(kind, &record);
            else DEMAND(got == NSS_STATUS_NOTFOUND && error == ENOENT, "%d, %d", got, error);
            atomic_fetch_add(got == NSS_STATUS_SUCCESS ? &hits : &misses, 1);
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
        put("a-longer-name:/srv", TABLE "uid:61200");
        put("61201:/var/lib/another-and-longer-home-for-it:7:api,db", TABLE "name:web");
        put("web:/var/lib/web:44,45:api", TABLE "uid:61200");
        put("no/name", TABLE "uid:61200"), put("61200:home", TABLE "name:web");
        unlink(TABLE "uid:61200"), unlink(TABLE "name:web");
        put("web", TABLE "uid:61200"), put("61200:/var/lib/web::api", TABLE "name:web");
        put("61200", TABLE "name:web");
    }
    stop = 1;
    for (int i = 0; i < 8; i++) pthread_join(threads[i], 0);
    DEMAND(hits > 100 && misses > 0, "%ld hits, %ld misses", hits, misses);
}

static atomic_int seen[131072];

/* Walks with a buffer that is first too short. */
static void *walk(void *unused) {
    for (;;) {
        union record record;
        char buffer[128];
        int error = UNTOUCHED;
        status got = of[GROUPS].next(&record, buffer, 10, &error);
        if (got == NSS_STATUS_TRYAGAIN) got = of[GROUPS].next(&record, buffer, sizeof buffer, &error);
        if (got == NSS_STATUS_NOTFOUND) return unused;
        DEMAND(got == NSS_STATUS_SUCCESS, "status %d, error %d", got, error);
        seen[record.group.gr_gid]++;
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
        of[GROUPS].set(0);
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
