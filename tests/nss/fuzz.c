/* Asks the module for whatever comes to mind, while links say whatever comes to mind. Usage: fuzz MODULE SECONDS:SEED
 *
 * Every answer is compared with what another reader of the same links says (reader.h), and nothing outside
 * the caller's memory may change: buffers, names and lists of groups end where a page ends that nobody may touch. The
 * same seed asks the same questions in the same order. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static unsigned long long seed, turn;
#define CONTEXT() fprintf(stderr, "seed %llu, turn %llu: ", seed, turn)
#include "module.h"
#include "reader.h"

enum { POOL = 24, ROOM = 36864, GROUP_ROOM = 4096 };

static uint64_t state;
static uint64_t random_number(void) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}
static unsigned below(unsigned limit) { return (unsigned)(random_number() % limit); }
static int one_in(unsigned n) { return below(n) == 0; }

/* The end of `length` bytes that stand before a page which nobody may touch. */
static char *before_guard(size_t length) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (length + page - 1) / page * page;
    char *memory = mmap(0, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    DEMAND(memory != MAP_FAILED && !mprotect(memory + whole, page, PROT_NONE), "no memory");
    return memory + whole;
}

/* ---- the table, here and in /run ---- */

static struct link by_name[POOL], by_number[POOL], ranges_link;

