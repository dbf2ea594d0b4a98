#include "JsEndpoint.h"

#include <iterator>

#include "Arguments.h"
#include "Memory.h"
#include "Pump.h"

namespace {

constexpr double readBytesMax = 16 * 1024 * 1024;
constexpr double deadlineMsMax = 3'600'000;

class JsEndpoint : public Listener {
 public:
  JsEndpoint(napi_env env, std::unique_ptr<Endpoint> made, size_t messageBytesMax)
      : env(env), endpoint(std::move(made)), messageBytesMax(messageBytesMax) {}
  bool start(std::shared_ptr<JsEndpoint> own);
  napi_value object(const Library& library, const std::shared_ptr<JsEndpoint>& own);

  napi_value insert(napi_value* values);
  napi_value remove(napi_value* values);
  napi_value send(napi_value* values);
  napi_value read(napi_value* values);
  napi_value expose(napi_value* values);
  napi_value onMessage(napi_value* values) { return keep(values[0], messageTaker); }
  napi_value onLost(napi_value* values) { return keep(values[0], lossTaker); }
  napi_value setSpin(napi_value* values);
  napi_value close(napi_value* values);

  void message(size_t offset, size_t length) override;
  void readDone(uint64_t id, const uint8_t* bytes, size_t length, const Failure* why) override;
  void lost(uint32_t peer, const std::string& why) override;

 private:
  void enter();
  void leave();
  void call(napi_ref function, size_t count, napi_value* values);
  napi_value keep(napi_value function, napi_ref& into);
  void drop(napi_ref& reference);
  napi_value valueOf(napi_ref reference);
  bool progress();
  void shut();
  void ended();

