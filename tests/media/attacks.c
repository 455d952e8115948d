/* Stands in for an FFmpeg that a hostile file has taken over: tries one thing, prints the outcome.

   ffmpeg [options] attack NAME [ARGUMENT]  prints "done" or the name of the error. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_in loopback(const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int connected(int type, int protocol, const char *port) {
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, type, protocol);
    if (fd < 0) return -1;
    return connect(fd, (struct sockaddr *)&address, sizeof address);
}

static int opened(const char *path, int flags) {
    char byte;
    int fd = open(path, flags, 0600);
    if (fd < 0) return -1;
    if ((flags & O_ACCMODE) != O_RDONLY) return write(fd, "x", 1) == 1 ? 0 : -1;
    return read(fd, &byte, 1) < 0 ? -1 : 0;
}

static int forked(pid_t child) {
    if (child < 0) return -1;
    if (child == 0) _exit(0);
    return waitpid(child, NULL, 0) == child ? 0 : -1;
}

static void *nothing(void *argument) { return argument; }

static int attack(const char *name, const char *argument) {
    static char *empty[] = {"true", NULL};
    static char *none[] = {NULL};
    char path[64], memory[8];
    pid_t parent = getppid();
    if (!strcmp(name, "connect")) return connected(SOCK_STREAM, 0, argument);
    if (!strcmp(name, "udp")) return connected(SOCK_DGRAM, 0, argument);
    if (!strcmp(name, "multipath")) return connected(SOCK_STREAM, 262, argument);
    if (!strcmp(name, "fast-open")) {
        struct sockaddr_in address = loopback(argument);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0) return -1;
        return sendto(fd, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&address, sizeof address) < 0
                   ? -1 : 0;
    }
    if (!strcmp(name, "listen")) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        return fd < 0 ? -1 : listen(fd, 1);
    }
    if (!strcmp(name, "unix-socket")) return socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? -1 : 0;
    if (!strcmp(name, "netlink")) return socket(AF_NETLINK, SOCK_RAW, 0) < 0 ? -1 : 0;
    if (!strcmp(name, "parent-environment")) {
        snprintf(path, sizeof path, "/proc/%d/environ", parent);
        return opened(path, O_RDONLY);
    }
    if (!strcmp(name, "parent-command-line")) {
        snprintf(path, sizeof path, "/proc/%d/cmdline", parent);
        return opened(path, O_RDONLY);
    }
    if (!strcmp(name, "parent-memory")) {
        snprintf(path, sizeof path, "/proc/%d/mem", parent);
        return open(path, O_RDONLY) < 0 ? -1 : 0;
    }
    if (!strcmp(name, "parent-memory-by-call")) {
        struct iovec here = {memory, sizeof memory};
        struct iovec there = {(void *)strtoull(argument, NULL, 10), sizeof memory};
        return process_vm_readv(parent, &here, 1, &there, 1, 0) < 0 ? -1 : 0;
    }
    if (!strcmp(name, "debug-parent")) return ptrace(PTRACE_SEIZE, parent, 0, 0) < 0 ? -1 : 0;
    if (!strcmp(name, "signal-parent")) return kill(parent, 0);
    if (!strcmp(name, "signal-thread")) return syscall(SYS_tgkill, parent, parent, 0) < 0 ? -1 : 0;
    if (!strcmp(name, "read")) return opened(argument, O_RDONLY);
    if (!strcmp(name, "write")) return opened(argument, O_WRONLY | O_CREAT);
    if (!strcmp(name, "truncate")) return truncate(argument, 0);
    if (!strcmp(name, "list")) return open(argument, O_RDONLY | O_DIRECTORY) < 0 ? -1 : 0;
    if (!strcmp(name, "remove")) return unlink(argument);
    if (!strcmp(name, "make-directory")) return mkdirat(AT_FDCWD, argument, 0700);
    if (!strcmp(name, "link")) return symlink("/", argument);
    if (!strcmp(name, "change-mode")) return fchmodat(AT_FDCWD, argument, 0777, 0);
    if (!strcmp(name, "execute")) return execve("/bin/true", empty, none);
    if (!strcmp(name, "execute-at")) {
        int fd = open("/bin/true", O_PATH);
        return fd < 0 ? -1 : (int)syscall(SYS_execveat, fd, "", empty, none, AT_EMPTY_PATH);
    }
    if (!strcmp(name, "execute-itself")) {
        char *print_version[] = {"ffmpeg", "-version", NULL};
        return execve(argument, print_version, none);
    }
    if (!strcmp(name, "fork")) return forked(fork());
    if (!strcmp(name, "vfork")) return forked(vfork());
    if (!strcmp(name, "clone3")) {
        unsigned long long arguments[8] = {0, 0, 0, 0, SIGCHLD};
        return forked((pid_t)syscall(SYS_clone3, arguments, sizeof arguments));
    }
    if (!strcmp(name, "thread")) {
        pthread_t thread;
        errno = pthread_create(&thread, NULL, nothing, NULL);
        return errno ? -1 : pthread_join(thread, NULL);
    }
    if (!strcmp(name, "descriptors")) {
        for (int count = 0; count < 200; count++)
            if (dup(0) < 0) return -1;
        return 0;
    }
    if (!strcmp(name, "memory")) {
        char *taken = malloc(strtoull(argument, NULL, 10));
        if (!taken) return -1;
        taken[0] = 1;
        return 0;
    }
    if (!strcmp(name, "raise-a-limit")) {
        struct rlimit limit = {4096, 4096};
        return setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (!strcmp(name, "fill")) {
        int fd = open(argument, O_WRONLY | O_CREAT, 0600);
        return fd < 0 ? -1 : ftruncate(fd, 1LL << 55);
    }
    if (!strcmp(name, "namespace")) return unshare(CLONE_NEWUSER);
    if (!strcmp(name, "io_uring")) {
        char parameters[128] = {0};
        return syscall(SYS_io_uring_setup, 1, parameters) < 0 ? -1 : 0;
    }
    if (!strcmp(name, "keys")) return syscall(SYS_keyctl, 0, -3, 0, 0, 0) < 0 ? -1 : 0;
    if (!strcmp(name, "bpf")) return syscall(SYS_bpf, 0, NULL, 0) < 0 && errno != E2BIG && errno != EINVAL ? -1 : 0;
    if (!strcmp(name, "memory-file")) return memfd_create("x", 0) < 0 ? -1 : 0;
    if (!strcmp(name, "terminal")) return ioctl(0, 0x5412, "x") < 0 && errno != ENOTTY ? -1 : 0;
    if (!strcmp(name, "wait")) return (int)pause();
    return 0;
}

int main(int count, char **arguments) {
    if (count == 2 && !strcmp(arguments[1], "-version")) {
        puts("ffmpeg version 9.0 stand-in");
        return 0;
    }
    /* The sandbox has no environment. Its limits follow right after the start. */
    struct rlimit core = {1, 1};
    while (!getenv("PATH") && core.rlim_max) {
        getrlimit(RLIMIT_CORE, &core);
        usleep(1000);
    }
    for (int at = 1; at + 1 < count; at++) {
        if (strcmp(arguments[at], "attack")) continue;
        const char *argument = at + 2 < count ? arguments[at + 2] : "";
        puts(attack(arguments[at + 1], argument) ? strerrorname_np(errno) : "done");
    }
    return 0;
}
