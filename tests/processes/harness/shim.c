/* Stands between a program and fsync/fdatasync. The file that SHIM_CONTROL names says what becomes of a call:
   "none" passes it on, "fail" returns EIO, "slow N" waits N ms and passes it on, "skip" returns success at once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int sync_through(const char *name, int fd) {
  int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  const char *path = getenv("SHIM_CONTROL");
  char line[64] = "none";
  int control = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (control >= 0) {
    ssize_t length = read(control, line, sizeof line - 1);
    line[length > 0 ? length : 0] = 0;
    close(control);
  }
  unsigned milliseconds = 0;
  if (strncmp(line, "fail", 4) == 0) {
    errno = EIO;
    return -1;
  }
  if (strncmp(line, "skip", 4) == 0) return 0;
  if (sscanf(line, "slow %u", &milliseconds) == 1) {
    struct timespec pause = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR) continue;
  }
  return next(fd);
}

int fsync(int fd) { return sync_through("fsync", fd); }
int fdatasync(int fd) { return sync_through("fdatasync", fd); }
