/* Another reader of the links in the table, which shares no line with the module. */
#ifndef READER_H
#define READER_H

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* How long a target may be, and how long a file system lets one be. */
enum { MOST = 4000, FILE_MOST = 4095 };

struct link { char key[40]; size_t length; char target[FILE_MOST + 1]; };

struct text {
    char key[FILE_MOST + 1], home[FILE_MOST + 1], words[FILE_MOST + 1];
    size_t group_count, member_count;
    gid_t groups[MOST];
    const char *members[MOST];
};

static int is_name(const char *word) {
    size_t length = strlen(word);
    if (!length || length > 31 || !(isalpha((unsigned char)*word) || *word == '_')) return 0;
    return strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789-") == length;
}

static int is_number(const char *word, unsigned *number) {
    char again[24];
    if (!isdigit((unsigned char)*word) || strlen(word) > 10) return 0;
    unsigned long long value = strtoull(word, 0, 10);
    snprintf(again, sizeof again, "%llu", value);
    if (value > UINT32_MAX || strcmp(again, word)) return 0;
    *number = (unsigned)value;
    return 1;
}

static int handed_out(unsigned number) {
    return number && number != 65534 && number != 65535 && number < 1u << 31;
}

static int read_text(const struct link *link, struct text *text) {
    size_t colons = 0;
    if (!link->length || link->length > MOST || link->target[link->length - 1] == ':') return 0;
    for (size_t i = 0; i < link->length; i++) colons += link->target[i] == ':';
    if (colons > 3) return 0;
    strcpy(text->words, link->target);
    char *rest = text->words;
    strcpy(text->key, strsep(&rest, ":"));
    const char *home = rest ? strsep(&rest, ":") : "";
    char *groups = rest ? strsep(&rest, ":") : "", *members = rest ? rest : "";
    strcpy(text->home, *home ? home : "/");
    if (*home && (*home != '/' || !home[1] || strlen(home) > 255)) return 0;
    for (const char *at = home; *at; at++)
        if ((unsigned char)*at < 32 || *at == 127) return 0;
    text->group_count = text->member_count = 0;
    while (groups && (*groups || text->group_count)) {
        unsigned number;
        if (!is_number(strsep(&groups, ","), &number) || !number || number == UINT32_MAX) return 0;
        text->groups[text->group_count++] = number;
    }
    while (members && (*members || text->member_count)) {
        char *member = strsep(&members, ",");
        if (!is_name(member)) return 0;
        text->members[text->member_count++] = member;
    }
    return 1;
}

struct range { unsigned first, last; };

/* The ranges that the link tells; those that everybody knows if it makes no sense. */
static size_t read_ranges(const struct link *link, struct range *ranges) {
    static const struct range known = {61184, 65519};
    static char words[FILE_MOST + 1];
    size_t count = 0;
    unsigned long long numbers = 0;
    ranges[0] = known;
    if (!link->length || link->length > 200) return 1;
    strcpy(words, link->target);
    for (char *rest = words; rest;) {
        char *last = strsep(&rest, ","), *first = strsep(&last, "-");
        struct range it;
        if (!is_number(first, &it.first) || !is_number(last ? last : first, &it.last) || it.first > it.last ||
            it.last > INT32_MAX || (count && it.first <= ranges[count - 1].last))
            return ranges[0] = known, 1;
        ranges[count++] = it;
        numbers += it.last - it.first + 1ULL;
    }
    return numbers > 1 << 20 ? ranges[0] = known, 1 : count;
}

#endif
