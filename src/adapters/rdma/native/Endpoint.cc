#include "Endpoint.h"

#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>

#include <algorithm>

namespace {

/** Reads under way of one peer, and of all, those included that missed their deadline: the provider still has their buffers. */
constexpr size_t readsOfPeerMax = 256;
constexpr size_t readsMax = 4096;
/** Completions taken at a time, and how often in one go: what else the event loop has must come to its turn. */
constexpr size_t batch = 32;
constexpr int batchesMax = 8;
/** A peer that takes nothing for so long is lost. Providers answer "try again" while they connect, some of them for ever. */
constexpr uint64_t putOffMaxNs = 10'000'000'000;

/** The shm provider takes these signals to clean up. They are Node's: V8 and the program have handlers of their own. */
class KeptSignals {
 public:
  KeptSignals() {
    for (size_t i = 0; i < count; i++) sigaction(signals[i], nullptr, &actions[i]);
  }
  ~KeptSignals() {
    for (size_t i = 0; i < count; i++) sigaction(signals[i], &actions[i], nullptr);
  }

 private:
  static constexpr int signals[] = {SIGBUS, SIGSEGV, SIGTERM, SIGINT};
  static constexpr size_t count = sizeof(signals) / sizeof(signals[0]);
  struct sigaction actions[count];
};
constexpr int KeptSignals::signals[];

template <typename Fid>
void closeFid(Fid*& fid) {
  if (fid != nullptr) fi_close(&fid->fid);
  fid = nullptr;
}

/** What `auto` may choose, best first: networks that do it in hardware, then TCP. Never shared memory: peers may be elsewhere. */
const char* const preferred[] = {"cxi", "efa", "verbs", "opx", "psm3", "psm2", "psm", "tcp"};

bool takesHost(const std::string& provider) {
  return provider.rfind("tcp", 0) == 0 || provider.rfind("verbs", 0) == 0 || provider.rfind("sockets", 0) == 0 ||
         provider.rfind("net", 0) == 0;
}

}  // namespace

std::unique_ptr<Endpoint> Endpoint::open(const Library& library, const EndpointOptions& options, Failure& why) {
  const KeptSignals kept;
  std::unique_ptr<Endpoint> made(new Endpoint(library, options));
  return made->start(why) ? std::move(made) : nullptr;
}

bool Endpoint::start(Failure& why) { return find(why) && openQueue(why) && openEndpoint(why); }

Failure Endpoint::refused(const std::string& what, long code) const {
  return {"ERR_RDMA_PROVIDER",
          "The libfabric provider " + (info == nullptr ? options.provider : provider()) + " refused to " + what + ": " +
              library.errorText(code) + "."};
}

Failure Endpoint::unregistered(size_t length, int code) const {
  rlimit limit;
  const bool isLimited = getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  Failure why = refused("register " + std::to_string(length) + " bytes", code);
  why.code = "ERR_RDMA_MEMORY";
  if (isLimited) {
    why.message += " This process may lock " + std::to_string(limit.rlim_cur / 1024) +
                   " KiB of memory: raise it (ulimit -l unlimited; systemd: LimitMEMLOCK=infinity; containers: --ulimit "
                   "memlock=-1, or the capability IPC_LOCK).";
  }
  return why;
}

