/* A disk that fails: LD_PRELOADed, it lets write or fsync fail for files whose name has a word in it.
 *
 * FAULTS_CALL is "write" or "fsync", FAULTS_NAME the word; the error is EIO.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(const char *call, int file) {
    const char *wanted = getenv("FAULTS_CALL"), *word = getenv("FAULTS_NAME");
    char link[64], path[4096];
    if (!wanted || !word || strcmp(wanted, call)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return strstr(path, word) != NULL;
}

int fsync(int file) {
    if (fails("fsync", file)) { errno = EIO; return -1; }
    return syscall(SYS_fsync, file);
}

ssize_t write(int file, const void *bytes, size_t count) {
    if (fails("write", file)) { errno = EIO; return -1; }
    return syscall(SYS_write, file, bytes, count);
}
