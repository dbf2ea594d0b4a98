// libfabric as a network card would have it: memory must be locked to be registered, as much as the process may lock and no
// more. All else is the libfabric that WARMPATH_TEST_LIBFABRIC names. tcp and shm lock nothing, so nothing else fails so.
#include <dlfcn.h>
#include <rdma/fabric.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_errno.h>
#include <stdlib.h>
#include <sys/resource.h>

namespace {

template <typename Function>
Function real(const char* name) {
  static void* library = dlopen(getenv("WARMPATH_TEST_LIBFABRIC"), RTLD_NOW | RTLD_LOCAL);
  return reinterpret_cast<Function>(dlsym(library, name));
}

fi_ops_fabric fabrics;
fi_ops_mr regions;
int (*openDomain)(fid_fabric*, fi_info*, fid_domain**, void*);
int (*registerRegion)(fid*, const void*, size_t, uint64_t, uint64_t, uint64_t, uint64_t, fid_mr**, void*);
size_t locked = 0;

int lockedRegion(fid* owner, const void* at, size_t length, uint64_t access, uint64_t offset, uint64_t key, uint64_t flags,
                 fid_mr** region, void* context) {
  rlimit limit;
  if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && locked + length > limit.rlim_cur) return -FI_ENOMEM;
  locked += length;
  return registerRegion(owner, at, length, access, offset, key, flags, region, context);
}

int lockedDomain(fid_fabric* fabric, fi_info* info, fid_domain** domain, void* context) {
  const int code = openDomain(fabric, info, domain, context);
  if (code != 0) return code;
  regions = *(*domain)->mr;
  registerRegion = regions.reg;
  regions.reg = lockedRegion;
  (*domain)->mr = &regions;
  return 0;
}

}  // namespace

extern "C" {

uint32_t ours_version() { return real<uint32_t (*)()>("fi_version")(); }
const char* ours_strerror(int code) { return real<const char* (*)(int)>("fi_strerror")(code); }
void ours_freeinfo(fi_info* info) { real<void (*)(fi_info*)>("fi_freeinfo")(info); }
fi_info* ours_dupinfo(const fi_info* info) { return real<fi_info* (*)(const fi_info*)>("fi_dupinfo")(info); }
int ours_getinfo(uint32_t version, const char* node, const char* service, uint64_t flags, const fi_info* hints, fi_info** found) {
  using Get = int (*)(uint32_t, const char*, const char*, uint64_t, const fi_info*, fi_info**);
  return real<Get>("fi_getinfo")(version, node, service, flags, hints, found);
}
int ours_fabric(fi_fabric_attr* attributes, fid_fabric** fabric, void* context) {
  const int code = real<int (*)(fi_fabric_attr*, fid_fabric**, void*)>("fi_fabric")(attributes, fabric, context);
  if (code != 0) return code;
  fabrics = *(*fabric)->ops;
  openDomain = fabrics.domain;
  fabrics.domain = lockedDomain;
  (*fabric)->ops = &fabrics;
  return 0;
}

asm(".symver ours_version, fi_version@@FABRIC_1.0");
asm(".symver ours_strerror, fi_strerror@@FABRIC_1.0");
asm(".symver ours_fabric, fi_fabric@@FABRIC_1.1");
asm(".symver ours_getinfo, fi_getinfo@@FABRIC_1.3");
asm(".symver ours_freeinfo, fi_freeinfo@@FABRIC_1.3");
asm(".symver ours_dupinfo, fi_dupinfo@@FABRIC_1.3");
}