/** Finds what the options ask for among what there is. */
bool Endpoint::find(Failure& why) {
  const auto ask = [&](const char* name) {
    fi_info* hints = hintsFor(library, name, true);
    if (hints == nullptr) return -FI_ENOMEM;
    const bool byHost = !options.host.empty() && takesHost(name);
    const int code = library.getinfo(library.api(), byHost ? options.host.c_str() : nullptr, nullptr,
                                     byHost ? FI_SOURCE : 0, hints, &info);
    library.freeinfo(hints);
    if (code != 0) info = nullptr;
    return code;
  };
  int code = -FI_ENODATA;
  if (options.provider == "auto") {
    for (const char* name : preferred) {
      code = ask(name);
      if (info != nullptr) break;
    }
  } else {
    code = ask(options.provider.c_str());
  }
  if (info == nullptr) {
    const std::string at = options.host.empty() ? "" : " at " + options.host;
    why = {"ERR_RDMA_PROVIDER", "No libfabric provider matches " + options.provider + at + ": " + library.errorText(code) + "."};
    return false;
  }
  if (info->ep_attr->max_msg_size < options.messageBytesMax) {
    why = {"ERR_RDMA_PROVIDER", "Messages of " + std::to_string(options.messageBytesMax) + " bytes are too large for the libfabric provider " +
                                    provider() + ", which takes " + std::to_string(info->ep_attr->max_msg_size) + "."};
    return false;
  }
  isManual = progressIsManual(info);
  // One peer that hangs shall not have all the places that the provider has for what is under way.
  postedMax = std::max<size_t>(8, info->tx_attr->size / 8);
  return true;
}

bool Endpoint::openQueue(Failure& why) {
  int code = library.fabric(info->fabric_attr, &fabric, nullptr);
  if (code == 0) code = fi_domain(fabric, info, &domain, nullptr);
  if (code != 0) {
    why = refused("open its domain", code);
    return false;
  }
  fi_cq_attr wanted = {};
  wanted.format = FI_CQ_FORMAT_MSG;
  wanted.size = std::max<size_t>(1024, options.receives + info->tx_attr->size);
  wanted.wait_obj = FI_WAIT_FD;
  code = fi_cq_open(domain, &wanted, &queue, nullptr);
  if (code == 0 && fi_control(&queue->fid, FI_GETWAIT, &fd) != 0) {
    fd = -1;
    closeFid(queue);
  }
  if (queue == nullptr) {
    wanted.wait_obj = FI_WAIT_NONE;
    code = fi_cq_open(domain, &wanted, &queue, nullptr);
  }
  if (code != 0) {
    why = refused("open a completion queue", code);
    return false;
  }
  return true;
}

bool Endpoint::openEndpoint(Failure& why) {
  fi_av_attr wanted = {};
  wanted.type = FI_AV_TABLE;
  int code = fi_av_open(domain, &wanted, &addresses, nullptr);
  if (code == 0) code = fi_endpoint(domain, info, &endpoint, nullptr);
  if (code == 0) code = fi_ep_bind(endpoint, &queue->fid, FI_TRANSMIT | FI_RECV);
  if (code == 0) code = fi_ep_bind(endpoint, &addresses->fid, 0);
  if (code == 0) code = fi_enable(endpoint);
  if (code != 0) {
    why = refused("open an endpoint", code);
    return false;
  }
  size_t length = 256;
  ownAddress.resize(length);
  code = fi_getname(&endpoint->fid, ownAddress.data(), &length);
  if (code != 0 || length > ownAddress.size()) {
    why = refused("tell the endpoint's address", code);
    return false;
  }
  ownAddress.resize(length);
  buffers = std::make_unique<Buffers>([this](void* at, size_t bytes, fid_mr** region) {
    return (info->domain_attr->mr_mode & FI_MR_LOCAL) == 0 ? 0 : registerMemory(at, bytes, FI_SEND | FI_READ, region);
  });
  const size_t count = std::min(options.receives, info->rx_attr->size);
  const size_t stride = (std::max<size_t>(options.messageBytesMax, 1) + 63) / 64 * 64;
  receivedPages = std::make_shared<Pages>(count * stride);
  if (receivedPages->bytes == nullptr) {
    why = {"ERR_RDMA_MEMORY", "There is no memory for " + std::to_string(count) + " messages of " + std::to_string(stride) + " bytes."};
    return false;
  }
  if ((info->domain_attr->mr_mode & FI_MR_LOCAL) != 0) {
    code = registerMemory(receivedPages->bytes, receivedPages->length, FI_RECV, &receivedRegion);
    if (code != 0) {
      why = unregistered(receivedPages->length, code);
      return false;
    }
  }
  for (size_t i = 0; i < count; i++) {
    auto operation = std::make_unique<Operation>();
    operation->kind = Kind::receive;
    operation->buffer = {receivedPages->bytes + i * stride, receivedRegion == nullptr ? nullptr : fi_mr_desc(receivedRegion), -1};
    operation->length = options.messageBytesMax;
    if (!postReceive(operation.get())) idleReceives.push_back(operation.get());
    receives.push_back(std::move(operation));
  }
  return true;
}

