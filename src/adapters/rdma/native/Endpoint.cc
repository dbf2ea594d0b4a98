#include "Endpoint.h"

#include <netinet/in.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/resource.h>

#include <algorithm>

namespace {

/** Completions taken at a time, and how often in one go: what else the event loop has must come to its turn. */
constexpr size_t batch = 32;
constexpr int batchesMax = 8;

/** The shm provider takes these signals to clean up. They are Node's: V8 and the program have handlers of their own. */
class KeptSignals {
 public:
  KeptSignals() {
    for (size_t i = 0; i < 4; i++) sigaction(signals[i], nullptr, &actions[i]);
  }
  ~KeptSignals() {
    for (size_t i = 0; i < 4; i++) sigaction(signals[i], &actions[i], nullptr);
  }

 private:
  const int signals[4] = {SIGBUS, SIGSEGV, SIGTERM, SIGINT};
  struct sigaction actions[4];
};

template <typename Fid>
void closeFid(Fid*& fid) {
  if (fid != nullptr) fi_close(&fid->fid);
  fid = nullptr;
}

/** What `auto` may choose, best first: networks that do it in hardware, then TCP. Never shared memory: peers may be elsewhere. */
const std::vector<std::string> preferred = {"cxi", "efa", "verbs", "opx", "psm3", "psm2", "psm", "tcp"};
const std::vector<std::string> overIp = {"tcp", "verbs", "net", "sockets"};

}  // namespace

void Endpoint::check(int code, const char* what) const {
  if (code != 0) {
    const std::string at = options.host.empty() ? "" : " at " + options.host;
    throw Failure{"ERR_RDMA_PROVIDER", "The libfabric provider " + provider() + at + " failed to " + what + ": " + library.errorText(code) + "."};
  }
}

void Endpoint::open() {
  const KeptSignals kept;
  find();
  openQueue();
  fi_av_attr wanted = {};
  wanted.type = FI_AV_TABLE;
  check(fi_av_open(domain, &wanted, &addresses, nullptr), "open a table of addresses");
  check(fi_endpoint(domain, info, &endpoint, nullptr), "open an endpoint");
  check(fi_ep_bind(endpoint, &queue->fid, FI_TRANSMIT | FI_RECV), "bind its completion queue");
  check(fi_ep_bind(endpoint, &addresses->fid, 0), "bind its addresses");
  check(fi_enable(endpoint), "enable its endpoint");
  size_t length = 256;
  ownAddress.resize(length);
  check(fi_getname(&endpoint->fid, ownAddress.data(), &length), "tell its address");
  ownAddress.resize(length);
  postReceives();
}

/** Finds what the options ask for among what there is. */
void Endpoint::find() {
  int code = 0;
  for (const std::string& name : options.provider == "auto" ? preferred : std::vector<std::string>{options.provider}) {
    const bool byHost = std::find(overIp.begin(), overIp.end(), name.substr(0, name.find(';'))) != overIp.end();
    info = library.find(name, byHost ? options.host : "", true, code);
    if (info != nullptr) break;
  }
  if (info == nullptr) {
    const std::string at = options.host.empty() ? "" : " at " + options.host;
    throw Failure{"ERR_RDMA_PROVIDER", "No libfabric provider here matches " + options.provider + at + ": " + library.errorText(code) + "."};
  }
  if (info->ep_attr->max_msg_size < options.messageBytesMax) {
    throw Failure{"ERR_RDMA_PROVIDER", "The libfabric provider " + provider() + " takes messages of " + std::to_string(info->ep_attr->max_msg_size) +
                                       " bytes at most, not of " + std::to_string(options.messageBytesMax) + "."};
  }
}

void Endpoint::openQueue() {
  check(library.fabric(info->fabric_attr, &fabric, nullptr), "open its fabric");
  check(fi_domain(fabric, info, &domain, nullptr), "open its domain");
  fi_cq_attr wanted = {};
  wanted.format = FI_CQ_FORMAT_MSG;
  wanted.size = std::max<size_t>(1024, options.receives + info->tx_attr->size);
  wanted.wait_obj = FI_WAIT_FD;
  if (fi_cq_open(domain, &wanted, &queue, nullptr) == 0 && fi_control(&queue->fid, FI_GETWAIT, &fd) == 0) return;
  fd = -1;
  closeFid(queue);
  wanted.wait_obj = FI_WAIT_NONE;
  check(fi_cq_open(domain, &wanted, &queue, nullptr), "open a completion queue");
}

