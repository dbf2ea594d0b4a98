/**
 * One endpoint: messages to and from peers, reads of their memory. Knows nothing of JavaScript or of the event loop: it is
 * driven by `progress`, from one thread, and tells what happened to its listener, never from within `send` or `read`.
 */
#pragma once
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_rma.h>

#include <deque>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "Buffers.h"
#include "Library.h"

struct EndpointOptions {
  std::string provider;
  /** An own address to be reached at; empty: as the provider chooses. */
  std::string host;
  size_t messageBytesMax;
  size_t receives;
  size_t sendsMax;
};

class Listener {
 public:
  virtual ~Listener() = default;
  /** A message, in the memory of `Endpoint::received`, until this returns. */
  virtual void message(size_t offset, size_t length) = 0;
  /** A read has ended. `why` is null when the bytes are there. */
  virtual void readDone(uint64_t id, const uint8_t* bytes, size_t length, const Failure* why) = 0;
  virtual void lost(uint32_t peer, const std::string& why) = 0;
};

class Endpoint {
 public:
  /** Null, and why. */
  static std::unique_ptr<Endpoint> open(const Library& library, const EndpointOptions& options, Failure& why);
  ~Endpoint() { close(); }
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  std::string provider() const { return info->fabric_attr->prov_name; }
  bool manualProgress() const { return isManual; }
  const std::vector<uint8_t>& address() const { return ownAddress; }
  const std::shared_ptr<Pages>& received() const { return receivedPages; }
  /** Readable when there may be something to do; -1 when the provider has none. */
  int waitFd() const { return fd; }

  /** False, and why, when these bytes cannot be an address here. */
  bool insert(const uint8_t* bytes, size_t length, uint32_t& peer, Failure& why);
  void remove(uint32_t peer);
  bool send(uint32_t peer, const uint8_t* bytes, size_t length, Failure& why);
  /** True: `readDone` will tell, once, until the deadline (of the clock of `progress`) or a little later. */
  bool read(uint32_t peer, uint64_t id, uint64_t address, uint64_t key, size_t length, uint64_t deadlineNs, Failure& why);
  /** `bytes` must stay until the endpoint is closed. */
  bool expose(uint8_t* bytes, size_t length, uint64_t& key, uint64_t& base, Failure& why);

  /** Does what there is to do, a bounded amount of it. True when something happened. The listener may not close it meanwhile. */
  bool progress(uint64_t nowNs, Listener& listener);
  /** Whether one may sleep on `waitFd`: nothing waits that it would not tell of. */
  bool maySleep();
  /** Something only a timer would notice: a deadline, or a send that was put off. */
  bool isWaiting() const { return !deadlines.empty() || !putOff.empty() || !idleReceives.empty(); }
  /** Operations are under way. */
  bool isBusy() const { return underWay > 0; }
  /** Ends all of it, whatever is under way, and is quiet about it. */
  void close();

 private:
  enum class Kind : uint8_t { receive, send, read };
  /** What the provider is given and gives back. Its own part comes first. */
  struct Operation {
    fi_context2 context;
    Kind kind;
    bool isPosted = false;
    /** Its deadline has passed: nobody waits for it, but the provider may still write to the buffer. */
    bool isAbandoned = false;
    uint32_t peer = 0;
    Buffer buffer;
    size_t length = 0;
    uint64_t id = 0, address = 0, key = 0, deadlineNs = 0;
  };
  struct Peer {
    fi_addr_t address = FI_ADDR_UNSPEC;
    std::deque<Operation*> waiting;
    size_t sends = 0, reads = 0, posted = 0;
    uint64_t putOffSinceNs = 0;
    bool isLost = false, isRemoved = false;
  };
  struct Loss {
    uint32_t peer;
    std::string why;
  };

  explicit Endpoint(const Library& library, const EndpointOptions& options) : library(library), options(options) {}
  bool start(Failure& why);
  bool find(Failure& why);
  bool openQueue(Failure& why);
  bool openEndpoint(Failure& why);
  int registerMemory(void* at, size_t length, uint64_t access, fid_mr** region);
  Failure refused(const std::string& what, long code) const;
  Failure unregistered(size_t length, int code) const;
  long post(Operation* operation, const Peer& peer);
  void postWaiting(uint32_t number, Peer& peer);
  bool postReceive(Operation* operation);
  void complete(Operation* operation, size_t length, const Failure* why, Listener& listener);
  void failed(const fi_cq_err_entry& error, Listener& listener);
  void lose(uint32_t number, Peer& peer, const std::string& why);
  void finish(Operation* operation, Peer* peer);
  void forget(uint32_t number);
  void pastDeadlines(uint64_t nowNs, Listener& listener);
  void retry(uint64_t nowNs);
  void tell(Listener& listener);

  const Library& library;
  const EndpointOptions options;
  fi_info* info = nullptr;
  fid_fabric* fabric = nullptr;
  fid_domain* domain = nullptr;
  fid_cq* queue = nullptr;
  fid_av* addresses = nullptr;
  fid_ep* endpoint = nullptr;
  fid_mr* receivedRegion = nullptr;
  std::vector<fid_mr*> exposed;
  int fd = -1;
  bool isManual = true;
  size_t postedMax = 0;
  size_t underWay = 0;
  std::vector<uint8_t> ownAddress;
  std::shared_ptr<Pages> receivedPages;
  std::unique_ptr<Buffers> buffers;
  std::vector<std::unique_ptr<Operation>> receives;
  std::vector<Operation*> idleReceives;
  std::unordered_map<uint32_t, Peer> peers;
  uint32_t peerNumber = 0;
  std::set<Operation*> operations;
  std::set<std::pair<uint64_t, Operation*>> deadlines;
  std::set<uint32_t> putOff;
  std::vector<Loss> losses;
  /** Reads that ended where the listener may not be called. */
  std::vector<std::pair<uint64_t, Failure>> endedReads;
};