  napi_env env;
  std::unique_ptr<Endpoint> endpoint;
  const size_t messageBytesMax;
  std::unique_ptr<Pump> pump;
  /** Keeps this until the endpoint is closed; then only its JavaScript object does. */
  std::shared_ptr<JsEndpoint> self;
  napi_async_context context = nullptr;
  napi_ref resource = nullptr, received = nullptr, messageTaker = nullptr, lossTaker = nullptr;
  napi_handle_scope handles = nullptr;
  napi_callback_scope callbacks = nullptr;
  napi_async_cleanup_hook_handle cleanup = nullptr;
  std::unordered_map<uint64_t, napi_deferred> reads;
  uint64_t readId = 0;
  std::vector<napi_deferred> closers;
  bool isClosing = false, isInProgress = false, isEnvironmentEnding = false, isEnded = false;
};

const Failure closedFailure = {"ERR_RDMA_CLOSED", "The endpoint is closed."};

bool JsEndpoint::start(std::shared_ptr<JsEndpoint> own) {
  uv_loop_t* loop = nullptr;
  napi_value buffer, empty, name = arguments::text(env, "warmpath:fabric");
  auto* share = new std::shared_ptr<Pages>(endpoint->received());
  const auto giveUp = [](napi_env, void*, void* hint) { delete static_cast<std::shared_ptr<Pages>*>(hint); };
  if (napi_create_external_arraybuffer(env, (*share)->bytes, (*share)->length, giveUp, share, &buffer) != napi_ok) {
    delete share;
    arguments::raise(env, {"ERR_RDMA_ADDON", "This JavaScript runtime allows no memory from outside."});
    return false;
  }
  if (napi_get_uv_event_loop(env, &loop) != napi_ok || napi_create_object(env, &empty) != napi_ok ||
      napi_create_reference(env, buffer, 1, &received) != napi_ok || napi_create_reference(env, empty, 1, &resource) != napi_ok ||
      napi_async_init(env, empty, name, &context) != napi_ok) {
    return false;
  }
  const auto ending = [](napi_async_cleanup_hook_handle, void* data) {
    auto* ended = static_cast<JsEndpoint*>(data);
    ended->isEnvironmentEnding = true;
    if (!ended->isClosing) ended->shut();
  };
  if (napi_add_async_cleanup_hook(env, ending, this, &cleanup) != napi_ok) return false;
  self = std::move(own);
  pump = std::make_unique<Pump>(loop, endpoint->waitFd(),
                                Pump::Hooks{[this] { return progress(); }, [this] { return endpoint->maySleep(); },
                                            [this] { return endpoint->isWaiting(); }, [this] { return endpoint->isBusy(); }});
  return true;
}

/** Opened at the first thing to tell: promises' continuations run when it is left. */
void JsEndpoint::enter() {
  if (handles != nullptr) return;
  napi_open_handle_scope(env, &handles);
  napi_open_callback_scope(env, valueOf(resource), context, &callbacks);
}

void JsEndpoint::leave() {
  if (handles == nullptr) return;
  if (callbacks != nullptr) napi_close_callback_scope(env, callbacks);
  callbacks = nullptr;
  napi_close_handle_scope(env, handles);
  handles = nullptr;
}

bool JsEndpoint::progress() {
  if (isClosing || isInProgress) return false;
  isInProgress = true;
  const bool happened = endpoint->progress(uv_hrtime(), *this);
  leave();
  isInProgress = false;
  if (isClosing) shut();
  return happened;
}

napi_value JsEndpoint::valueOf(napi_ref reference) {
  napi_value value = nullptr;
  napi_get_reference_value(env, reference, &value);
  return value;
}

void JsEndpoint::drop(napi_ref& reference) {
  if (reference != nullptr) napi_delete_reference(env, reference);
  reference = nullptr;
}

/** An exception of a callback is an uncaught one, as an event emitter's would be. */
void JsEndpoint::call(napi_ref function, size_t count, napi_value* values) {
  napi_value receiver, thrown;
  napi_get_undefined(env, &receiver);
  if (napi_call_function(env, receiver, valueOf(function), count, values, nullptr) != napi_pending_exception) return;
  if (napi_get_and_clear_last_exception(env, &thrown) == napi_ok) napi_fatal_exception(env, thrown);
}

void JsEndpoint::message(size_t offset, size_t length) {
  if (isClosing || messageTaker == nullptr) return;
  enter();
  napi_handle_scope scope;
  napi_value bytes;
  napi_open_handle_scope(env, &scope);
  if (napi_create_typedarray(env, napi_uint8_array, length, valueOf(received), offset, &bytes) == napi_ok) call(messageTaker, 1, &bytes);
  napi_close_handle_scope(env, scope);
}

void JsEndpoint::readDone(uint64_t id, const uint8_t* bytes, size_t length, const Failure* why) {
  const auto found = reads.find(id);
  if (found == reads.end()) return;
  enter();
  napi_handle_scope scope;
  napi_value buffer, result;
  void* at = nullptr;
  napi_open_handle_scope(env, &scope);
  if (why != nullptr) {
    napi_reject_deferred(env, found->second, arguments::error(env, *why));
  } else if (napi_create_arraybuffer(env, length, &at, &buffer) == napi_ok &&
             napi_create_typedarray(env, napi_uint8_array, length, buffer, 0, &result) == napi_ok) {
    memcpy(at, bytes, length);
    napi_resolve_deferred(env, found->second, result);
  }
  napi_close_handle_scope(env, scope);
  reads.erase(found);
}

void JsEndpoint::lost(uint32_t peer, const std::string& why) {
  if (isClosing || lossTaker == nullptr) return;
  enter();
  napi_handle_scope scope;
  napi_value values[2];
  napi_open_handle_scope(env, &scope);
  napi_create_uint32(env, peer, &values[0]);
  values[1] = arguments::text(env, why);
  call(lossTaker, 2, values);
  napi_close_handle_scope(env, scope);
}

napi_value JsEndpoint::keep(napi_value function, napi_ref& into) {
  if (!arguments::function(env, function, "The callback") || isClosing) return nullptr;
  drop(into);
  napi_create_reference(env, function, 1, &into);
  return nullptr;
}

napi_value JsEndpoint::insert(napi_value* values) {
  Bytes bytes;
  uint32_t peer = 0;
  Failure why = closedFailure;
  if (!arguments::bytes(env, values[0], "The address", bytes)) return nullptr;
  napi_value result = nullptr;
  if (isClosing || !endpoint->insert(bytes.at, bytes.length, peer, why)) {
    arguments::raise(env, why);
  } else {
    napi_create_uint32(env, peer, &result);
  }
  return result;
}

napi_value JsEndpoint::remove(napi_value* values) {
  uint64_t peer;
  if (!arguments::whole(env, values[0], "The peer", 0, UINT32_MAX, peer) || isClosing) return nullptr;
  endpoint->remove(static_cast<uint32_t>(peer));
  pump->stir();
  return nullptr;
}

napi_value JsEndpoint::send(napi_value* values) {
  uint64_t peer;
  Bytes bytes;
  Failure why;
  if (!arguments::whole(env, values[0], "The peer", 0, UINT32_MAX, peer) || !arguments::bytes(env, values[1], "The message", bytes)) return nullptr;
  if (bytes.length > messageBytesMax) {
    const std::string text = "A message of " + std::to_string(bytes.length) + " bytes is larger than the " + std::to_string(messageBytesMax) + " that are allowed.";
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", text.c_str());
    return nullptr;
  }
  const bool isSent = !isClosing && endpoint->send(static_cast<uint32_t>(peer), bytes.at, bytes.length, why);
  if (!why.code.empty()) {
    arguments::raise(env, why);
    return nullptr;
  }
  if (isSent) pump->stir();
  napi_value result = nullptr;
  napi_get_boolean(env, isSent, &result);
  return result;
}

napi_value JsEndpoint::read(napi_value* values) {
  uint64_t peer, offset, length, key, base;
  double deadlineMs;
  napi_value keyValue, baseValue, promise = nullptr;
  if (!arguments::whole(env, values[0], "The peer", 0, UINT32_MAX, peer) || !arguments::property(env, values[1], "key", keyValue) ||
      !arguments::u64(env, keyValue, "The region's key", key) || !arguments::property(env, values[1], "base", baseValue) ||
      !arguments::u64(env, baseValue, "The region's base", base) ||
      !arguments::whole(env, values[2], "The offset", 0, 9007199254740991, offset) ||
      !arguments::whole(env, values[3], "The length", 1, readBytesMax, length) ||
      !arguments::positive(env, values[4], "The deadline in milliseconds", deadlineMsMax, deadlineMs)) {
    return nullptr;
  }
  if (base > UINT64_MAX - offset - length) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "The region's base and the offset lead beyond all memory.");
    return nullptr;
  }
  napi_deferred deferred;
  if (napi_create_promise(env, &deferred, &promise) != napi_ok) return nullptr;
  Failure why = closedFailure;
  const uint64_t id = ++readId;
  const uint64_t deadlineNs = uv_hrtime() + static_cast<uint64_t>(deadlineMs * 1e6);
  if (isClosing || !endpoint->read(static_cast<uint32_t>(peer), id, base + offset, key, length, deadlineNs, why)) {
    napi_reject_deferred(env, deferred, arguments::error(env, why));
  } else {
    reads.emplace(id, deferred);
    pump->stir();
  }
  return promise;
}

