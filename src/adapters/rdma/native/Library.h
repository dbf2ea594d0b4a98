/**
 * libfabric, loaded at run time: its entry points at the ABI of the headers this was compiled with (1.17); all else is called
 * through tables that it hands out. Libraries stay loaded until the process ends.
 */
#pragma once
#include <rdma/fabric.h>
#include <rdma/fi_errno.h>
#include <string>
#include <vector>

struct Library {
  uint32_t (*version)() = nullptr;
  int (*getinfo)(uint32_t, const char*, const char*, uint64_t, const fi_info*, fi_info**) = nullptr;
  void (*freeinfo)(fi_info*) = nullptr;
  fi_info* (*dupinfo)(const fi_info*) = nullptr;
  int (*fabric)(fi_fabric_attr*, fid_fabric**, void*) = nullptr;
  const char* (*strerror)(int) = nullptr;

  /** What we ask it to behave as: our headers' version, or its own when that is older. */
  uint32_t api() const;
  std::string versionText() const;
  /** `Connection refused` for -111; provider errors are positive or negative alike. */
  std::string errorText(long code) const;
};

/** What a provider says of itself. */
struct Offer {
  std::string name;
  std::string version;
  bool remoteReads;
  bool manualProgress;
};

/** Why something failed: a code for programs, a sentence for people. */
struct Failure {
  std::string code;
  std::string message;
};

/**
 * `path`: the library, a folder that has it and what it needs, or empty for the system's. Null, and why, when it cannot be
 * loaded. The same path gives the same library.
 */
const Library* loadLibrary(const std::string& path, Failure& why);

/** What an endpoint needs of a provider: reliable messages, and remote reads if `reads`. The caller frees it. */
fi_info* hintsFor(const Library& library, const std::string& provider, bool reads);

/** Every provider with reliable messages, once. */
std::vector<Offer> offersOf(const Library& library);

/** Whether remote reads cost the target's CPU: it says so, or it is known to be software. */
bool progressIsManual(const fi_info* info);