int Endpoint::registerMemory(void* at, size_t length, uint64_t access, fid_mr** region) {
  uint64_t key = 0;
  if ((info->domain_attr->mr_mode & FI_MR_PROV_KEY) == 0) {
    // Where we name the key it shall not be guessed.
    if (getrandom(&key, sizeof(key), 0) != sizeof(key)) return -FI_EOTHER;
    if (info->domain_attr->mr_key_size < 8) key &= (uint64_t{1} << (8 * info->domain_attr->mr_key_size)) - 1;
  }
  int code = fi_mr_reg(domain, at, length, access, 0, key, 0, region, nullptr);
  if (code == 0 && (info->domain_attr->mr_mode & FI_MR_ENDPOINT) != 0) {
    code = fi_mr_bind(*region, &endpoint->fid, 0);
    if (code == 0) code = fi_mr_enable(*region);
    if (code != 0) closeFid(*region);
  }
  return code;
}

bool Endpoint::expose(uint8_t* bytes, size_t length, uint64_t& key, uint64_t& base, Failure& why) {
  fid_mr* region = nullptr;
  const int code = registerMemory(bytes, length, FI_REMOTE_READ, &region);
  if (code != 0) {
    why = unregistered(length, code);
    return false;
  }
  exposed.push_back(region);
  key = fi_mr_key(region);
  base = (info->domain_attr->mr_mode & FI_MR_VIRT_ADDR) == 0 ? 0 : reinterpret_cast<uint64_t>(bytes);
  return true;
}

bool Endpoint::insert(const uint8_t* bytes, size_t length, uint32_t& peer, Failure& why) {
  // The provider takes a pointer and trusts it: what it would read must be there, and be of the kind it expects.
  alignas(16) uint8_t copy[256] = {};
  bool isPossible = length > 0 && length < sizeof(copy);
  if (isPossible) {
    memcpy(copy, bytes, length);
    uint16_t family;
    memcpy(&family, copy, sizeof(family));
    const bool isIp4 = family == AF_INET && length == sizeof(sockaddr_in);
    const bool isIp6 = family == AF_INET6 && length == sizeof(sockaddr_in6);
    switch (info->addr_format) {
      case FI_SOCKADDR: isPossible = isIp4 || isIp6; break;
      case FI_SOCKADDR_IN: isPossible = isIp4; break;
      case FI_SOCKADDR_IN6: isPossible = isIp6; break;
      // A name with its end; it becomes the name of a file, and so may not lead elsewhere.
      case FI_ADDR_STR:
        isPossible = copy[length - 1] == 0 && strlen(reinterpret_cast<char*>(copy)) == length - 1 && length < 128 &&
                     strncmp(reinterpret_cast<char*>(copy), "fi_", 3) == 0 &&
                     strstr(reinterpret_cast<char*>(copy), "..") == nullptr;
        break;
      default: isPossible = length == ownAddress.size();
    }
  }
  fi_addr_t address = FI_ADDR_UNSPEC;
  const int inserted = isPossible ? fi_av_insert(addresses, copy, 1, &address, 0, nullptr) : 0;
  if (inserted != 1 || address == FI_ADDR_NOTAVAIL) {
    why = {"ERR_RDMA_ADDRESS", "These " + std::to_string(length) + " bytes are no address of the libfabric provider " + provider() + "."};
    return false;
  }
  peer = ++peerNumber;
  peers[peer].address = address;
  return true;
}

