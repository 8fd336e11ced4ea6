#define _GNU_SOURCE
/* Runs a command as root is in a container of a common runtime: with its capabilities and no others, and under a filter that refuses
 * what its default filter refuses (moby's profiles/seccomp/default.json): nothing may be mounted, no namespace made or entered, no key had.
 *
 * container [-L] [-K] [-m] [-u] COMMAND…
 *   -L  no Landlock either, as under filters that are older than it
 *   -K  keyctl(2) is there
 *   -m  CAP_SYS_ADMIN is there, and unshare(2): only mounting is refused, as a security module refuses it
 *   -u  CAP_SYS_ADMIN is there, and no filter: only the capabilities are fewer
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct sock_filter program[256];
static unsigned short length;

static void put(unsigned short code, unsigned k, unsigned char jt, unsigned char jf)
{
	program[length++] = (struct sock_filter){code, jt, jf, k};
}

static void refuse(long call, int error)
{
	put(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1);
	put(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error, 0, 0);
}

static void die(const char *what)
{
	perror(what);
	exit(125);
}

int main(int argc, char **argv)
{
	int landlock = 1, keys = 0, admin = 0, filter = 1;
	while (argc > 1 && argv[1][0] == '-') {
		switch (argv[1][1]) {
		case 'L': landlock = 0; break;
		case 'K': keys = 1; break;
		case 'm': admin = 1; break;
		case 'u': filter = 0; break;
		}
		argv++, argc--;
	}
	/* chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw, sys_chroot, mknod,
	 * audit_write, setfcap */
	unsigned long long kept = 0xa80425fbULL;
	if (admin)
		kept |= 1ULL << 21;
	for (int cap = 0; cap < 64; cap++)
		if (!(kept >> cap & 1))
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);

	put(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
	static const long mounting[] = {SYS_mount, SYS_umount2, SYS_pivot_root, SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick,
		SYS_move_mount, SYS_open_tree, SYS_mount_setattr};
	for (unsigned i = 0; i < sizeof mounting / sizeof *mounting; i++)
		refuse(mounting[i], admin ? EACCES : EPERM);
	static const long others[] = {SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_open_by_handle_at, SYS_name_to_handle_at, SYS_io_uring_setup,
		SYS_io_uring_enter, SYS_io_uring_register, SYS_sethostname, SYS_kcmp};
	for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
		refuse(others[i], EPERM);
	if (!keys) {
		refuse(SYS_keyctl, EPERM);
		refuse(SYS_add_key, EPERM);
		refuse(SYS_request_key, EPERM);
	}
	if (!landlock) {
		refuse(SYS_landlock_create_ruleset, EPERM);
		refuse(SYS_landlock_add_rule, EPERM);
		refuse(SYS_landlock_restrict_self, EPERM);
	}
	if (!admin) {
		refuse(SYS_unshare, EPERM);
		refuse(SYS_setns, EPERM);
		/* clone(2) with a new namespace; of clone3(2) no filter sees the flags. */
		refuse(SYS_clone3, ENOSYS);
		put(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3);
		put(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]), 0, 0);
		put(BPF_JMP | BPF_JSET | BPF_K,
		    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET, 0, 1);
		put(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM, 0, 0);
	}
	put(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
	struct sock_fprog all = {length, program};
	/* With CAP_SYS_ADMIN, so that no_new_privs stays what it was. */
	if (filter && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &all))
		die("seccomp");

	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct sets[2] = {{kept, kept, 0}, {kept >> 32, kept >> 32, 0}};
	if (syscall(SYS_capset, &header, sets))
		die("capset");
	execvp(argv[1], argv + 1);
	die(argv[1]);
}
