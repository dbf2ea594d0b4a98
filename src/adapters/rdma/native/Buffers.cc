#include "Buffers.h"

#include <rdma/fi_errno.h>
#include <sys/mman.h>
#include <unistd.h>

Pages::Pages(size_t wanted) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t rounded = (wanted + page - 1) / page * page;
  void* at = mmap(nullptr, rounded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return;
  bytes = static_cast<uint8_t*>(at);
  length = rounded;
}

Pages::~Pages() {
  if (bytes != nullptr) munmap(bytes, length);
}

int Buffers::take(size_t length, Buffer& into) {
  int sizeClass = 0;
  while (sizeClass < classes && (size_t{1} << (smallest + sizeClass)) < length) sizeClass++;
  if (sizeClass == classes) return -FI_EINVAL;
  std::vector<Buffer>& list = free[sizeClass];
  if (list.empty()) {
    const size_t size = size_t{1} << (smallest + sizeClass);
    const size_t bytes = size < chunkBytes ? chunkBytes : size;
    auto chunk = std::make_unique<Pages>(bytes);
    if (chunk->bytes == nullptr) return -FI_ENOMEM;
    fid_mr* region = nullptr;
    const int failed = registerMemory(chunk->bytes, bytes, &region);
    if (failed != 0) return failed;
    if (region != nullptr) regions.push_back(region);
    void* descriptor = region == nullptr ? nullptr : fi_mr_desc(region);
    for (size_t at = 0; at + size <= bytes; at += size) list.push_back({chunk->bytes + at, descriptor, sizeClass});
    chunks.push_back(std::move(chunk));
  }
  into = list.back();
  list.pop_back();
  return 0;
}

void Buffers::give(const Buffer& buffer) {
  if (buffer.sizeClass >= 0) free[buffer.sizeClass].push_back(buffer);
}

void Buffers::release() {
  for (fid_mr* region : regions) fi_close(&region->fid);
  regions.clear();
}

Buffers::~Buffers() { release(); }
