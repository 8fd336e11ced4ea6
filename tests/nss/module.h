/* The built module, loaded as glibc would load it, and what its records must look like. */
#ifndef MODULE_H
#define MODULE_H

#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <gshadow.h>
#include <nss.h>
#include <pwd.h>
#include <shadow.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What a program says of itself before it says what is wrong. */
#ifndef CONTEXT
#define CONTEXT() ((void)0)
#endif

#define DEMAND(what, ...)                                                                          \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            CONTEXT();                                                                             \
            fprintf(stderr, "line %d: %s: ", __LINE__, #what);                                     \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

#define TABLE "/run/dynuser/users/"
#define UNTOUCHED 4242

typedef enum nss_status status;

/* Kinds of records, and ways to get one. Shadow records have no number to ask for. */
enum kind { USERS, GROUPS, SHADOWS, GROUP_SHADOWS, KINDS };
enum way { NAME, NUMBER, NEXT, WAYS };
#define HAS(kind, way) ((way) != NUMBER || (kind) <= GROUPS)

union record {
    struct passwd user;
    struct group group;
    struct spwd shadow;
    struct sgrp gshadow;
};

/* One type for all kinds: where the record goes is an address like any other. */
static struct {
    status (*by_name)(const char *, union record *, char *, size_t, int *);
    status (*by_number)(uid_t, union record *, char *, size_t, int *);
    status (*next)(union record *, char *, size_t, int *);
    status (*set)(int);
    status (*end)(void);
} of[KINDS];
static status (*initgroups_of)(const char *, gid_t, long *, long *, gid_t **, long, int *);

static void *entry(void *module, const char *name) {
    char symbol[64];
    snprintf(symbol, sizeof symbol, "_nss_dynuser_%s", name);
    void *found = dlsym(module, symbol);
    DEMAND(found, "%s", dlerror());
    return found;
}

static void load(const char *file) {
    static const char *const names[KINDS][5] = {
        {"getpwnam_r", "getpwuid_r", "getpwent_r", "setpwent", "endpwent"},
        {"getgrnam_r", "getgrgid_r", "getgrent_r", "setgrent", "endgrent"},
        {"getspnam_r", 0, "getspent_r", "setspent", "endspent"},
        {"getsgnam_r", 0, "getsgent_r", "setsgent", "endsgent"},
    };
    void *module = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    DEMAND(module, "%s", dlerror());
    for (enum kind kind = 0; kind < KINDS; kind++) {
        *(void **)&of[kind].by_name = entry(module, names[kind][0]);
        if (HAS(kind, NUMBER)) *(void **)&of[kind].by_number = entry(module, names[kind][1]);
        *(void **)&of[kind].next = entry(module, names[kind][2]);
        *(void **)&of[kind].set = entry(module, names[kind][3]);
        *(void **)&of[kind].end = entry(module, names[kind][4]);
    }
    *(void **)&initgroups_of = entry(module, "initgroups_dyn");
}

/* What there is to know of a user. */
struct user {
    const char *name, *home;
    uid_t number;
    size_t member_count;
    const char *const *members;
};

static inline status look(enum kind kind, enum way way, const struct user *user,
                          union record *record, char *buffer, size_t length, int *errnop) {
    switch (way) {
    case NAME: return of[kind].by_name(user->name, record, buffer, length, errnop);
    case NUMBER: return of[kind].by_number(user->number, record, buffer, length, errnop);
    default: return of[kind].next(record, buffer, length, errnop);
    }
}

static inline int within(const void *at, size_t size, const char *buffer, size_t length) {
    uintptr_t from = (uintptr_t)buffer, start = (uintptr_t)at;
    return start >= from && start + size <= from + length;
}

static inline void check_word(const char *word, const char *wanted, const char *buffer,
                              size_t length) {
    DEMAND(within(word, strlen(wanted) + 1, buffer, length), "%s is outside", wanted);
    DEMAND(!strcmp(word, wanted), "%s is %s", wanted, word);
}

static inline void check_list(char **list, const char *const *wanted, size_t count,
                              const char *buffer, size_t length) {
    DEMAND((uintptr_t)list % _Alignof(char *) == 0, "the list is not aligned");
    DEMAND(within(list, (count + 1) * sizeof *list, buffer, length), "the list is outside");
    for (size_t i = 0; i < count; i++) check_word(list[i], wanted[i], buffer, length);
    DEMAND(!list[count], "the list is longer than %zu", count);
}

/* Checks that a record is that of `user`, and lies in the buffer. */
static inline void check_record(enum kind kind, const union record *record,
                                const struct user *user, const char *buffer, size_t length) {
    const char *const none = 0;
#define WORD(is, wanted) check_word(record->is, wanted, buffer, length)
    switch (kind) {
    case USERS:
        WORD(user.pw_name, user->name), WORD(user.pw_passwd, "x");
        WORD(user.pw_gecos, "Dynamic User"), WORD(user.pw_dir, user->home);
        WORD(user.pw_shell, "/usr/sbin/nologin");
        DEMAND(record->user.pw_uid == user->number, "UID %u", record->user.pw_uid);
        DEMAND(record->user.pw_gid == user->number, "GID %u", record->user.pw_gid);
        break;
    case GROUPS:
        WORD(group.gr_name, user->name), WORD(group.gr_passwd, "x");
        DEMAND(record->group.gr_gid == user->number, "GID %u", record->group.gr_gid);
        check_list(record->group.gr_mem, user->members, user->member_count, buffer, length);
        break;
    case SHADOWS: {
        WORD(shadow.sp_namp, user->name), WORD(shadow.sp_pwdp, "!*");
        const struct spwd *it = &record->shadow;
        DEMAND(it->sp_lstchg == -1 && it->sp_min == -1 && it->sp_max == -1 && it->sp_warn == -1 &&
                   it->sp_inact == -1 && it->sp_expire == 1 && it->sp_flag == ~0UL,
               "days and flags");
        break;
    }
    default:
        WORD(gshadow.sg_namp, user->name), WORD(gshadow.sg_passwd, "!*");
        check_list(record->gshadow.sg_adm, &none, 0, buffer, length);
        check_list(record->gshadow.sg_mem, &none, 0, buffer, length);
    }
#undef WORD
}

/* How long a buffer at this address must be for a record: words, and a list behind them that is aligned. */
static inline size_t need(enum kind kind, const struct user *user, const char *buffer) {
    size_t name = strlen(user->name) + 1;
    switch (kind) {
    case USERS: return name + 2 + 13 + strlen(user->home) + 1 + 18;
    case SHADOWS: return name + 3;
    default: break;
    }
    size_t words = name + (kind == GROUPS ? 2 : 3), list = 1;
    for (size_t i = 0; kind == GROUPS && i < user->member_count; i++)
        words += strlen(user->members[i]) + 1, list++;
    size_t over = ((uintptr_t)buffer + words) % _Alignof(char *);
    return words + (over ? _Alignof(char *) - over : 0) + list * sizeof(char *);
}

#endif
