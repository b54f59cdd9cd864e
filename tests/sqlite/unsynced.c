/* What `unsynced.rs` puts before the C library of a service: the fsync of one file fails, as a disk's would.
 *
 * UNSYNCED is the path of a file that says which, by its path; where it is not there, none fails. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(int fd) {
    char link[64], path[PATH_MAX], victim[PATH_MAX];
    const char *told = getenv("UNSYNCED");
    int from = told ? open(told, O_RDONLY | O_CLOEXEC) : -1;
    if (from < 0) return 0;
    ssize_t wanted = read(from, victim, sizeof victim);
    close(from);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t found = readlink(link, path, sizeof path);
    return found > 0 && found == wanted && memcmp(path, victim, found) == 0;
}

int fsync(int fd) {
    if (fails(fd)) return errno = EIO, -1;
    return syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    if (fails(fd)) return errno = EIO, -1;
    return syscall(SYS_fdatasync, fd);
}
