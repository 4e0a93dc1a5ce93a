/* Loaded before libc: counts every call that changes files below a root, SQLite's included, once `shim_arm` was
   called, and lets the `at`-th of them fail with `code` (0: kill the process), `forever`: all later ones too. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static char root[PATH_MAX];
static long at, calls;
static int code, forever, armed;

void shim_arm(const char *path, long number, int error, int always) {
  snprintf(root, sizeof root, "%s", path);
  at = number, code = error, forever = always, calls = 0, armed = 1;
}
long shim_calls(void) { armed = 0; return calls; }

static int below(const char *path) { return path && strncmp(path, root, strlen(root)) == 0; }

static int open_below(int fd) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return below(path);
}

/* Whether this call is to fail; does not come back where it is to be the last. */
static int strike(void) {
  long number = __sync_add_and_fetch(&calls, 1);
  if (at == 0 || number < at || (number > at && !forever)) return 0;
  if (code == 0) kill(getpid(), SIGKILL);
  errno = code;
  return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define HIT(condition) (armed && (condition) && strike())

static int opening(const char *name, const char *path, int flags, mode_t mode) {
  if ((flags & (O_CREAT | O_WRONLY | O_RDWR)) && HIT(below(path))) return -1;
  return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name))(path, flags, mode);
}
#define MODE(flags) mode_t mode = 0; if (flags & O_CREAT) { va_list a; va_start(a, flags); mode = va_arg(a, int); va_end(a); }
int open(const char *path, int flags, ...) { MODE(flags) return opening("open", path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opening("open64", path, flags, mode); }
ssize_t write(int fd, const void *b, size_t n) { return HIT(open_below(fd)) ? -1 : REAL(write)(fd, b, n); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { return HIT(open_below(fd)) ? -1 : REAL(pwrite)(fd, b, n, o); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { return HIT(open_below(fd)) ? -1 : REAL(pwrite64)(fd, b, n, o); }
int fsync(int fd) { return HIT(open_below(fd)) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return HIT(open_below(fd)) ? -1 : REAL(fdatasync)(fd); }
int ftruncate(int fd, off_t n) { return HIT(open_below(fd)) ? -1 : REAL(ftruncate)(fd, n); }
int ftruncate64(int fd, off64_t n) { return HIT(open_below(fd)) ? -1 : REAL(ftruncate64)(fd, n); }
int fallocate(int fd, int m, off_t o, off_t n) { return HIT(open_below(fd)) ? -1 : REAL(fallocate)(fd, m, o, n); }
int rename(const char *a, const char *b) { return HIT(below(b)) ? -1 : REAL(rename)(a, b); }
int mkdir(const char *path, mode_t mode) { return HIT(below(path)) ? -1 : REAL(mkdir)(path, mode); }
int unlink(const char *path) { return HIT(below(path)) ? -1 : REAL(unlink)(path); }
int unlinkat(int fd, const char *path, int flags) { return HIT(below(path) || open_below(fd)) ? -1 : REAL(unlinkat)(fd, path, flags); }
int rmdir(const char *path) { return HIT(below(path)) ? -1 : REAL(rmdir)(path); }
int chmod(const char *path, mode_t mode) { return HIT(below(path)) ? -1 : REAL(chmod)(path, mode); }