static void letters(char *to, unsigned length) {
    static const char set[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789-";
    for (unsigned i = 0; i < length; i++) to[i] = set[below(i ? sizeof set - 1 : 53)];
    to[length] = 0;
}

static void make_keys(void) {
    static const unsigned odd[] = {1, 7, 65533, 65534, 65536, 70000, 2147483647, 2147483648u};
    for (int i = 0; i < POOL; i++) {
        letters(by_name[i].key, i < 4 ? 31 : 1 + below(31));
        /* Half of them are neighbours. */
        unsigned number = i < 8 ? odd[i] : i % 2 ? (unsigned)atol(by_number[i - 1].key) + 1 : 61184 + below(4336);
        for (int j = 0; j < i; j++) {
            if (!strcmp(by_name[i].key, by_name[j].key)) letters(by_name[i].key, 20), j = -1;
            else if ((unsigned)atol(by_number[j].key) == number) number++, j = -1;
        }
        snprintf(by_number[i].key, sizeof by_number[i].key, "%u", number);
    }
}

static void append(struct link *link, const char *text) {
    size_t length = strlen(text);
    if (link->length + length > FILE_MOST) length = FILE_MOST - link->length;
    memcpy(link->target + link->length, text, length);
    link->target[link->length += length] = 0;
}

/* What the daemon may write for a key. Mostly short, now and then about as long as it may be. */
static void make_text(struct link *link, const char *key) {
    char word[300];
    link->length = 0;
    append(link, key);
    size_t want = one_in(20) ? MOST - 20 + below(40) : 0, last = link->length;
    append(link, ":");
    if (!one_in(3)) {
        word[0] = '/';
        letters(word + 1, one_in(8) ? 240 + below(20) : 1 + below(30));
        append(link, word), last = link->length;
    }
    append(link, ":");
    for (unsigned i = 0, count = one_in(2) ? below(6) : 0; i < count; i++) {
        snprintf(word, sizeof word, "%s%u", i ? "," : "",
                 one_in(2) ? 1 + below(9) : (unsigned)random_number());
        append(link, word), last = link->length;
    }
    append(link, ":");
    for (unsigned i = 0, count = one_in(2) ? below(5) : 0; i < count || link->length < want; i++) {
        if (i) append(link, ",");
        letters(word, want ? 1 : 1 + below(31));
        append(link, word), last = link->length;
        if (link->length >= FILE_MOST) break;
    }
    link->target[link->length = last] = 0;
}

static char any_byte(void) {
    static const char likely[] = "::::,,,,//00129-+ a_.\n\t\x7f\xff";
    return one_in(3) ? (char)(1 + below(255)) : likely[below(sizeof likely - 1)];
}

static void mutate(char *text, size_t *length, size_t most) {
    for (unsigned count = 1 + below(3); count; count--) {
        size_t at = *length ? below((unsigned)*length) : 0;
        switch (below(5)) {
        case 0: if (*length) text[at] = any_byte(); break;
        case 1:
            if (*length < most) memmove(text + at + 1, text + at, *length - at), text[at] = any_byte(), ++*length;
            break;
        case 2: if (*length) memmove(text + at, text + at + 1, *length - at - 1), --*length; break;
        case 3: *length = at; break;
        default:
            if (*length + (*length - at) <= most)
                memmove(text + *length, text + at, *length - at), *length += *length - at;
        }
    }
    text[*length] = 0;
}

static void put(struct link *link, const char *prefix) {
    char path[96];
    snprintf(path, sizeof path, TABLE "%s%s", prefix, link->key);
    unlink(TABLE "new");
    if (!link->length) DEMAND(!unlink(path) || errno == ENOENT, "%s", path);
    else DEMAND(!symlink(link->target, TABLE "new") && !rename(TABLE "new", path), "%s: %m", path);
}

static void change_table(void) {
    int names = one_in(2), at = (int)below(POOL), other = one_in(3) ? (int)below(POOL) : at;
    struct link *link = names ? &by_name[at] : &by_number[at];
    if (one_in(6)) link->length = 0;
    else if (one_in(8)) {
        link->length = 1 + below(one_in(2) ? 60 : FILE_MOST);
        for (size_t i = 0; i < link->length; i++) link->target[i] = any_byte();
        link->target[link->length] = 0;
    } else {
        make_text(link, (names ? by_number : by_name)[other].key);
        if (one_in(3)) mutate(link->target, &link->length, FILE_MOST);
    }
    put(link, names ? "name:" : "uid:");
}

static void change_ranges(void) {
    ranges_link.length = 0;
    if (!one_in(8)) {
        unsigned from = 0;
        char word[40];
        for (unsigned i = 0, count = 1 + below(one_in(9) ? 30 : 5); i < count; i++) {
            unsigned first = one_in(2) ? (unsigned)atol(by_number[below(POOL)].key) : from + below(3000);
            unsigned last = first + below(60);
            if (first < from) continue;
            snprintf(word, sizeof word, first == last ? "%s%u" : "%s%u-%u", from ? "," : "", first, last);
            append(&ranges_link, word);
            from = last + 1;
        }
        if (one_in(4)) mutate(ranges_link.target, &ranges_link.length, FILE_MOST);
    }
    put(&ranges_link, "ranges");
}

/* ---- what the table says, as the other reader has it ---- */

static struct text text;

/* Who has a name, or a number; 0 if nobody has. */
static int named(const char *name, struct user *user) {
    for (int i = 0; is_name(name) && i < POOL; i++)
        if (!strcmp(by_name[i].key, name))
            return read_text(&by_name[i], &text) && is_number(text.key, &user->number) &&
                   handed_out(user->number) &&
                   (*user = (struct user){by_name[i].key, text.home, user->number, text.member_count, text.members}, 1);
    return 0;
}

static int numbered(unsigned number, struct user *user) {
    for (int i = 0; handed_out(number) && i < POOL; i++)
        if ((unsigned)strtoul(by_number[i].key, 0, 10) == number)
            return read_text(&by_number[i], &text) && is_name(text.key) &&
                   (*user = (struct user){text.key, text.home, number, text.member_count, text.members}, 1);
    return 0;
}

/* How far each walk is. */
static struct { unsigned place; int over; } walks[KINDS];

static int next_of_walk(enum kind kind, struct user *user) {
    struct range ranges[256];
    size_t count = read_ranges(&ranges_link, ranges);
    if (walks[kind].over) return 0;
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].last < walks[kind].place) continue;
        unsigned number = ranges[i].first > walks[kind].place ? ranges[i].first : walks[kind].place;
        for (; number <= ranges[i].last; walks[kind].place = ++number)
            if (numbered(number, user)) return 1;
    }
    walks[kind].over = 1;
    return 0;
}

/* ---- questions ---- */

