// Looks users up, in this process, again and again and in turns, and tells how long a look-up took.
//
//     nss MODULE NAME UID FILES_USER RESULTS USERDB
//
// MODULE: libnss_dynuser.so. NAME and UID: of a running user; nobody may be `missing` or 65000. FILES_USER: a user of
// /etc/passwd. USERDB: the folder where nss-systemd looks for servers, with the daemon's in it (`org.dynuser`). nss-systemd
// is measured where it finds nobody to ask, beside a server of our own that answers at once, and beside the daemon.
// RESULTS: a line for each kind of look-up: label, minimum, median and 90th percentile of the
// batches in ns for one look-up, number of look-ups.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <err.h>
#include <errno.h>
#include <nss.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BATCHES = 1000, BATCH = 10, WARM_UP = 10 };

typedef enum nss_status by_uid(uid_t, struct passwd *, char *, size_t, int *);
typedef enum nss_status by_name(const char *, struct passwd *, char *, size_t, int *);
static by_uid *module_by_uid;
static by_name *module_by_name;

// Which look-ups, through what. The number or the name is what is asked for: those of the running user stand for it until
// the arguments are read.
enum how { LINK, DIRECT, GLIBC };
static char number_link[64], name_link[64], no_link[] = "/run/dynuser/users/uid:65000", missing[] = "missing";
static char running[32], of_files[32];
enum { RUNNING_UID = -1 };
struct look_up {
    const char *label;
    enum how how;
    const char *service; // GLIBC: as in nsswitch.conf
    const char *name;
    int uid;
    int hit;
    int64_t times[BATCHES];
};

static struct look_up look_ups[] = {
    {"`readlink` of a number's link|hit", LINK, NULL, number_link, 0, 1, {0}},
    {"`readlink` of a name's link|hit", LINK, NULL, name_link, 0, 1, {0}},
    {"`readlink` of a number's link|miss", LINK, NULL, no_link, 0, 0, {0}},
    {"module, called directly: number|hit", DIRECT, NULL, NULL, RUNNING_UID, 1, {0}},
    {"module, called directly: name|hit", DIRECT, NULL, running, 0, 1, {0}},
    {"module, called directly: number|miss", DIRECT, NULL, NULL, 65000, 0, {0}},
    {"module, called directly: name|miss", DIRECT, NULL, missing, 0, 0, {0}},
    {"module, called directly: a number that is never handed out|miss", DIRECT, NULL, NULL, 65534, 0, {0}},
    {"glibc, `dynuser`: number|hit", GLIBC, "dynuser", NULL, RUNNING_UID, 1, {0}},
    {"glibc, `dynuser`: name|hit", GLIBC, "dynuser", running, 0, 1, {0}},
    {"glibc, `dynuser`: number|miss", GLIBC, "dynuser", NULL, 65000, 0, {0}},
    {"glibc, `dynuser`: name|miss", GLIBC, "dynuser", missing, 0, 0, {0}},
    {"glibc, `files`: name|hit", GLIBC, "files", of_files, 0, 1, {0}},
    {"glibc, `files`: number|miss", GLIBC, "files", NULL, 65000, 0, {0}},
    {"glibc, `files`: name|miss", GLIBC, "files", missing, 0, 0, {0}},
    {"glibc, `files dynuser`: number|hit", GLIBC, "files dynuser", NULL, RUNNING_UID, 1, {0}},
};
static struct look_up systemd_alone[] = {
    {"glibc, `systemd`, nobody to ask: number|miss", GLIBC, "systemd", NULL, 65000, 0, {0}},
    {"glibc, `systemd`, nobody to ask: name|miss", GLIBC, "systemd", missing, 0, 0, {0}},
};
static struct look_up systemd_served[] = {
    {"glibc, `systemd`, a server that answers at once: number|hit", GLIBC, "systemd", NULL, RUNNING_UID, 1, {0}},
    {"glibc, `systemd`, a server that answers at once: name|hit", GLIBC, "systemd", running, 0, 1, {0}},
    {"glibc, `systemd`, a server that answers at once: number|miss", GLIBC, "systemd", NULL, 65000, 0, {0}},
    {"glibc, `systemd`, a server that answers at once: name|miss", GLIBC, "systemd", missing, 0, 0, {0}},
};
static struct look_up systemd_daemon[] = {
    {"glibc, `systemd`, our daemon's server: number|hit", GLIBC, "systemd", NULL, RUNNING_UID, 1, {0}},
    {"glibc, `systemd`, our daemon's server: name|hit", GLIBC, "systemd", running, 0, 1, {0}},
    {"glibc, `systemd`, our daemon's server: number|miss", GLIBC, "systemd", NULL, 65000, 0, {0}},
    {"glibc, `systemd`, our daemon's server: name|miss", GLIBC, "systemd", missing, 0, 0, {0}},
};
static uid_t running_uid;
#define LENGTH(array) (sizeof(array) / sizeof *(array))

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

