/* Look-ups a second over nscd's socket: CLIENTS at the same time ask for a user by NAME, as the C libraries do (a
   connection each), for SECONDS. Prints how many a second there were in all, and the median in microseconds. With
   "unknown" the answer must be that there is none. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1000000 };

static double now(void)
{
    struct timespec it;
    clock_gettime(CLOCK_MONOTONIC, &it);
    return it.tv_sec + it.tv_nsec / 1e9;
}

static int compare(const void *one, const void *other)
{
    float a = *(const float *)one, b = *(const float *)other;
    return (a > b) - (a < b);
}

/* What is found: 1, 0 for nobody, something else for no answer. */
static int look_up(const char *name)
{
    static const struct sockaddr_un address = {AF_UNIX, "/run/nscd/socket"};
    char request[300];
    int32_t head[3] = {2, 0, strlen(name) + 1}, answer[64];
    memcpy(request, head, sizeof head);
    strcpy(request + sizeof head, name);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t length = sizeof head + strlen(name) + 1, read_so_far = 0, more;
    if (client < 0 || connect(client, (const struct sockaddr *)&address, sizeof address) ||
        send(client, request, length, MSG_NOSIGNAL) != length) {
        close(client);
        return -2;
    }
    while ((size_t)read_so_far < sizeof answer &&
           (more = read(client, (char *)answer + read_so_far, sizeof answer - read_so_far)) > 0)
        read_so_far += more;
    close(client);
    return read_so_far < 36 ? -2 : answer[1];
}

int main(int count, char **words)
{
    if (count < 4 || strlen(words[1]) > 200)
        return 2;
    int clients = atoi(words[2]), expected = strcmp(words[1], "unknown") != 0;
    double seconds = atof(words[3]);
    float *times = mmap(0, sizeof *times * MOST * clients, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int *done = mmap(0, sizeof *done * clients, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (times == MAP_FAILED || done == MAP_FAILED)
        return 2;
    for (int at = 0; at < clients; at++)
        if (fork() == 0) {
            double begin = now(), last = begin;
            while (last < begin + seconds && done[at] < MOST) {
                if (look_up(words[1]) != expected)
                    _exit(1);
                double next = now();
                times[at * MOST + done[at]++] = (next - last) * 1e6;
                last = next;
            }
            _exit(0);
        }
    int status, failed = 0, all = 0;
    while (wait(&status) > 0)
        failed |= status;
    for (int at = 0; at < clients; at++) {
        memmove(times + all, times + (size_t)at * MOST, sizeof *times * done[at]);
        all += done[at];
    }
    if (failed || !all)
        return 1;
    qsort(times, all, sizeof *times, compare);
    printf("%.0f %.1f\n", all / seconds, times[all / 2]);
    return 0;
}