static char *buffers_end, *names_end, *groups_end, *new_groups_end;
static unsigned long long hits, misses, shorts, lists, longer_lists, no_memory, changes;

/* A name to ask for, at the end of memory. */
static char *make_name(void) {
    static char name[8192];
    size_t length;
    if (one_in(40)) length = below(6000), memset(name, any_byte(), length), name[length] = 0;
    else {
        strcpy(name, by_name[below(POOL)].key);
        length = strlen(name);
        if (one_in(4)) mutate(name, &length, sizeof name - 1);
    }
    length = strlen(name);
    return memcpy(names_end - length - 1, name, length + 1);
}

static unsigned make_number(void) {
    unsigned number = (unsigned)strtoul(by_number[below(POOL)].key, 0, 10);
    return one_in(5) ? number + below(5) - 2 : one_in(10) ? (unsigned)random_number() : number;
}

static void ask_for_a_record(void) {
    enum kind kind = below(KINDS);
    /* Steps of a walk pass thousands of numbers. */
    enum way way = one_in(12) ? NEXT : below(2);
    if (!HAS(kind, way)) way = NAME;
    struct user user = {0}, question = {way == NAME ? make_name() : 0, 0, make_number(), 0, 0};
    if (one_in(200)) {
        int ends = one_in(2);
        DEMAND((ends ? of[kind].end() : of[kind].set(0)) == NSS_STATUS_SUCCESS, "set or end");
        walks[kind].place = 0, walks[kind].over = 0;
    }
    int known = way == NAME     ? named(question.name, &user)
                : way == NUMBER ? numbered(question.number, &user)
                                : next_of_walk(kind, &user);
    unsigned gap = below(17);
    size_t length = below(one_in(8) ? ROOM - 128 : 80);
    if (known && !one_in(4)) {
        length = need(kind, &user, buffers_end - gap) + below(20);
        length = length < 9 ? 0 : length - 9;
    }
    char *buffer = buffers_end - gap - length;
    memset(buffer - 64, 0x5A, length + gap + 64);
    if (way == NAME && one_in(6) && strlen(question.name) < length) question.name = strcpy(buffer, question.name);
    union record record;
    memset(&record, 0x5A, sizeof record);
    int error = UNTOUCHED;
    errno = 7;
    status got = look(kind, way, &question, &record, buffer, length, &error);
    DEMAND(errno == 7, "errno %d", errno);
    for (char *at = buffer - 64; at < buffer; at++) DEMAND(*at == 0x5A, "wrote before the buffer");
    for (char *at = buffer + length; at < buffers_end; at++) DEMAND(*at == 0x5A, "wrote behind the buffer");
    if (!known) {
        DEMAND(got == NSS_STATUS_NOTFOUND && error == ENOENT, "kind %d, way %d: %d, %d", kind, way, got, error);
        misses++;
    } else if (length < need(kind, &user, buffer)) {
        DEMAND(got == NSS_STATUS_TRYAGAIN && error == ERANGE, "kind %d, way %d, %s, %zu bytes: %d, %d", kind, way,
               user.name, length, got, error);
        shorts++;
    } else {
        DEMAND(got == NSS_STATUS_SUCCESS && error == UNTOUCHED, "kind %d, way %d, %s, %zu bytes: %d, %d", kind, way,
               user.name, length, got, error);
        check_record(kind, &record, &user, buffer, length);
        if (way == NEXT) walks[kind].place = user.number + 1;
        hits++;
    }
}

static int fail_realloc, realloc_calls;
static gid_t *realloc_list;
extern void *__libc_realloc(void *, size_t);

/* The module's realloc is this one, as it would be that of a program with an allocator of its own. */
void *realloc(void *memory, size_t size) {
    if (!memory || memory != realloc_list) return __libc_realloc(memory, size);
    realloc_calls++;
    if (fail_realloc) return errno = ENOMEM, (void *)0;
    DEMAND(size && size <= GROUP_ROOM * sizeof(gid_t), "realloc of %zu bytes", size);
    char *old_end = groups_end;
    gid_t *moved = (gid_t *)(new_groups_end - size);
    size_t had = (size_t)(old_end - (char *)memory);
    memcpy(moved, memory, had < size ? had : size);
    return realloc_list = moved;
}

