/**
 * Memory that the provider may read and write: registered where it asks for that, in sizes of powers of two, handed out again
 * and again. It grows with what is under way at once, and shrinks only when it is destroyed.
 */
#pragma once
#include <rdma/fi_domain.h>
#include <stddef.h>
#include <stdint.h>

#include <functional>
#include <memory>
#include <vector>

/** Anonymous memory, by whole pages. */
struct Pages {
  uint8_t* bytes = nullptr;
  size_t length = 0;
  explicit Pages(size_t wanted);
  ~Pages();
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
};

struct Buffer {
  uint8_t* bytes = nullptr;
  void* descriptor = nullptr;
  int sizeClass = -1;
};

class Buffers {
 public:
  /** Registers memory: 0 and a region (or none, where none is needed), or an error of libfabric. */
  using Register = std::function<int(void*, size_t, fid_mr**)>;
  explicit Buffers(Register registerMemory) : registerMemory(std::move(registerMemory)) {}
  ~Buffers();
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  /** 0, or an error of libfabric when there is no memory or it cannot be registered. */
  int take(size_t length, Buffer& into);
  void give(const Buffer& buffer);
  /** Registrations end. After the endpoint is closed, before its domain is. */
  void release();

 private:
  static constexpr int smallest = 9;  // 512 bytes
  static constexpr int classes = 24;
  static constexpr size_t chunkBytes = 256 * 1024;
  Register registerMemory;
  std::vector<Buffer> free[classes];
  std::vector<std::unique_ptr<Pages>> chunks;
  std::vector<fid_mr*> regions;
};
