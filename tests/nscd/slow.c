/* A source of names for nsswitch.conf(5) that knows nobody, and says so only when /run/slow is gone: like a directory
   server that does not answer for a while. While somebody waits, /run/asked is there. Where /run/slow-once is there, the
   first who asks makes it /run/slow-taken, and alone waits until that is gone. */
#include <errno.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
static int nobody(int *error)
{
    if (rename("/run/slow-once", "/run/slow-taken") == 0)
        while (access("/run/slow-taken", F_OK) == 0)
            usleep(1000);
    while (access("/run/slow", F_OK) == 0) {
        close(creat("/run/asked", 0600));
        usleep(1000);
    }
    *error = ENOENT;
    return NSS_STATUS_NOTFOUND;
}
int _nss_slow_getpwnam_r(const char *n, struct passwd *p, char *b, size_t l, int *e) { return nobody(e); }
int _nss_slow_getpwuid_r(uid_t u, struct passwd *p, char *b, size_t l, int *e) { return nobody(e); }
int _nss_slow_getgrnam_r(const char *n, struct group *g, char *b, size_t l, int *e) { return nobody(e); }
int _nss_slow_getgrgid_r(gid_t g, struct group *r, char *b, size_t l, int *e) { return nobody(e); }
