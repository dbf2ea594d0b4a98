/**
 * One endpoint: posts messages and reads, and tells how they ended. Knows nothing of JavaScript or of the event loop, has no queue
 * and no deadlines: those are `FabricEndpoint.ts`. One thread calls it.
 */
#pragma once
#include <rdma/fi_cm.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_rma.h>

#include <unordered_map>
#include <unordered_set>

#include "Buffers.h"

struct EndpointOptions {
  /** `auto`, or a name. */
  std::string provider;
  /** An own address to be reached at; empty: as the provider chooses. */
  std::string host;
  size_t messageBytesMax;
  size_t receives;
};

class Listener {
 public:
  virtual ~Listener() = default;
  /** A message, in the memory of `Endpoint::received`, until this returns. */
  virtual void message(size_t offset, size_t length) = 0;
  /** A read has ended; `why` is null when the bytes are there. */
  virtual void readDone(uint64_t id, const uint8_t* bytes, size_t length, const std::string* why) = 0;
  /** A send failed after it was posted. */
  virtual void sendFailed(uint32_t peer, const std::string& why) = 0;
};

class Endpoint {
 public:
  /** Throws `ERR_RDMA_PROVIDER` or `ERR_RDMA_MEMORY`. */
  Endpoint(const Library& library, const EndpointOptions& options) : library(library), options(options) {}
  void open();
  ~Endpoint() { close(); }
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  std::string provider() const { return info->fabric_attr->prov_name; }
  bool manualProgress() const { return progressIsManual(info); }
  const std::vector<uint8_t>& address() const { return ownAddress; }
  const std::shared_ptr<Pages>& received() const { return receivedPages; }
  /** Readable when there may be something to do; -1 when the provider has none. */
  int waitFd() const { return fd; }

  /** Throws `ERR_RDMA_ADDRESS` when these bytes cannot be an address here. */
  uint32_t insert(const uint8_t* bytes, size_t length);
  /** False while operations of this peer are under way, and for no peer. */
  bool remove(uint32_t peer);
  /** 0, or an error of libfabric; -FI_EAGAIN: later. */
  long send(uint32_t peer, const uint8_t* bytes, size_t length);
  long read(uint32_t peer, uint64_t id, uint64_t address, uint64_t key, size_t length);
  /** Nothing of it is under way: what it does not take now it does not take before it is reached. */
  bool isConnecting(uint32_t peer) const { return peers.count(peer) > 0 && peers.at(peer).posted == 0; }
  /** `bytes` must stay until the endpoint is closed. */
  fid_mr* expose(uint8_t* bytes, size_t length);
  /** What peers add to offsets into it. */
  uint64_t baseOf(const uint8_t* bytes) const;

  /** Does what there is to do, a bounded amount of it. True when something happened. The listener may not close it meanwhile. */
  bool progress(Listener& listener);
  /** Whether one may sleep on `waitFd`: nothing waits that it would not tell of. */
  bool maySleep();
  /** Operations, or receives that could not be posted, are under way. */
  bool isBusy() const { return !operations.empty() || !idleReceives.empty(); }
  /** Ends all of it, whatever is under way, and tells nobody. */
  void close();

 private:
  enum class Kind : uint8_t { receive, send, read };
  /** What the provider is given and gives back. Its own part comes first. */
  struct Operation {
    fi_context2 context;
    Kind kind;
    uint32_t peer;
    Buffer buffer;
    size_t length;
    uint64_t id;
  };
  /** What the provider knows, and how many of our peers that is. */
  struct Name {
    fi_addr_t address = FI_ADDR_NOTAVAIL;
    size_t peers = 0;
  };
  struct Peer {
    std::string bytes;
    Name* name;
    size_t posted = 0;
  };

  void check(int code, const char* what) const;
  void find();
  void openQueue();
  void postReceives();
  fid_mr* registerMemory(void* at, size_t length, uint64_t access);
  bool isAddress(const uint8_t* bytes, size_t length) const;
  long post(Kind kind, uint32_t peer, uint64_t id, const uint8_t* bytes, size_t length, uint64_t address, uint64_t key);
  bool postReceive(Operation* operation);
  void complete(Operation* operation, size_t length, const std::string* why, Listener& listener);

  const Library& library;
  const EndpointOptions options;
  fi_info* info = nullptr;
  fid_fabric* fabric = nullptr;
  fid_domain* domain = nullptr;
  fid_cq* queue = nullptr;
  fid_av* addresses = nullptr;
  fid_ep* endpoint = nullptr;
  std::vector<fid_mr*> exposed;
  fid_mr* receivedRegion = nullptr;
  int fd = -1;
  std::vector<uint8_t> ownAddress;
  std::shared_ptr<Pages> receivedPages;
  std::unique_ptr<Buffers> buffers;
  std::vector<std::unique_ptr<Operation>> receives;
  std::vector<Operation*> idleReceives;
  std::unordered_map<std::string, Name> names;
  std::unordered_map<uint32_t, Peer> peers;
  uint32_t peerNumber = 0;
  std::unordered_set<Operation*> operations;
};