void Endpoint::remove(uint32_t number) {
  const auto found = peers.find(number);
  if (found == peers.end() || found->second.isRemoved) return;
  Peer& peer = found->second;
  peer.isRemoved = true;
  lose(number, peer, "the peer was removed");
  forget(number);
}

/** A removed peer's address goes when nothing of it is under way: providers differ in what they do about that. */
void Endpoint::forget(uint32_t number) {
  const auto found = peers.find(number);
  if (found == peers.end() || !found->second.isRemoved || found->second.posted > 0) return;
  fi_av_remove(addresses, &found->second.address, 1, 0);
  peers.erase(found);
}

bool Endpoint::send(uint32_t number, const uint8_t* bytes, size_t length, Failure& why) {
  const auto found = peers.find(number);
  if (found == peers.end() || found->second.isLost || found->second.sends >= options.sendsMax) return false;
  Buffer buffer;
  const int code = buffers->take(length, buffer);
  if (code != 0) {
    why = unregistered(length, code);
    return false;
  }
  if (length > 0) memcpy(buffer.bytes, bytes, length);
  auto* operation = new Operation();
  operation->kind = Kind::send;
  operation->peer = number;
  operation->buffer = buffer;
  operation->length = length;
  operations.insert(operation);
  found->second.sends++;
  found->second.waiting.push_back(operation);
  if (found->second.waiting.size() == 1) postWaiting(number, found->second);
  return true;
}

bool Endpoint::read(uint32_t number, uint64_t id, uint64_t address, uint64_t key, size_t length, uint64_t deadlineNs, Failure& why) {
  const auto found = peers.find(number);
  if (found == peers.end() || found->second.isLost) {
    why = {"ERR_RDMA_LOST", "Peer " + std::to_string(number) + " is gone."};
    return false;
  }
  size_t all = 0;
  if (found->second.reads < readsOfPeerMax) {
    for (const auto& peer : peers) all += peer.second.reads;
  }
  if (found->second.reads >= readsOfPeerMax || all >= readsMax) {
    why = {"ERR_RDMA_BUSY", "Too many reads are under way, those that missed their deadline included: " +
                                std::to_string(found->second.reads) + " of this peer."};
    return false;
  }
  Buffer buffer;
  const int code = buffers->take(length, buffer);
  if (code != 0) {
    why = unregistered(length, code);
    return false;
  }
  auto* operation = new Operation();
  operation->kind = Kind::read;
  operation->peer = number;
  operation->buffer = buffer;
  operation->length = length;
  operation->id = id;
  operation->address = address;
  operation->key = key;
  operation->deadlineNs = deadlineNs;
  operations.insert(operation);
  deadlines.emplace(deadlineNs, operation);
  found->second.reads++;
  found->second.waiting.push_back(operation);
  if (found->second.waiting.size() == 1) postWaiting(number, found->second);
  return true;
}

long Endpoint::post(Operation* operation, const Peer& peer) {
  const Buffer& buffer = operation->buffer;
  return operation->kind == Kind::send
             ? fi_send(endpoint, buffer.bytes, operation->length, buffer.descriptor, peer.address, operation)
             : fi_read(endpoint, buffer.bytes, operation->length, buffer.descriptor, peer.address, operation->address,
                       operation->key, operation);
}

/** Gives the provider what waits for a peer, as much as it takes. */
void Endpoint::postWaiting(uint32_t number, Peer& peer) {
  while (!peer.waiting.empty() && !peer.isLost) {
    // A place comes free with a completion, which comes here again.
    if (peer.posted >= postedMax) return;
    Operation* operation = peer.waiting.front();
    const long code = post(operation, peer);
    if (code == -FI_EAGAIN) {
      putOff.insert(number);
      return;
    }
    if (code != 0) {
      lose(number, peer, library.errorText(code));
      break;
    }
    operation->isPosted = true;
    peer.waiting.pop_front();
    peer.posted++;
    underWay++;
    peer.putOffSinceNs = 0;
  }
  putOff.erase(number);
}

