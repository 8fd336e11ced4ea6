// Starts commands again and again, in turns, and tells how long each took from posix_spawn(3) to
// waitpid(2).
//
//     spawn COMMANDS ROUNDS RESULTS
//
// COMMANDS: for each command a label, its words, one a line, and an empty line. RESULTS: a line
// for each command: label, minimum, median and 90th percentile in ns, number of runs. Descriptor 9,
// if it is open, is rewound before each start, for commands that read a file given to them there.
//
// The commands of a round come in an order that changes with each round, so that none always
// follows the same other: what one leaves to be done in the background slows down all the same.
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_COMMANDS = 64, MOST_WORDS = 96, WARM_UP = 10 };

struct command {
    char *label;
    char *words[MOST_WORDS + 1];
    int64_t *times;
};

static struct command commands[MOST_COMMANDS];
static size_t count;

static void read_commands(const char *path) {
    FILE *file = fopen(path, "re");
    if (!file)
        err(1, "%s", path);
    char *line = NULL;
    size_t room = 0, words = 0;
    for (ssize_t length; (length = getline(&line, &room, file)) > 0;) {
        line[--length] = 0;
        if (length == 0) {
            if (words > 0 && ++count == MOST_COMMANDS)
                errx(1, "too many commands");
            words = 0;
            continue;
        }
        char *word = strdup(line);
        if (!word || words > MOST_WORDS)
            errx(1, "too many words");
        if (words == 0)
            commands[count].label = word;
        else
            commands[count].words[words - 1] = word;
        words++;
    }
    fclose(file);
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static int64_t run(struct command *command) {
    extern char **environ;
    if (lseek(9, 0, SEEK_SET) < 0 && errno != EBADF)
        err(1, "descriptor 9");
    pid_t pid;
    int status;
    int64_t start = now();
    int error = posix_spawn(&pid, command->words[0], NULL, NULL, command->words, environ);
    if (error)
        errx(1, "%s: %s", command->words[0], strerror(error));
    if (waitpid(pid, &status, 0) != pid)
        err(1, "waitpid");
    int64_t end = now();
    if (status)
        errx(1, "%s: ended with wait status 0x%x", command->label, status);
    return end - start;
}

static size_t random_below(size_t limit) {
    static uint64_t state = 0x9E3779B97F4A7C15; // the same order each time
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state % limit;
}

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 4)
        errx(1, "usage: spawn COMMANDS ROUNDS RESULTS");
    read_commands(argv[1]);
    size_t rounds = strtoul(argv[2], NULL, 10);
    if (count == 0 || rounds == 0)
        errx(1, "nothing to do");
    FILE *results = fopen(argv[3], "we");
    if (!results)
        err(1, "%s", argv[3]);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
        err(1, "/dev/null");

    size_t order[MOST_COMMANDS];
    for (size_t i = 0; i < count; i++) {
        order[i] = i;
        if (!(commands[i].times = calloc(rounds, sizeof(int64_t))))
            err(1, "calloc");
    }
    for (size_t round = 0; round < rounds + WARM_UP; round++) {
        for (size_t i = count; i-- > 1;) {
            size_t other = random_below(i + 1), kept = order[i];
            order[i] = order[other], order[other] = kept;
        }
        for (size_t i = 0; i < count; i++) {
            int64_t took = run(&commands[order[i]]);
            if (round >= WARM_UP)
                commands[order[i]].times[round - WARM_UP] = took;
        }
    }
    for (size_t i = 0; i < count; i++) {
        int64_t *times = commands[i].times;
        qsort(times, rounds, sizeof *times, compare);
        fprintf(results, "%s\t%ld\t%ld\t%ld\t%zu\n", commands[i].label, (long)times[0],
                (long)times[rounds / 2], (long)times[rounds * 9 / 10], rounds);
    }
    return fclose(results) ? 1 : 0;
}
