/**
 * libfabric, loaded at run time: its entry points at the ABI of the headers this was compiled with (1.17); all else is called
 * through tables that it hands out. Libraries stay loaded until the process ends.
 */
#pragma once
#include <rdma/fabric.h>

#include <string>
#include <vector>

/** Why something failed, thrown: a code for programs, a sentence for people. */
struct Failure {
  std::string code;
  std::string message;
};

/** What a provider says of itself. */
struct Offer {
  std::string name;
  std::string version;
  bool remoteReads;
  bool manualProgress;
};

struct Library {
  uint32_t (*version)() = nullptr;
  int (*getinfo)(uint32_t, const char*, const char*, uint64_t, const fi_info*, fi_info**) = nullptr;
  void (*freeinfo)(fi_info*) = nullptr;
  fi_info* (*dupinfo)(const fi_info*) = nullptr;
  int (*fabric)(fi_fabric_attr*, fid_fabric**, void*) = nullptr;
  const char* (*strerror)(int) = nullptr;

  /** `path`: the library, a folder that has it and what it needs, or empty for the system's. Throws `ERR_RDMA_LIBRARY`. */
  static const Library& load(const std::string& path);

  std::string versionText() const;
  /** `Connection refused (111)`, of 111 or -111. */
  std::string errorText(long code) const;
  /** Providers with reliable messages, and remote reads if `reads`, of this name or any; null when there is none. */
  fi_info* find(const std::string& provider, const std::string& host, bool reads, int& code) const;
  std::vector<Offer> offers() const;
};

/** Whether remote reads cost the target's CPU: it says so, or it is known to be software. */
bool progressIsManual(const fi_info* info);