bool Endpoint::postReceive(Operation* operation) {
  return fi_recv(endpoint, operation->buffer.bytes, operation->length, operation->buffer.descriptor, FI_ADDR_UNSPEC, operation) == 0;
}

/** Nothing goes to this peer any more. What is under way ends by itself, or never. */
void Endpoint::lose(uint32_t number, Peer& peer, const std::string& why) {
  if (peer.isLost) return;
  peer.isLost = true;
  if (!peer.isRemoved) losses.push_back({number, why});
  putOff.erase(number);
  const Failure failure = {"ERR_RDMA_LOST", "The read failed: " + why + "."};
  const std::deque<Operation*> waiting = std::move(peer.waiting);
  peer.waiting.clear();
  for (Operation* operation : waiting) {
    if (operation->kind == Kind::read && !operation->isAbandoned) endedReads.emplace_back(operation->id, failure);
    finish(operation, &peer);
  }
  // Reads under way have an answer now; their buffers stay with the provider.
  for (Operation* operation : operations) {
    if (operation->peer != number || operation->kind != Kind::read || operation->isAbandoned) continue;
    operation->isAbandoned = true;
    deadlines.erase({operation->deadlineNs, operation});
    endedReads.emplace_back(operation->id, failure);
  }
}

/** The provider is done with it, or never had it. */
void Endpoint::finish(Operation* operation, Peer* peer) {
  if (peer != nullptr) {
    (operation->kind == Kind::send ? peer->sends : peer->reads)--;
    if (operation->isPosted) peer->posted--;
  }
  if (operation->isPosted) underWay--;
  if (operation->kind == Kind::read && !operation->isAbandoned) deadlines.erase({operation->deadlineNs, operation});
  buffers->give(operation->buffer);
  operations.erase(operation);
  delete operation;
}

void Endpoint::complete(Operation* operation, size_t length, const Failure* why, Listener& listener) {
  if (operation->kind == Kind::receive) {
    // One that failed is posted again at the next turn, not at once: it may fail at once again.
    if (why == nullptr) listener.message(static_cast<size_t>(operation->buffer.bytes - receivedPages->bytes), length);
    if (why != nullptr || !postReceive(operation)) idleReceives.push_back(operation);
    return;
  }
  const uint32_t number = operation->peer;
  const auto found = peers.find(number);
  Peer* peer = found == peers.end() ? nullptr : &found->second;
  if (operation->kind == Kind::read && !operation->isAbandoned) {
    listener.readDone(operation->id, operation->buffer.bytes, operation->length, why);
    deadlines.erase({operation->deadlineNs, operation});
    operation->isAbandoned = true;
  }
  finish(operation, peer);
  if (peer == nullptr) return;
  if (why != nullptr) lose(number, *peer, why->message);
  if (peer->isRemoved) {
    forget(number);
  } else if (!peer->waiting.empty() && putOff.count(number) == 0) {
    postWaiting(number, *peer);
  }
}

void Endpoint::failed(const fi_cq_err_entry& error, Listener& listener) {
  char text[128] = "";
  const char* detail = error.prov_errno == 0 ? nullptr : fi_cq_strerror(queue, error.prov_errno, error.err_data, text, sizeof(text));
  Failure why = {"ERR_RDMA_FAILED", library.errorText(error.err)};
  if (detail != nullptr && *detail != 0) why.message += std::string(", ") + detail;
  auto* operation = static_cast<Operation*>(error.op_context);
  if (operation != nullptr) complete(operation, 0, &why, listener);
}

void Endpoint::pastDeadlines(uint64_t nowNs, Listener& listener) {
  while (!deadlines.empty() && deadlines.begin()->first <= nowNs) {
    Operation* operation = deadlines.begin()->second;
    deadlines.erase(deadlines.begin());
    operation->isAbandoned = true;
    const uint64_t id = operation->id;
    const auto found = peers.find(operation->peer);
    if (!operation->isPosted && found != peers.end()) {
      auto& waiting = found->second.waiting;
      waiting.erase(std::remove(waiting.begin(), waiting.end(), operation), waiting.end());
      finish(operation, &found->second);
    }
    const Failure why = {"ERR_RDMA_DEADLINE", "The read was not answered before its deadline."};
    listener.readDone(id, nullptr, 0, &why);
  }
}

