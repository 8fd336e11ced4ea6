/* What a C library knows of users and groups: one line for each argument, "u:NAME", "U:UID", "g:NAME", "G:GID" or
   "l:NAME" (the groups of a user). "+" before all of them: the same over and over, and then how many a second. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void user(const struct passwd *it)
{
    if (it)
        printf("%s:%s:%u:%u:%s:%s:%s\n", it->pw_name, it->pw_passwd, it->pw_uid, it->pw_gid, it->pw_gecos, it->pw_dir,
               it->pw_shell);
    else
        printf("%s\n", errno ? strerror(errno) : "none");
}

static void group(const struct group *it)
{
    if (!it) {
        printf("%s\n", errno ? strerror(errno) : "none");
        return;
    }
    printf("%s:%s:%u:", it->gr_name, it->gr_passwd, it->gr_gid);
    for (char **member = it->gr_mem; *member; member++)
        printf("%s%s", member == it->gr_mem ? "" : ",", *member);
    printf("\n");
}

static int compare(const void *one, const void *other)
{
    gid_t a = *(const gid_t *)one, b = *(const gid_t *)other;
    return (a > b) - (a < b);
}

/* Sorted: each library has an order of its own. */
static void groups(const char *name)
{
    struct passwd *it = getpwnam(name);
    gid_t found[1000];
    int count = 1000;
    if (getgrouplist(name, it ? it->pw_gid : 4000000000u, found, &count) < 0) {
        printf("%s\n", strerror(errno));
        return;
    }
    qsort(found, count, sizeof *found, compare);
    for (int at = 0; at < count; at++)
        printf("%s%u", at ? "," : "", found[at]);
    printf("\n");
}

static void look_up(const char *what)
{
    const char *key = what + 2;
    unsigned number = strtoul(key, 0, 10);
    errno = 0;
    printf("%s ", what);
    switch (*what) {
    case 'u': user(getpwnam(key)); break;
    case 'U': user(getpwuid(number)); break;
    case 'g': group(getgrnam(key)); break;
    case 'G': group(getgrgid(number)); break;
    case 'l': groups(key); break;
    }
}

static double now(void)
{
    struct timespec it;
    clock_gettime(CLOCK_MONOTONIC, &it);
    return it.tv_sec + it.tv_nsec / 1e9;
}

int main(int count, char **words)
{
    if (count > 1 && !strcmp(words[1], "+")) {
        int wrong = 0, asked = 0;
        double begin = now();
        for (; now() < begin + 1; asked++)
            wrong += !getpwnam(words[2 + asked % (count - 2)]);
        printf("%.0f look-ups a second, %d wrong\n", asked / (now() - begin), wrong);
        return 0;
    }
    for (int at = 1; at < count; at++)
        look_up(words[at]);
    return 0;
}
