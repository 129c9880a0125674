/* Stands between a program and its system.
   fsync and fdatasync: the file that SHIM_CONTROL names says what becomes of a call: "none" passes it on, "fail" returns
   EIO, "slow N" waits N ms and passes it on, "slow-tables N" does that with files of tables only, "skip" returns success at
   once.
   clock_gettime: the wall clock is SHIM_AHEAD seconds ahead.
   getaddrinfo: names that end in .test have the addresses that the file SHIM_HOSTS gives them ("name address" a line), and
   no others. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int is_of_tables(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  path[length > 0 ? length : 0] = 0;
  return strstr(path, "/tree/") != NULL;
}

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
  if (sscanf(line, "slow %u", &milliseconds) == 1 ||
      (sscanf(line, "slow-tables %u", &milliseconds) == 1 && is_of_tables(fd))) {
    struct timespec pause = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR) continue;
  }
  return next(fd);
}

int fsync(int fd) { return sync_through("fsync", fd); }
int fdatasync(int fd) { return sync_through("fdatasync", fd); }

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*next)(clockid_t, struct timespec *);
  static long ahead;
  if (next == NULL) {
    const char *seconds = getenv("SHIM_AHEAD");
    ahead = seconds ? atol(seconds) : 0;
    next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  }
  int result = next(clock, now);
  if (result == 0 && clock == CLOCK_REALTIME) now->tv_sec += ahead;
  return result;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
  int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
      (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(RTLD_NEXT, "getaddrinfo");
  size_t length = node ? strlen(node) : 0;
  if (length < 5 || strcmp(node + length - 5, ".test") != 0) return next(node, service, hints, found);
  const char *path = getenv("SHIM_HOSTS");
  FILE *hosts = path ? fopen(path, "re") : NULL;
  char name[256], address[64];
  int result = EAI_NONAME;
  while (result == EAI_NONAME && hosts && fscanf(hosts, "%255s %63s", name, address) == 2)
    if (strcmp(name, node) == 0) result = next(address, service, hints, found);
  if (hosts) fclose(hosts);
  return result;
}
