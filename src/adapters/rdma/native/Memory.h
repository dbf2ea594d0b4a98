/** Memory by whole pages: of an endpoint's own, and mapped for regions. */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <string>

#include "Library.h"

inline uint8_t* mapPages(size_t length, int flags, int fd) {
  void* at = mmap(nullptr, length, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (at == MAP_FAILED) throw Failure{"ERR_RDMA_MEMORY", "Cannot map " + std::to_string(length) + " bytes: " + strerror(errno) + "."};
  return static_cast<uint8_t*>(at);
}

/** Anonymous memory, given back when this is destroyed. */
struct Pages {
  const size_t length;
  uint8_t* const bytes;
  explicit Pages(size_t wanted) : length((wanted + 4095) / 4096 * 4096), bytes(mapPages(length, MAP_PRIVATE | MAP_ANONYMOUS, -1)) {}
  ~Pages() { munmap(bytes, length); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
};

/** What peers may read: mapped once and kept until the process ends, so that nothing they may still read goes away. */
class Regions {
 public:
  /**
   * Maps a file, made or grown to `length`, that no other process has; or memory of none when `path` is empty. Throws
   * `ERR_RDMA_BACKING` for a file, else `ERR_RDMA_MEMORY`.
   */
  static uint8_t* map(const std::string& path, size_t length) {
    uint8_t* at = path.empty() ? mapPages(length, MAP_PRIVATE | MAP_ANONYMOUS, -1) : mapFile(path, length);
    const std::lock_guard<std::mutex> lock(mutex());
    return mapped().emplace(at, length).first->first;
  }

  static bool has(const uint8_t* bytes, size_t length) {
    const std::lock_guard<std::mutex> lock(mutex());
    auto after = mapped().upper_bound(const_cast<uint8_t*>(bytes));
    if (after == mapped().begin()) return false;
    --after;
    return length <= after->second && static_cast<size_t>(bytes - after->first) <= after->second - length;
  }

 private:
  static std::mutex& mutex() {
    static std::mutex one;
    return one;
  }
  static std::map<uint8_t*, size_t>& mapped() {
    static std::map<uint8_t*, size_t> all;
    return all;
  }

  static uint8_t* mapFile(const std::string& path, size_t length) {
    const auto refuse = [&path](const std::string& why) { return Failure{"ERR_RDMA_BACKING", "Cannot use " + path + " as memory: " + why + "."}; };
    struct Open {
      int fd;
      ~Open() {
        if (fd >= 0) close(fd);
      }
    } file{open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600)};
    struct stat found;
    int error = file.fd < 0 || fstat(file.fd, &found) != 0 ? errno : S_ISREG(found.st_mode) ? 0 : EINVAL;
    // Two that write to one memory would make nonsense of it. The lock is this process's for as long as the file is open in it.
    struct flock whole = {};
    whole.l_type = F_WRLCK;
    if (error == 0 && fcntl(file.fd, F_SETLK, &whole) != 0) {
      if (errno == EACCES || errno == EAGAIN) throw refuse("another process has it");
      error = errno;
    }
    if (error == 0) {
      // Whole huge pages where the file system has those; and all of it with a place on the device, because without one a write
      // to the memory would end the process (SIGBUS).
      const size_t unit = found.st_blksize > 0 ? static_cast<size_t>(found.st_blksize) : 4096;
      error = posix_fallocate(file.fd, 0, static_cast<off_t>((length + unit - 1) / unit * unit));
    }
    if (error != 0) throw refuse(std::to_string(length) + " bytes: " + strerror(error));
    uint8_t* at = mapPages(length, MAP_SHARED, file.fd);
    file.fd = -1;
    return at;
  }
};
