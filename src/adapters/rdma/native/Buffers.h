/**
 * Memory that the provider may read and write: registered where it asks for that, in sizes of powers of two, handed out again
 * and again. It grows with what is under way at once, and shrinks only when it is destroyed.
 */
#pragma once
#include <rdma/fi_domain.h>

#include <functional>
#include <memory>
#include <vector>

#include "Memory.h"

struct Buffer {
  uint8_t* bytes = nullptr;
  void* descriptor = nullptr;
  unsigned sizeClass = 0;
};

class Buffers {
 public:
  /** Registers memory; null where the provider needs no registration. Throws. */
  using Register = std::function<fid_mr*(void*, size_t)>;
  explicit Buffers(Register registerMemory) : registerMemory(std::move(registerMemory)) {}

  Buffer take(size_t length) {
    unsigned sizeClass = 0;
    while (sizeOf(sizeClass) < length) sizeClass++;
    if (free.size() <= sizeClass) free.resize(sizeClass + 1);
    if (free[sizeClass].empty()) grow(sizeClass);
    const Buffer buffer = free[sizeClass].back();
    free[sizeClass].pop_back();
    return buffer;
  }

  void give(const Buffer& buffer) { free[buffer.sizeClass].push_back(buffer); }

  /** Registrations end. */
  void release() {
    for (fid_mr* region : regions) fi_close(&region->fid);
    regions.clear();
  }

 private:
  static constexpr size_t chunkBytes = 256 * 1024;
  static size_t sizeOf(unsigned sizeClass) { return size_t{512} << sizeClass; }

  void grow(unsigned sizeClass) {
    const size_t size = sizeOf(sizeClass);
    auto chunk = std::make_unique<Pages>(size < chunkBytes ? chunkBytes : size);
    fid_mr* region = registerMemory(chunk->bytes, chunk->length);
    if (region != nullptr) regions.push_back(region);
    void* descriptor = region == nullptr ? nullptr : fi_mr_desc(region);
    for (size_t at = 0; at + size <= chunk->length; at += size) free[sizeClass].push_back({chunk->bytes + at, descriptor, sizeClass});
    chunks.push_back(std::move(chunk));
  }

  const Register registerMemory;
  std::vector<std::vector<Buffer>> free;
  std::vector<std::unique_ptr<Pages>> chunks;
  std::vector<fid_mr*> regions;
};