static void ask_for_groups(void) {
    static gid_t wanted[GROUP_ROOM];
    char *name = make_name();
    struct user user;
    int known = named(name, &user);
    long size = below(8) + 1, start = below((unsigned)size + 1), before = size;
    long limit = one_in(3) ? (long)below(14) : -(long)below(2);
    gid_t own = 1 + below(9), *groups = (gid_t *)groups_end - size;
    for (long i = 0; i < size; i++) groups[i] = wanted[i] = i < start ? 1 + below(9) : 0x5A5A5A5A;
    size_t count = (size_t)start, candidates = 0;
    for (size_t i = 0; known && i < text.group_count; i++) {
        size_t same = 0;
        candidates += text.groups[i] != own;
        while (same < count && wanted[same] != text.groups[i]) same++;
        if (text.groups[i] != own && same == count && (limit <= 0 || (long)count < limit)) wanted[count++] = text.groups[i];
    }
    fail_realloc = one_in(10), realloc_calls = 0, realloc_list = groups;
    long had = start;
    int error = UNTOUCHED;
    errno = 7;
    status got = initgroups_of(name, own, &start, &size, &groups, limit, &error);
    DEMAND(errno == 7, "errno %d", errno);
    DEMAND(groups == realloc_list, "another list");
    realloc_list = 0;
    if (!candidates)
        DEMAND(got == NSS_STATUS_NOTFOUND && error == ENOENT && !realloc_calls, "%d, %d", got, error);
    else if (fail_realloc && realloc_calls) {
        DEMAND(got == NSS_STATUS_TRYAGAIN && error == ENOMEM, "%d, %d", got, error);
        no_memory++;
    } else {
        DEMAND(got == NSS_STATUS_SUCCESS && error == UNTOUCHED, "%d, %d", got, error);
        DEMAND(start == (long)count, "%ld groups for %zu", start, count);
        lists++, longer_lists += realloc_calls > 0;
    }
    if (got != NSS_STATUS_SUCCESS) DEMAND(start == had && size == before, "changed: %ld of %ld", start, size);
    DEMAND(size >= start && size >= before && (limit <= 0 || size == before || size <= limit), "size %ld", size);
    DEMAND(!memcmp(groups, wanted, (size_t)start * sizeof *groups), "other groups");
}

int main(int argc, char **argv) {
    unsigned long seconds = 0;
    DEMAND(argc == 3 && sscanf(argv[2], "%lu:%llu", &seconds, &seed) == 2, "usage: fuzz MODULE SECONDS:SEED");
    load(argv[1]);
    state = seed * 0x9E3779B97F4A7C15 + 0x1234567;
    buffers_end = before_guard(ROOM), names_end = before_guard(8192);
    groups_end = before_guard(64), new_groups_end = before_guard(GROUP_ROOM * sizeof(gid_t));
    make_keys();
    /* On a busy machine, too, enough to have seen everything. */
    for (time_t end = time(0) + (time_t)seconds; turn < 20000 || turn % 64 || time(0) <= end; turn++) {
        if (one_in(4)) change_table(), changes++;
        if (one_in(400)) change_ranges();
        for (unsigned count = below(5); count; count--) ask_for_a_record();
        if (one_in(3)) ask_for_groups();
    }
    DEMAND(hits > 1000 && misses > 1000 && shorts > 1000 && longer_lists > 100 && no_memory > 10 && lists > longer_lists,
           "%llu hits, %llu misses, %llu short, %llu lists, %llu longer, %llu without memory", hits, misses, shorts,
           lists, longer_lists, no_memory);
    printf("seed %llu: %llu hits, %llu misses, %llu too short, %llu lists of groups (%llu made longer, %llu without memory), "
           "%llu changes of the table in %lu s\n",
           seed, hits, misses, shorts, lists, longer_lists, no_memory, changes, seconds);
    return 0;
}