// One look-up: 1 for a hit, 0 for a miss; a third outcome ends the program.
static int look(const struct look_up *what) {
    char buffer[1024];
    struct passwd record, *found = NULL;
    uid_t uid = what->uid == RUNNING_UID ? running_uid : (uid_t)what->uid;
    int error = 0;
    switch (what->how) {
    case LINK:
        if (readlink(what->name, buffer, sizeof buffer) >= 0)
            return 1;
        error = errno;
        break;
    case DIRECT:
        switch (what->name
                    ? module_by_name(what->name, &record, buffer, sizeof buffer, &error)
                    : module_by_uid(uid, &record, buffer, sizeof buffer, &error)) {
        case NSS_STATUS_SUCCESS:
            return 1;
        case NSS_STATUS_NOTFOUND:
            return 0;
        default:
            break;
        }
        break;
    case GLIBC:
        error = what->name ? getpwnam_r(what->name, &record, buffer, sizeof buffer, &found)
                           : getpwuid_r(uid, &record, buffer, sizeof buffer, &found);
        if (error == 0 && found)
            return 1;
        break;
    }
    if (error == 0 || error == ENOENT || error == ESRCH)
        return 0;
    errno = error;
    err(1, "%s", what->label);
}

static int64_t batch(const struct look_up *what) {
    if (what->how == GLIBC && __nss_configure_lookup("passwd", what->service))
        err(1, "__nss_configure_lookup %s", what->service);
    // The first one after the change is not counted: it loads what it needs.
    int hits = look(what);
    int64_t start = now();
    for (int i = 0; i < BATCH; i++)
        hits += look(what);
    int64_t end = now();
    if (hits != (what->hit ? BATCH + 1 : 0))
        errx(1, "%s: %d of %d were found", what->label, hits, BATCH + 1);
    return (end - start) / BATCH;
}

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void measure(struct look_up *what, size_t count, FILE *results) {
    for (int round = -WARM_UP; round < BATCHES; round++)
        for (size_t i = 0; i < count; i++) {
            int64_t took = batch(&what[i]);
            if (round >= 0)
                what[i].times[round] = took;
        }
    for (size_t i = 0; i < count; i++) {
        int64_t *times = what[i].times;
        qsort(times, BATCHES, sizeof *times, compare);
        fprintf(results, "%s\t%ld\t%ld\t%ld\t%d\n", what[i].label, (long)times[0],
                (long)times[BATCHES / 2], (long)times[BATCHES * 9 / 10], BATCHES * BATCH);
    }
}

// A server of io.systemd.UserDatabase (varlink: JSON and a NUL) that knows one user and does not
// think: faster than any that would look something up.
static void serve(int listener, const char *service) {
    char number[16];
    snprintf(number, sizeof number, "%u", running_uid);
    for (;;) {
        int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (connection < 0)
            err(1, "accept");
        char question[4096], answer[1024];
        ssize_t length;
        while ((length = recv(connection, question, sizeof question - 1, 0)) > 0) {
            question[length] = 0;
            int known = strstr(question, running) || strstr(question, number);
            int written =
                known ? snprintf(answer, sizeof answer,
                                 "{\"parameters\":{\"record\":{\"userName\":\"%s\",\"uid\":%s,"
                                 "\"gid\":%s,\"service\":\"%s\"},\"incomplete\":false}}",
                                 running, number, number, service)
                      : snprintf(answer, sizeof answer,
                                 "{\"error\":\"io.systemd.UserDatabase.NoRecordFound\","
                                 "\"parameters\":{}}");
            if (send(connection, answer, (size_t)written + 1, MSG_NOSIGNAL) < 0)
                break;
        }
        close(connection);
    }
}

static pid_t start_server(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        errx(1, "%s is too long", path);
    strcpy(address.sun_path, path);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) ||
        listen(listener, 16) || chmod(path, 0666))
        err(1, "%s", path);
    pid_t pid = fork();
    if (pid < 0)
        err(1, "fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(listener, strrchr(path, '/') + 1);
    }
    close(listener);
    return pid;
}

static void measure_systemd(const char *userdb, FILE *results) {
    char daemon[64], away[64], own[64];
    snprintf(daemon, sizeof daemon, "%s/org.dynuser", userdb);
    snprintf(away, sizeof away, "%s.away", userdb);
    snprintf(own, sizeof own, "%s/io.example.Bench", userdb);
    // A socket that is called something else is still the same one.
    if (rename(daemon, away))
        err(1, "%s", daemon);
    measure(systemd_alone, LENGTH(systemd_alone), results);
    // A child would write it once more.
    fflush(results);
    pid_t server = start_server(own);
    measure(systemd_served, LENGTH(systemd_served), results);
    if (kill(server, SIGKILL) || waitpid(server, NULL, 0) != server || unlink(own) || rename(away, daemon))
        err(1, "%s", own);
    measure(systemd_daemon, LENGTH(systemd_daemon), results);
}

int main(int argc, char **argv) {
    if (argc != 7)
        errx(1, "usage: nss MODULE NAME UID FILES_USER RESULTS USERDB");
    void *module = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!module)
        errx(1, "%s", dlerror());
    *(void **)&module_by_uid = dlsym(module, "_nss_dynuser_getpwuid_r");
    *(void **)&module_by_name = dlsym(module, "_nss_dynuser_getpwnam_r");
    if (!module_by_uid || !module_by_name)
        errx(1, "%s", dlerror());
    snprintf(running, sizeof running, "%s", argv[2]);
    running_uid = (uid_t)strtoul(argv[3], NULL, 10);
    snprintf(of_files, sizeof of_files, "%s", argv[4]);
    snprintf(number_link, sizeof number_link, "/run/dynuser/users/uid:%u", running_uid);
    snprintf(name_link, sizeof name_link, "/run/dynuser/users/name:%s", running);
    FILE *results = fopen(argv[5], "we");
    if (!results)
        err(1, "%s", argv[5]);
    measure(look_ups, LENGTH(look_ups), results);
    measure_systemd(argv[6], results);
    return fclose(results) ? 1 : 0;
}