/** What the provider had no room for. */
void Endpoint::retry(uint64_t nowNs) {
  for (size_t i = idleReceives.size(); i > 0; i--) {
    if (!postReceive(idleReceives.back())) break;
    idleReceives.pop_back();
  }
  const std::vector<uint32_t> numbers(putOff.begin(), putOff.end());
  for (const uint32_t number : numbers) {
    const auto found = peers.find(number);
    if (found == peers.end()) continue;
    Peer& peer = found->second;
    postWaiting(number, peer);
    if (putOff.count(number) == 0) continue;
    if (peer.putOffSinceNs == 0) peer.putOffSinceNs = nowNs;
    if (nowNs - peer.putOffSinceNs > putOffMaxNs) lose(number, peer, "it took nothing for 10 s");
  }
}

/** What could not be told where it came up. The listener may cause more of it, which comes next time. */
void Endpoint::tell(Listener& listener) {
  std::vector<std::pair<uint64_t, Failure>> reads;
  reads.swap(endedReads);
  for (const auto& read : reads) listener.readDone(read.first, nullptr, 0, &read.second);
  std::vector<Loss> lostNow;
  lostNow.swap(losses);
  for (const Loss& loss : lostNow) listener.lost(loss.peer, loss.why);
}

bool Endpoint::progress(uint64_t nowNs, Listener& listener) {
  bool happened = false;
  fi_cq_msg_entry entries[batch];
  for (int i = 0; i < batchesMax; i++) {
    const ssize_t count = fi_cq_read(queue, entries, batch);
    if (count == -FI_EAVAIL) {
      fi_cq_err_entry error = {};
      if (fi_cq_readerr(queue, &error, 0) <= 0) break;
      happened = true;
      failed(error, listener);
      continue;
    }
    if (count <= 0) break;
    happened = true;
    for (ssize_t j = 0; j < count; j++) {
      complete(static_cast<Operation*>(entries[j].op_context), entries[j].len, nullptr, listener);
    }
    if (count < static_cast<ssize_t>(batch)) break;
  }
  if (!(putOff.empty() && idleReceives.empty())) retry(nowNs);
  if (!deadlines.empty()) pastDeadlines(nowNs, listener);
  if (!losses.empty() || !endedReads.empty()) {
    happened = true;
    tell(listener);
  }
  return happened;
}

bool Endpoint::maySleep() {
  if (!losses.empty() || !endedReads.empty()) return false;
  fid* waited = &queue->fid;
  return fi_trywait(fabric, &waited, 1) == 0;
}

void Endpoint::close() {
  const KeptSignals kept;
  // What peers may read ends first; what the provider may write to stays until the endpoint is closed.
  for (fid_mr*& region : exposed) closeFid(region);
  exposed.clear();
  // Where regions belong to the endpoint it cannot be closed before them.
  if (info != nullptr && (info->domain_attr->mr_mode & FI_MR_ENDPOINT) != 0) {
    if (buffers != nullptr) buffers->release();
    closeFid(receivedRegion);
  }
  closeFid(endpoint);
  if (buffers != nullptr) buffers->release();
  closeFid(receivedRegion);
  closeFid(addresses);
  closeFid(queue);
  closeFid(domain);
  closeFid(fabric);
  if (info != nullptr) library.freeinfo(info);
  info = nullptr;
  fd = -1;
  for (Operation* operation : operations) delete operation;
  operations.clear();
  deadlines.clear();
  putOff.clear();
  peers.clear();
  losses.clear();
  endedReads.clear();
  idleReceives.clear();
  buffers.reset();
}