napi_value JsEndpoint::expose(napi_value* values) {
  bool isBuffer = false;
  void* at = nullptr;
  size_t length = 0;
  uint64_t key, base;
  Failure why = closedFailure;
  if (napi_is_arraybuffer(env, values[0], &isBuffer) != napi_ok || !isBuffer || napi_get_arraybuffer_info(env, values[0], &at, &length) != napi_ok ||
      length == 0 || !isMapped(static_cast<uint8_t*>(at), length)) {
    // Any other memory may go away while a peer reads it.
    arguments::wrongType(env, "The memory", "an ArrayBuffer that map() made");
    return nullptr;
  }
  if (isClosing || !endpoint->expose(static_cast<uint8_t*>(at), length, key, base, why)) {
    arguments::raise(env, why);
    return nullptr;
  }
  napi_value region, value;
  napi_create_object(env, &region);
  napi_create_bigint_uint64(env, key, &value);
  napi_set_named_property(env, region, "key", value);
  napi_create_bigint_uint64(env, base, &value);
  napi_set_named_property(env, region, "base", value);
  return region;
}

napi_value JsEndpoint::setSpin(napi_value* values) {
  uint64_t microseconds;
  if (arguments::whole(env, values[0], "The spin in microseconds", 0, 1e9, microseconds) && !isClosing) pump->setSpin(microseconds * 1000);
  return nullptr;
}

napi_value JsEndpoint::close(napi_value*) {
  napi_deferred deferred;
  napi_value promise = nullptr, nothing;
  if (napi_create_promise(env, &deferred, &promise) != napi_ok) return nullptr;
  if (isEnded) {
    napi_get_undefined(env, &nothing);
    napi_resolve_deferred(env, deferred, nothing);
    return promise;
  }
  closers.push_back(deferred);
  if (isClosing) return promise;
  isClosing = true;
  // Called by a callback: the endpoint is closed when that has returned.
  if (!isInProgress) shut();
  return promise;
}

