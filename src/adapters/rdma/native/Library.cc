#include "Library.h"

#include <dlfcn.h>
#include <rdma/fi_endpoint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <mutex>

namespace {

/** Settings that must be there before the first use. What the operator has set stays. */
void prepareEnvironment() {
  // Node forks for child processes; registered memory must survive that.
  for (const char* name : {"RDMAV_FORK_SAFE", "FI_EFA_FORK_SAFE", "CXI_FORK_SAFE"}) setenv(name, "1", 0);
  // The cache of registrations patches malloc and munmap in the process. Ours last as long as the endpoint.
  setenv("FI_MR_CACHE_MONITOR", "disabled", 0);
  // The PSM libraries would otherwise take the signals of a crash.
  for (const char* name : {"IPATH_NO_BACKTRACE", "HFI_NO_BACKTRACE"}) setenv(name, "1", 0);
}

bool is(const std::string& path, mode_t kind) {
  struct stat found;
  return stat(path.c_str(), &found) == 0 && (found.st_mode & S_IFMT) == kind;
}

/** Opens a library of a folder. What it lacks is opened from there first: a library loaded before is found by its name. */
void* openFrom(const std::string& folder, const std::string& name, std::string& error, int depth) {
  // One lacking library becomes known at a time; libfabric links some ten.
  for (int attempt = 0; attempt < 64; attempt++) {
    void* handle = dlopen((folder + "/" + name).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle != nullptr) return handle;
    error = dlerror();
    const std::string lacking = error.substr(0, error.find(':'));
    const bool isThere = lacking.find('/') == std::string::npos && lacking != name && is(folder + "/" + lacking, S_IFREG);
    if (!isThere || depth == 8 || openFrom(folder, lacking, error, depth + 1) == nullptr) return nullptr;
  }
  return nullptr;
}

template <typename Function>
void symbol(void* handle, const char* name, const char* version, Function& into) {
#ifdef __GLIBC__
  into = reinterpret_cast<Function>(dlvsym(handle, name, version));
#else
  into = reinterpret_cast<Function>(dlsym(handle, name));
#endif
  // The handle stays open: providers may have started threads.
  if (into == nullptr) throw Failure{"ERR_RDMA_LIBRARY", std::string("This libfabric lacks ") + name + "@" + version + ": 1.9 or newer is needed."};
}

}  // namespace

const Library& Library::load(const std::string& path) {
  static std::mutex loading;
  static std::map<std::string, Library> loaded;
  const std::lock_guard<std::mutex> lock(loading);
  const auto known = loaded.find(path);
  if (known != loaded.end()) return known->second;
  prepareEnvironment();
  std::string error;
  void* handle = nullptr;
  if (is(path, S_IFDIR)) {
    handle = openFrom(path, "libfabric.so.1", error, 0);
  } else {
    handle = dlopen(path.empty() ? "libfabric.so.1" : path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) error = dlerror();
  }
  if (handle == nullptr) {
    throw Failure{"ERR_RDMA_LIBRARY", "libfabric cannot be loaded: " + error + ". Install it (Debian, Ubuntu: apt install libfabric1; "
                                      "Fedora: dnf install libfabric)."};
  }
  Library library;
  symbol(handle, "fi_version", "FABRIC_1.0", library.version);
  symbol(handle, "fi_strerror", "FABRIC_1.0", library.strerror);
  symbol(handle, "fi_fabric", "FABRIC_1.1", library.fabric);
  symbol(handle, "fi_getinfo", "FABRIC_1.3", library.getinfo);
  symbol(handle, "fi_freeinfo", "FABRIC_1.3", library.freeinfo);
  symbol(handle, "fi_dupinfo", "FABRIC_1.3", library.dupinfo);
  return loaded.emplace(path, library).first->second;
}

std::string Library::versionText() const {
  return std::to_string(FI_MAJOR(version())) + "." + std::to_string(FI_MINOR(version()));
}

std::string Library::errorText(long code) const {
  const int positive = static_cast<int>(code < 0 ? -code : code);
  return std::string(strerror(positive)) + " (" + std::to_string(positive) + ")";
}

fi_info* Library::find(const std::string& provider, const std::string& host, bool reads, int& code) const {
  fi_info* hints = dupinfo(nullptr);
  fi_info* found = nullptr;
  hints->caps = FI_MSG | FI_SEND | FI_RECV | (reads ? FI_RMA | FI_READ | FI_REMOTE_READ : 0);
  hints->mode = FI_CONTEXT | FI_CONTEXT2;
  hints->ep_attr->type = FI_EP_RDM;
  hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY | FI_MR_ENDPOINT;
  hints->domain_attr->threading = FI_THREAD_DOMAIN;
  hints->domain_attr->av_type = FI_AV_TABLE;
  if (!provider.empty()) hints->fabric_attr->prov_name = strdup(provider.c_str());
  // Our headers' version, or the library's own when that is older.
  const uint32_t api = std::min<uint32_t>(version(), FI_VERSION(FI_MAJOR_VERSION, FI_MINOR_VERSION));
  code = getinfo(api, host.empty() ? nullptr : host.c_str(), nullptr, host.empty() ? 0 : FI_SOURCE, hints, &found);
  freeinfo(hints);
  return code == 0 ? found : nullptr;
}

std::vector<Offer> Library::offers() const {
  std::vector<Offer> all;
  for (const bool reads : {true, false}) {
    int code;
    fi_info* list = find("", "", reads, code);
    for (const fi_info* info = list; info != nullptr; info = info->next) {
      const std::string name = info->fabric_attr->prov_name;
      if (std::any_of(all.begin(), all.end(), [&](const Offer& offer) { return offer.name == name; })) continue;
      const uint32_t own = info->fabric_attr->prov_version;
      all.push_back({name, std::to_string(FI_MAJOR(own)) + "." + std::to_string(FI_MINOR(own)), reads, progressIsManual(info)});
    }
    if (list != nullptr) freeinfo(list);
  }
  return all;
}

bool progressIsManual(const fi_info* info) {
  const std::string name = info->fabric_attr->prov_name;
  const std::string core = name.substr(0, name.find(';'));
  for (const char* software : {"tcp", "net", "shm", "sockets", "udp"}) {
    if (core == software) return true;
  }
  return info->domain_attr->data_progress == FI_PROGRESS_MANUAL;
}
