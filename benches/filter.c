// Runs a command and writes down the system-call filter that it installs, as bwrap's --seccomp
// wants it: the bare array of struct sock_filter.
//
//     filter FILE COMMAND...
//
// The filter is read from the command's memory when it calls seccomp(2). Asking the kernel for it
// (PTRACE_SECCOMP_GET_FILTER) takes a configuration that not every kernel has.
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static void peek(pid_t pid, const void *from, void *to, size_t length) {
    struct iovec here = {to, length}, there = {(void *)from, length};
    if (process_vm_readv(pid, &here, 1, &there, 1, 0) != (ssize_t)length)
        err(1, "process_vm_readv");
}

static void write_filter(pid_t pid, const void *address, const char *path) {
    struct sock_fprog program;
    peek(pid, address, &program, sizeof program);
    struct sock_filter filter[BPF_MAXINSNS];
    if (program.len == 0 || program.len > BPF_MAXINSNS)
        errx(1, "a filter of %u instructions", program.len);
    size_t length = program.len * sizeof *filter;
    peek(pid, program.filter, filter, length);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0 || write(file, filter, length) != (ssize_t)length || close(file))
        err(1, "%s", path);
}

int main(int argc, char **argv) {
    if (argc < 3)
        errx(1, "usage: filter FILE COMMAND...");
    pid_t pid = fork();
    if (pid < 0)
        err(1, "fork");
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) || raise(SIGSTOP))
            err(1, "ptrace");
        execv(argv[2], argv + 2);
        err(1, "%s", argv[2]);
    }
    int status, found = 0;
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        errx(1, "the command did not start");
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC;
    if (ptrace(PTRACE_SETOPTIONS, pid, 0, options))
        err(1, "PTRACE_SETOPTIONS");
    for (int signal = 0;;) {
        if (ptrace(PTRACE_SYSCALL, pid, 0, signal))
            err(1, "PTRACE_SYSCALL");
        if (waitpid(pid, &status, 0) != pid)
            err(1, "waitpid");
        if (!WIFSTOPPED(status))
            break;
        signal = WSTOPSIG(status);
        if (signal != (SIGTRAP | 0x80)) {
            signal = signal == SIGTRAP ? 0 : signal;
            continue;
        }
        signal = 0;
        struct __ptrace_syscall_info info;
        if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) < 0)
            err(1, "PTRACE_GET_SYSCALL_INFO");
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr == SYS_seccomp &&
            info.entry.args[0] == SECCOMP_SET_MODE_FILTER) {
            write_filter(pid, (const void *)(uintptr_t)info.entry.args[2], argv[1]);
            found = 1;
        }
    }
    if (status || !found)
        errx(1, "the command %s (wait status 0x%x)",
             found ? "failed" : "installed no filter", status);
    return 0;
}