void JsEndpoint::shut() {
  isClosing = true;
  // The pump first: it waits on a descriptor of the endpoint.
  pump->close([this] { ended(); });
  endpoint->close();
  if (isEnvironmentEnding) return;
  enter();
  for (const auto& read : reads) napi_reject_deferred(env, read.second, arguments::error(env, closedFailure));
  reads.clear();
  // Messages that somebody kept against the rule are empty now.
  napi_detach_arraybuffer(env, valueOf(received));
  drop(received);
  drop(messageTaker);
  drop(lossTaker);
  leave();
}

/** No handle of the loop is open any more. */
void JsEndpoint::ended() {
  isEnded = true;
  if (!isEnvironmentEnding) {
    enter();
    napi_value nothing;
    napi_get_undefined(env, &nothing);
    for (napi_deferred closer : closers) napi_resolve_deferred(env, closer, nothing);
    leave();
    drop(resource);
    napi_async_destroy(env, context);
  }
  napi_remove_async_cleanup_hook(cleanup);
  const std::shared_ptr<JsEndpoint> last = std::move(self);
}

using Method = napi_value (JsEndpoint::*)(napi_value*);
constexpr struct {
  const char* name;
  Method method;
} methods[] = {{"insert", &JsEndpoint::insert}, {"remove", &JsEndpoint::remove},       {"send", &JsEndpoint::send},
               {"read", &JsEndpoint::read},     {"expose", &JsEndpoint::expose},       {"onMessage", &JsEndpoint::onMessage},
               {"onLost", &JsEndpoint::onLost}, {"setSpin", &JsEndpoint::setSpin},     {"close", &JsEndpoint::close}};

/** What a function of the object holds on to. They need no `this`, so that they may be passed around alone. */
struct Bound {
  std::shared_ptr<JsEndpoint> endpoint;
  Method method;
};

napi_value invoke(napi_env env, napi_callback_info info) {
  napi_value values[5];
  size_t count = std::size(values);
  void* data = nullptr;
  if (napi_get_cb_info(env, info, &count, values, nullptr, &data) != napi_ok) return nullptr;
  const auto* bound = static_cast<Bound*>(data);
  return (bound->endpoint.get()->*bound->method)(values);
}

void set(napi_env env, napi_value object, const char* name, napi_value value) { napi_set_named_property(env, object, name, value); }

napi_value JsEndpoint::object(const Library& library, const std::shared_ptr<JsEndpoint>& own) {
  napi_value made, value;
  void* at = nullptr;
  const std::vector<uint8_t>& address = endpoint->address();
  if (napi_create_object(env, &made) != napi_ok) return nullptr;
  set(env, made, "provider", arguments::text(env, endpoint->provider()));
  set(env, made, "version", arguments::text(env, library.versionText()));
  napi_get_boolean(env, endpoint->manualProgress(), &value);
  set(env, made, "manualProgress", value);
  napi_create_arraybuffer(env, address.size(), &at, &value);
  memcpy(at, address.data(), address.size());
  napi_create_typedarray(env, napi_uint8_array, address.size(), value, 0, &value);
  set(env, made, "address", value);
  for (const auto& method : methods) {
    auto* bound = new Bound{own, method.method};
    napi_create_function(env, method.name, NAPI_AUTO_LENGTH, invoke, bound, &value);
    napi_add_finalizer(env, value, bound, [](napi_env, void* data, void*) { delete static_cast<Bound*>(data); }, nullptr, nullptr);
    set(env, made, method.name, value);
  }
  return made;
}

}  // namespace

napi_value makeJsEndpoint(napi_env env, const Library& library, const EndpointOptions& options) {
  Failure why;
  std::unique_ptr<Endpoint> endpoint = Endpoint::open(library, options, why);
  if (endpoint == nullptr) {
    napi_value error = arguments::error(env, why), list, name;
    if (why.code == "ERR_RDMA_PROVIDER") {
      napi_create_array(env, &list);
      uint32_t at = 0;
      for (const Offer& offer : offersOf(library)) {
        name = arguments::text(env, offer.name);
        napi_set_element(env, list, at++, name);
      }
      set(env, error, "offered", list);
    }
    napi_throw(env, error);
    return nullptr;
  }
  auto made = std::make_shared<JsEndpoint>(env, std::move(endpoint), options.messageBytesMax);
  return made->start(made) ? made->object(library, made) : nullptr;
}