void Endpoint::postReceives() {
  const bool isLocal = (info->domain_attr->mr_mode & FI_MR_LOCAL) != 0;
  buffers = std::make_unique<Buffers>([this, isLocal](void* at, size_t length) {
    return isLocal ? registerMemory(at, length, FI_SEND | FI_READ) : nullptr;
  });
  const size_t count = std::min(options.receives, info->rx_attr->size);
  const size_t stride = (options.messageBytesMax + 63) / 64 * 64;
  receivedPages = std::make_shared<Pages>(count * stride);
  void* descriptor = nullptr;
  if (isLocal) {
    receivedRegion = registerMemory(receivedPages->bytes, receivedPages->length, FI_RECV);
    descriptor = fi_mr_desc(receivedRegion);
  }
  for (size_t i = 0; i < count; i++) {
    receives.emplace_back(new Operation{{}, Kind::receive, 0, {receivedPages->bytes + i * stride, descriptor, 0}, options.messageBytesMax, 0});
    if (!postReceive(receives.back().get())) idleReceives.push_back(receives.back().get());
  }
}

fid_mr* Endpoint::registerMemory(void* at, size_t length, uint64_t access) {
  uint64_t key = 0;
  fid_mr* region = nullptr;
  // Where we name the key it shall not be guessed.
  if ((info->domain_attr->mr_mode & FI_MR_PROV_KEY) == 0) check(getrandom(&key, sizeof(key), 0) == sizeof(key) ? 0 : -errno, "have a random key");
  if (info->domain_attr->mr_key_size < 8) key &= (uint64_t{1} << (8 * info->domain_attr->mr_key_size)) - 1;
  int code = fi_mr_reg(domain, at, length, access, 0, key, 0, &region, nullptr);
  if (code == 0 && (info->domain_attr->mr_mode & FI_MR_ENDPOINT) != 0) {
    code = fi_mr_bind(region, &endpoint->fid, 0);
    if (code == 0) code = fi_mr_enable(region);
  }
  if (code == 0) return region;
  closeFid(region);
  rlimit limit;
  std::string advice;
  if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    advice = " This process may lock " + std::to_string(limit.rlim_cur / 1024) + " KiB of memory: raise it (ulimit -l unlimited; systemd: "
             "LimitMEMLOCK=infinity; containers: --ulimit memlock=-1, or the capability IPC_LOCK).";
  }
  throw Failure{"ERR_RDMA_MEMORY", "The libfabric provider " + provider() + " cannot register " + std::to_string(length) + " bytes: " +
                                   library.errorText(code) + "." + advice};
}

fid_mr* Endpoint::expose(uint8_t* bytes, size_t length) {
  exposed.push_back(registerMemory(bytes, length, FI_REMOTE_READ));
  return exposed.back();
}

uint64_t Endpoint::baseOf(const uint8_t* bytes) const {
  return (info->domain_attr->mr_mode & FI_MR_VIRT_ADDR) == 0 ? 0 : reinterpret_cast<uint64_t>(bytes);
}

/** The provider takes a pointer and trusts it: what it would read must be there, and be of the kind it expects. */
bool Endpoint::isAddress(const uint8_t* bytes, size_t length) const {
  if (length < 2 || length > 128) return false;
  uint16_t family;
  memcpy(&family, bytes, sizeof(family));
  const bool isIp4 = family == AF_INET && length == sizeof(sockaddr_in);
  const bool isIp6 = family == AF_INET6 && length == sizeof(sockaddr_in6);
  const std::string text(reinterpret_cast<const char*>(bytes), length - 1);
  switch (info->addr_format) {
    case FI_SOCKADDR: return isIp4 || isIp6;
    case FI_SOCKADDR_IN: return isIp4;
    case FI_SOCKADDR_IN6: return isIp6;
    // A name with its end. It becomes that of a file, and so may not lead elsewhere.
    case FI_ADDR_STR: return bytes[length - 1] == 0 && text.find('\0') == text.npos && text.rfind("fi_", 0) == 0 && text.find("..") == text.npos;
    default: return length == ownAddress.size();
  }
}

uint32_t Endpoint::insert(const uint8_t* bytes, size_t length) {
  // The same address is known to the provider once: shm has one entry for it, and breaks when that is removed twice.
  const std::string name(reinterpret_cast<const char*>(bytes), length);
  const auto known = names.find(name);
  if (known == names.end()) {
    alignas(16) uint8_t copy[256] = {};
    fi_addr_t address = FI_ADDR_NOTAVAIL;
    const bool isPossible = isAddress(bytes, length);
    if (isPossible) memcpy(copy, bytes, length);
    if (!isPossible || fi_av_insert(addresses, copy, 1, &address, 0, nullptr) != 1 || address == FI_ADDR_NOTAVAIL) {
      throw Failure{"ERR_RDMA_ADDRESS", "These " + std::to_string(length) + " bytes are no address of the libfabric provider " + provider() + "."};
    }
    names.emplace(name, Name{address});
  }
  names[name].peers++;
  peers.emplace(++peerNumber, Peer{name, &names[name]});
  return peerNumber;
}

