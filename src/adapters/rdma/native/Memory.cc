#include "Memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <mutex>

namespace {

std::mutex registering;
std::map<const uint8_t*, size_t>& mapped() {
  static std::map<const uint8_t*, size_t> all;
  return all;
}

uint8_t* failed(const std::string& what, int error, Failure& why) {
  why = {"ERR_RDMA_MEMORY", what + ": " + strerror(error) + "."};
  return nullptr;
}

/** The file's descriptor with at least `length` bytes, all of them with a place on the device; -1, and why. */
int openFile(const std::string& path, size_t length, Failure& why) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
  if (fd < 0) {
    failed("Cannot open " + path, errno, why);
    return -1;
  }
  struct stat found;
  int error = fstat(fd, &found) != 0 ? errno : S_ISREG(found.st_mode) ? 0 : EINVAL;
  if (error == 0) {
    // Whole huge pages where the file system has those.
    const auto unit = static_cast<size_t>(found.st_blksize > 0 ? found.st_blksize : 4096);
    const size_t wanted = (length + unit - 1) / unit * unit;
    // Without a place on the device a write to the memory would be the end of the process (SIGBUS).
    error = posix_fallocate(fd, 0, static_cast<off_t>(wanted));
  }
  if (error == 0) return fd;
  close(fd);
  failed("Cannot make " + path + " a file of " + std::to_string(length) + " bytes", error, why);
  return -1;
}

}  // namespace

uint8_t* mapMemory(const std::string& path, size_t length, Failure& why) {
  int fd = -1;
  if (!path.empty() && (fd = openFile(path, length, why)) < 0) return nullptr;
  void* at = mmap(nullptr, length, PROT_READ | PROT_WRITE, fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
  const int error = errno;
  if (fd >= 0) close(fd);
  if (at == MAP_FAILED) return failed("Cannot map " + std::to_string(length) + " bytes of " + (path.empty() ? "memory" : path), error, why);
  const std::lock_guard<std::mutex> lock(registering);
  mapped().emplace(static_cast<uint8_t*>(at), length);
  return static_cast<uint8_t*>(at);
}

bool isMapped(const uint8_t* bytes, size_t length) {
  const std::lock_guard<std::mutex> lock(registering);
  auto after = mapped().upper_bound(bytes);
  if (after == mapped().begin()) return false;
  --after;
  return bytes >= after->first && length <= after->second && static_cast<size_t>(bytes - after->first) <= after->second - length;
}
