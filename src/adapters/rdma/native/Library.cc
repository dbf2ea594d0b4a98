#include "Library.h"

#include <dlfcn.h>
#include <rdma/fi_endpoint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <map>
#include <mutex>

namespace {

std::mutex loading;

/** Settings that must be there before the first use. What the operator has set stays. */
void prepareEnvironment() {
  // Node forks for child processes; registered memory must survive that.
  setenv("RDMAV_FORK_SAFE", "1", 0);
  setenv("FI_EFA_FORK_SAFE", "1", 0);
  setenv("CXI_FORK_SAFE", "1", 0);
  // The cache of registrations patches malloc and munmap in the process. Ours last as long as the endpoint.
  setenv("FI_MR_CACHE_MONITOR", "disabled", 0);
  // The PSM libraries would otherwise take the signals of a crash.
  setenv("IPATH_NO_BACKTRACE", "1", 0);
  setenv("HFI_NO_BACKTRACE", "1", 0);
}

bool isFile(const std::string& path) {
  struct stat found;
  return stat(path.c_str(), &found) == 0 && S_ISREG(found.st_mode);
}

/** Opens a library of a folder. What it lacks is opened from there first: a library loaded before is found by its name. */
void* openFrom(const std::string& folder, const std::string& name, std::string& why, int depth) {
  // One library at a time becomes known; libfabric links some ten.
  for (int attempt = 0; attempt < 64; attempt++) {
    void* handle = dlopen((folder + "/" + name).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle != nullptr) return handle;
    const char* error = dlerror();
    why = error == nullptr ? "unknown error" : error;
    const std::string lacking = why.substr(0, why.find(':'));
    const bool isThere = lacking.find('/') == std::string::npos && lacking != name && isFile(folder + "/" + lacking);
    if (!isThere || depth == 8 || openFrom(folder, lacking, why, depth + 1) == nullptr) return nullptr;
  }
  return nullptr;
}

template <typename Function>
bool symbol(void* handle, const char* name, const char* version, Function& into) {
#ifdef __GLIBC__
  into = reinterpret_cast<Function>(dlvsym(handle, name, version));
#else
  (void)version;
  into = reinterpret_cast<Function>(dlsym(handle, name));
#endif
  return into != nullptr;
}

bool isSoftware(const std::string& provider) {
  const std::string core = provider.substr(0, provider.find(';'));
  return core == "tcp" || core == "net" || core == "shm" || core == "sockets" || core == "udp";
}

}  // namespace

uint32_t Library::api() const {
  const uint32_t ours = FI_VERSION(FI_MAJOR_VERSION, FI_MINOR_VERSION);
  return version() < ours ? version() : ours;
}

std::string Library::versionText() const {
  return std::to_string(FI_MAJOR(version())) + "." + std::to_string(FI_MINOR(version()));
}

std::string Library::errorText(long code) const {
  const char* text = strerror(static_cast<int>(code < 0 ? -code : code));
  return std::string(text == nullptr ? "unknown error" : text) + " (" + std::to_string(code < 0 ? -code : code) + ")";
}

const Library* loadLibrary(const std::string& path, Failure& why) {
  static std::map<std::string, Library*> loaded;
  const std::lock_guard<std::mutex> lock(loading);
  const auto known = loaded.find(path);
  if (known != loaded.end()) return known->second;
  prepareEnvironment();
  std::string error;
  void* handle = nullptr;
  struct stat found;
  if (!path.empty() && stat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode)) {
    handle = openFrom(path, "libfabric.so.1", error, 0);
  } else {
    handle = dlopen(path.empty() ? "libfabric.so.1" : path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) error = dlerror();
  }
  if (handle == nullptr) {
    why = {"ERR_RDMA_LIBRARY", "libfabric cannot be loaded: " + error +
                                   ". Install it (Debian, Ubuntu: apt install libfabric1; Fedora: dnf install libfabric), "
                                   "or set the option that names the file or its folder."};
    return nullptr;
  }
  auto* library = new Library();
  if (!symbol(handle, "fi_version", "FABRIC_1.0", library->version) ||
      !symbol(handle, "fi_strerror", "FABRIC_1.0", library->strerror) ||
      !symbol(handle, "fi_fabric", "FABRIC_1.1", library->fabric) ||
      !symbol(handle, "fi_getinfo", "FABRIC_1.3", library->getinfo) ||
      !symbol(handle, "fi_freeinfo", "FABRIC_1.3", library->freeinfo) ||
      !symbol(handle, "fi_dupinfo", "FABRIC_1.3", library->dupinfo)) {
    // Not closed again: its providers may have started threads.
    delete library;
    why = {"ERR_RDMA_LIBRARY", "What was loaded as libfabric lacks an entry point of its 1.9 ABI: a version from 1.9 on is needed."};
    return nullptr;
  }
  loaded.emplace(path, library);
  return library;
}

fi_info* hintsFor(const Library& library, const std::string& provider, bool reads) {
  fi_info* hints = library.dupinfo(nullptr);
  if (hints == nullptr) return nullptr;
  hints->caps = FI_MSG | FI_SEND | FI_RECV;
  if (reads) hints->caps |= FI_RMA | FI_READ | FI_REMOTE_READ;
  hints->mode = FI_CONTEXT | FI_CONTEXT2;
  hints->ep_attr->type = FI_EP_RDM;
  hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY | FI_MR_ENDPOINT;
  hints->domain_attr->threading = FI_THREAD_DOMAIN;
  hints->domain_attr->av_type = FI_AV_TABLE;
  if (!provider.empty()) hints->fabric_attr->prov_name = strdup(provider.c_str());
  return hints;
}

bool progressIsManual(const fi_info* info) {
  return info->domain_attr->data_progress == FI_PROGRESS_MANUAL || isSoftware(info->fabric_attr->prov_name);
}

std::vector<Offer> offersOf(const Library& library) {
  std::vector<Offer> offers;
  for (const bool reads : {true, false}) {
    fi_info* hints = hintsFor(library, "", reads);
    fi_info* list = nullptr;
    if (hints == nullptr) break;
    if (library.getinfo(library.api(), nullptr, nullptr, 0, hints, &list) == 0) {
      for (const fi_info* info = list; info != nullptr; info = info->next) {
        bool isKnown = false;
        for (const Offer& offer : offers) isKnown = isKnown || offer.name == info->fabric_attr->prov_name;
        if (isKnown) continue;
        const uint32_t version = info->fabric_attr->prov_version;
        offers.push_back({info->fabric_attr->prov_name,
                          std::to_string(FI_MAJOR(version)) + "." + std::to_string(FI_MINOR(version)), reads,
                          progressIsManual(info)});
      }
      library.freeinfo(list);
    }
    library.freeinfo(hints);
  }
  return offers;
}