bool Endpoint::remove(uint32_t number) {
  const auto found = peers.find(number);
  // Providers differ in what they do about operations under way when the address goes.
  if (found == peers.end() || found->second.posted > 0) return false;
  const auto name = names.find(found->second.bytes);
  peers.erase(found);
  // shm of 1.17 mistakes those that come for those that went, down to null pointers: it keeps them, and has room for 256.
  if (--name->second.peers > 0 || provider() == "shm") return true;
  fi_av_remove(addresses, &name->second.address, 1, 0);
  names.erase(name);
  return true;
}

long Endpoint::send(uint32_t peer, const uint8_t* bytes, size_t length) { return post(Kind::send, peer, 0, bytes, length, 0, 0); }

long Endpoint::read(uint32_t peer, uint64_t id, uint64_t address, uint64_t key, size_t length) {
  return post(Kind::read, peer, id, nullptr, length, address, key);
}

long Endpoint::post(Kind kind, uint32_t number, uint64_t id, const uint8_t* bytes, size_t length, uint64_t address, uint64_t key) {
  const auto found = peers.find(number);
  if (found == peers.end()) return -FI_EADDRNOTAVAIL;
  Peer& peer = found->second;
  // One peer that hangs shall not have all the places that the provider has for what is under way.
  if (peer.posted >= std::max<size_t>(8, info->tx_attr->size / 8)) return -FI_EAGAIN;
  auto* made = new Operation{{}, kind, number, buffers->take(length), length, id};
  const Buffer& buffer = made->buffer;
  long code;
  if (kind == Kind::send) {
    if (length > 0) memcpy(buffer.bytes, bytes, length);
    code = fi_send(endpoint, buffer.bytes, length, buffer.descriptor, peer.name->address, made);
  } else {
    code = fi_read(endpoint, buffer.bytes, length, buffer.descriptor, peer.name->address, address, key, made);
  }
  if (code == 0) {
    operations.insert(made);
    peer.posted++;
  } else {
    buffers->give(buffer);
    delete made;
  }
  return code;
}

bool Endpoint::postReceive(Operation* operation) {
  const Buffer& buffer = operation->buffer;
  return fi_recv(endpoint, buffer.bytes, operation->length, buffer.descriptor, FI_ADDR_UNSPEC, operation) == 0;
}

void Endpoint::complete(Operation* operation, size_t length, const std::string* why, Listener& listener) {
  if (operation->kind == Kind::receive) {
    if (why == nullptr) listener.message(static_cast<size_t>(operation->buffer.bytes - receivedPages->bytes), length);
    // One that failed is posted again at the next turn, not at once: it may fail at once again.
    if (why != nullptr || !postReceive(operation)) idleReceives.push_back(operation);
    return;
  }
  operations.erase(operation);
  const auto peer = peers.find(operation->peer);
  if (peer != peers.end()) peer->second.posted--;
  if (operation->kind == Kind::read) listener.readDone(operation->id, operation->buffer.bytes, operation->length, why);
  if (operation->kind == Kind::send && why != nullptr) listener.sendFailed(operation->peer, *why);
  buffers->give(operation->buffer);
  delete operation;
}

bool Endpoint::progress(Listener& listener) {
  bool happened = false;
  fi_cq_msg_entry entries[batch];
  for (size_t i = idleReceives.size(); i > 0 && postReceive(idleReceives.back()); i--) idleReceives.pop_back();
  for (int i = 0; i < batchesMax; i++) {
    const ssize_t count = fi_cq_read(queue, entries, batch);
    if (count == -FI_EAVAIL) {
      fi_cq_err_entry error = {};
      if (fi_cq_readerr(queue, &error, 0) <= 0) break;
      happened = true;
      const std::string why = library.errorText(error.err);
      if (error.op_context != nullptr) complete(static_cast<Operation*>(error.op_context), 0, &why, listener);
    } else if (count <= 0) {
      break;
    } else {
      happened = true;
      for (ssize_t j = 0; j < count; j++) complete(static_cast<Operation*>(entries[j].op_context), entries[j].len, nullptr, listener);
      if (count < static_cast<ssize_t>(batch)) break;
    }
  }
  return happened;
}

bool Endpoint::maySleep() {
  fid* waited = &queue->fid;
  return fi_trywait(fabric, &waited, 1) == 0;
}

void Endpoint::close() {
  const KeptSignals kept;
  const auto release = [this] {
    if (buffers != nullptr) buffers->release();
    closeFid(receivedRegion);
  };
  // What peers may read ends first; what the provider may write to stays until it is closed, unless regions belong to the endpoint.
  for (fid_mr* region : exposed) closeFid(region);
  exposed.clear();
  if (info != nullptr && (info->domain_attr->mr_mode & FI_MR_ENDPOINT) != 0) release();
  closeFid(endpoint);
  release();
  closeFid(addresses);
  closeFid(queue);
  closeFid(domain);
  closeFid(fabric);
  if (info != nullptr) library.freeinfo(info);
  info = nullptr;
  for (Operation* operation : operations) delete operation;
  operations.clear();
  buffers.reset();
}
