/**
 * What JavaScript calls: `FabricEndpoint.ts` has its types. Arguments are checked here only so far that none can break the process;
 * callers get their explanations from `Fabric.ts`.
 */
#include <node_api.h>

#include <iterator>

#include "Endpoint.h"
#include "Pump.h"

namespace {

constexpr uint64_t readBytesMax = 16 * 1024 * 1024;
constexpr uint64_t slabBytesMax = 1024 * 1024 * 1024;

struct Bytes {
  const uint8_t* at;
  size_t length;
};

/** A call's arguments; a wrong one throws. */
struct Call {
  napi_env env;
  napi_value values[10];
  void* data = nullptr;

  void require(bool isSo, size_t at, const char* wanted) const {
    if (!isSo) throw Failure{"ERR_INVALID_ARG_VALUE", "Argument " + std::to_string(at + 1) + " must be " + wanted + "."};
  }
  uint64_t whole(size_t at, uint64_t from, uint64_t to) const {
    double number = -1;
    napi_get_value_double(env, values[at], &number);
    // Written so that NaN fails, before it is converted.
    const bool isInRange = number >= static_cast<double>(from) && number <= static_cast<double>(to);
    require(isInRange && number == static_cast<double>(static_cast<uint64_t>(number)), at, "a whole number in its range");
    return static_cast<uint64_t>(number);
  }
  uint64_t big(size_t at) const {
    uint64_t number = 0;
    bool isLossless = false;
    require(napi_get_value_bigint_uint64(env, values[at], &number, &isLossless) == napi_ok && isLossless, at, "a bigint of 64 bits");
    return number;
  }
  /** Null is the empty string. */
  std::string text(size_t at) const {
    char buffer[4096];
    size_t length = 0;
    napi_valuetype type = napi_undefined;
    napi_typeof(env, values[at], &type);
    if (type == napi_null) return "";
    require(napi_get_value_string_utf8(env, values[at], nullptr, 0, &length) == napi_ok && length < sizeof(buffer), at, "a string, or null");
    napi_get_value_string_utf8(env, values[at], buffer, sizeof(buffer), &length);
    require(memchr(buffer, 0, length) == nullptr, at, "a string without zero bytes");
    return std::string(buffer, length);
  }
  Bytes bytes(size_t at) const {
    bool isTyped = false;
    napi_typedarray_type type = napi_int8_array;
    void* start = nullptr;
    size_t length = 0;
    napi_is_typedarray(env, values[at], &isTyped);
    if (isTyped) napi_get_typedarray_info(env, values[at], &type, &length, &start, nullptr, nullptr);
    require(isTyped && type == napi_uint8_array, at, "a Uint8Array");
    return {static_cast<const uint8_t*>(start), length};
  }
  Bytes buffer(size_t at) const {
    bool isBuffer = false;
    void* start = nullptr;
    size_t length = 0;
    napi_is_arraybuffer(env, values[at], &isBuffer);
    if (isBuffer) napi_get_arraybuffer_info(env, values[at], &start, &length);
    require(isBuffer && length > 0, at, "an ArrayBuffer");
    return {static_cast<const uint8_t*>(start), length};
  }
  napi_ref function(size_t at) const {
    napi_valuetype type = napi_undefined;
    napi_ref kept = nullptr;
    napi_typeof(env, values[at], &type);
    require(type == napi_function && napi_create_reference(env, values[at], 1, &kept) == napi_ok, at, "a function");
    return kept;
  }
};

napi_value textOf(napi_env env, const std::string& value) {
  napi_value made = nullptr;
  napi_create_string_utf8(env, value.data(), value.size(), &made);
  return made;
}

void setProperty(napi_env env, napi_value object, const char* name, napi_value value) { napi_set_named_property(env, object, name, value); }

/** A function of JavaScript: what fails in it is thrown there, with its code. */
template <napi_value (*body)(const Call&)>
napi_value guarded(napi_env env, napi_callback_info info) {
  Call call{env, {}, nullptr};
  size_t count = std::size(call.values);
  napi_get_cb_info(env, info, &count, call.values, nullptr, &call.data);
  try {
    return body(call);
  } catch (const Failure& failure) {
    napi_throw_error(env, failure.code.c_str(), failure.message.c_str());
  } catch (const std::exception& error) {
    napi_throw_error(env, "ERR_RDMA_MEMORY", error.what());
  }
  return nullptr;
}

/** An endpoint as JavaScript has it: its callbacks, and the pump that drives it. */
class JsEndpoint : public Listener, public Pumped {
 public:
  JsEndpoint(napi_env env, const Library& library, const EndpointOptions& options)
      : env(env), library(library), messageBytesMax(options.messageBytesMax), endpoint(library, options) {}
  static napi_value open(const Call& call);
  napi_value object(const std::shared_ptr<JsEndpoint>& own);

  napi_value insert(const Call& call);
  napi_value remove(const Call& call);
  napi_value send(const Call& call);
  napi_value read(const Call& call);
  napi_value expose(const Call& call);
  napi_value setSpin(const Call& call);
  napi_value setTicking(const Call& call);
  napi_value close(const Call& call);

  void message(size_t offset, size_t length) override;
  void readDone(uint64_t id, const uint8_t* bytes, size_t length, const std::string* why) override;
  void sendFailed(uint32_t peer, const std::string& why) override;
  bool progress() override;
  void tick() override;
  bool maySleep() override { return endpoint.maySleep(); }
  bool isBusy() override { return endpoint.isBusy(); }
  void closed() override;

 private:
  enum Callback { onMessage, onReadDone, onSendFailed, onTick, onClosed, callbackCount };
  void start(const Call& call, std::shared_ptr<JsEndpoint> own);
  void tell(Callback which, std::initializer_list<napi_value> values);
  void shut();
  void requireOpen() const {
    if (isClosing) throw Failure{"ERR_RDMA_CLOSED", "The endpoint is closed."};
  }
  /** 1: it is under way; 0: try again; -1: the same, and nothing of this peer is under way; else why not. */
  napi_value posted(uint32_t peer, long code) {
    pump->stir();
    if (code != 0 && code != -FI_EAGAIN) return textOf(env, library.errorText(code));
    return number(code == 0 ? 1 : endpoint.isConnecting(peer) ? -1 : 0);
  }
  napi_value number(double value) const {
    napi_value made = nullptr;
    napi_create_double(env, value, &made);
    return made;
  }
  napi_value valueOf(napi_ref reference) const {
    napi_value value = nullptr;
    napi_get_reference_value(env, reference, &value);
    return value;
  }

  /** Opened at the first thing to tell; promises' continuations run when it is left. */
  class Turn {
   public:
    explicit Turn(JsEndpoint& of) : of(of), isOuter(of.turn == nullptr) {
      if (isOuter) of.turn = this;
    }
    ~Turn() {
      if (!isOuter) return;
      if (callbacks != nullptr) napi_close_callback_scope(of.env, callbacks);
      if (handles != nullptr) napi_close_handle_scope(of.env, handles);
      of.turn = nullptr;
      if (of.isClosing && !of.isShut) of.shut();
    }
    void enter() {
      if (handles != nullptr) return;
      napi_open_handle_scope(of.env, &handles);
      napi_open_callback_scope(of.env, of.valueOf(of.resource), of.context, &callbacks);
    }

   private:
    JsEndpoint& of;
    const bool isOuter;
    napi_handle_scope handles = nullptr;
    napi_callback_scope callbacks = nullptr;
  };

  const napi_env env;
  const Library& library;
  const size_t messageBytesMax;
  Endpoint endpoint;
  std::unique_ptr<Pump> pump;
  /** Keeps this until the endpoint is closed; then only its JavaScript object does. */
  std::shared_ptr<JsEndpoint> self;
  napi_async_context context = nullptr;
  napi_ref resource = nullptr, received = nullptr, callbacks[callbackCount] = {};
  napi_async_cleanup_hook_handle cleanup = nullptr;
  Turn* turn = nullptr;
  bool isClosing = false, isShut = false, isEnvironmentEnding = false;
};

void JsEndpoint::start(const Call& call, std::shared_ptr<JsEndpoint> own) {
  endpoint.open();
  for (size_t i = 0; i < callbackCount; i++) callbacks[i] = call.function(5 + i);
  uv_loop_t* loop = nullptr;
  napi_value buffer, empty;
  auto* share = new std::shared_ptr<Pages>(endpoint.received());
  const auto giveUp = [](napi_env, void*, void* hint) { delete static_cast<std::shared_ptr<Pages>*>(hint); };
  if (napi_create_external_arraybuffer(env, (*share)->bytes, (*share)->length, giveUp, share, &buffer) != napi_ok) {
    delete share;
    throw Failure{"ERR_RDMA_ADDON", "This JavaScript runtime allows no memory from outside."};
  }
  napi_create_reference(env, buffer, 1, &received);
  napi_create_object(env, &empty);
  napi_create_reference(env, empty, 1, &resource);
  napi_async_init(env, empty, textOf(env, "warmpath:fabric"), &context);
  napi_get_uv_event_loop(env, &loop);
  const auto ending = [](napi_async_cleanup_hook_handle, void* data) {
    auto* endpoint = static_cast<JsEndpoint*>(data);
    endpoint->isEnvironmentEnding = true;
    if (!endpoint->isShut) endpoint->shut();
  };
  napi_add_async_cleanup_hook(env, ending, this, &cleanup);
  self = std::move(own);
  pump = std::make_unique<Pump>(loop, endpoint.waitFd(), *this);
}

bool JsEndpoint::progress() {
  if (isClosing || turn != nullptr) return false;
  const Turn entered(*this);
  return endpoint.progress(*this);
}

/** An exception of a callback is an uncaught one, as an event emitter's would be. */
void JsEndpoint::tell(Callback which, std::initializer_list<napi_value> values) {
  napi_value receiver, thrown;
  napi_get_undefined(env, &receiver);
  if (napi_call_function(env, receiver, valueOf(callbacks[which]), values.size(), values.begin(), nullptr) != napi_pending_exception) return;
  if (napi_get_and_clear_last_exception(env, &thrown) == napi_ok) napi_fatal_exception(env, thrown);
}

void JsEndpoint::message(size_t offset, size_t length) {
  if (isClosing) return;
  turn->enter();
  napi_handle_scope scope;
  napi_value bytes;
  napi_open_handle_scope(env, &scope);
  if (napi_create_typedarray(env, napi_uint8_array, length, valueOf(received), offset, &bytes) == napi_ok) tell(onMessage, {bytes});
  napi_close_handle_scope(env, scope);
}

void JsEndpoint::readDone(uint64_t id, const uint8_t* bytes, size_t length, const std::string* why) {
  if (isClosing) return;
  turn->enter();
  napi_handle_scope scope;
  napi_value buffer, result;
  void* at = nullptr;
  napi_open_handle_scope(env, &scope);
  if (why != nullptr) {
    tell(onReadDone, {number(static_cast<double>(id)), textOf(env, *why)});
  } else if (napi_create_arraybuffer(env, length, &at, &buffer) == napi_ok &&
             napi_create_typedarray(env, napi_uint8_array, length, buffer, 0, &result) == napi_ok) {
    memcpy(at, bytes, length);
    tell(onReadDone, {number(static_cast<double>(id)), result});
  }
  napi_close_handle_scope(env, scope);
}

void JsEndpoint::sendFailed(uint32_t peer, const std::string& why) {
  if (isClosing) return;
  turn->enter();
  tell(onSendFailed, {number(peer), textOf(env, why)});
}

void JsEndpoint::tick() {
  const Turn entered(*this);
  turn->enter();
  tell(onTick, {});
}

napi_value JsEndpoint::insert(const Call& call) {
  requireOpen();
  const Bytes address = call.bytes(0);
  return number(endpoint.insert(address.at, address.length));
}

napi_value JsEndpoint::remove(const Call& call) {
  requireOpen();
  napi_value result = nullptr;
  napi_get_boolean(env, endpoint.remove(static_cast<uint32_t>(call.whole(0, 0, UINT32_MAX))), &result);
  return result;
}

napi_value JsEndpoint::send(const Call& call) {
  requireOpen();
  const Bytes message = call.bytes(1);
  call.require(message.length <= messageBytesMax, 1, "at most as long as messages may be");
  const auto peer = static_cast<uint32_t>(call.whole(0, 0, UINT32_MAX));
  const long code = endpoint.send(peer, message.at, message.length);
  return posted(peer, code);
}

napi_value JsEndpoint::read(const Call& call) {
  requireOpen();
  const uint64_t length = call.whole(4, 1, readBytesMax);
  const auto peer = static_cast<uint32_t>(call.whole(0, 0, UINT32_MAX));
  const long code = endpoint.read(peer, call.whole(1, 0, uint64_t{1} << 53), call.big(2), call.big(3), length);
  return posted(peer, code);
}

napi_value JsEndpoint::expose(const Call& call) {
  requireOpen();
  const Bytes memory = call.buffer(0);
  // Any other memory may go away while a peer reads it.
  call.require(Regions::has(memory.at, memory.length), 0, "an ArrayBuffer that map() made");
  fid_mr* region = endpoint.expose(const_cast<uint8_t*>(memory.at), memory.length);
  napi_value made, value;
  napi_create_object(env, &made);
  napi_create_bigint_uint64(env, fi_mr_key(region), &value);
  setProperty(env, made, "key", value);
  napi_create_bigint_uint64(env, endpoint.baseOf(memory.at), &value);
  setProperty(env, made, "base", value);
  return made;
}

napi_value JsEndpoint::setSpin(const Call& call) {
  requireOpen();
  pump->setSpin(call.whole(0, 0, 1'000'000'000) * 1000);
  return nullptr;
}

napi_value JsEndpoint::setTicking(const Call& call) {
  requireOpen();
  pump->setTicking(call.whole(0, 0, 1) == 1);
  return nullptr;
}

napi_value JsEndpoint::close(const Call&) {
  isClosing = true;
  // In a callback: the endpoint is closed when that has returned.
  if (turn == nullptr && !isShut) shut();
  return nullptr;
}

void JsEndpoint::shut() {
  isClosing = isShut = true;
  // The pump first: it waits on a descriptor of the endpoint.
  pump->close();
  endpoint.close();
  if (isEnvironmentEnding) return;
  napi_handle_scope scope;
  napi_open_handle_scope(env, &scope);
  // Messages that somebody kept against the rule are empty now.
  napi_detach_arraybuffer(env, valueOf(received));
  napi_close_handle_scope(env, scope);
}

/** No handle of the loop is open any more. */
void JsEndpoint::closed() {
  if (!isEnvironmentEnding) {
    {
      const Turn entered(*this);
      turn->enter();
      tell(onClosed, {});
    }
    for (napi_ref reference : callbacks) napi_delete_reference(env, reference);
    napi_delete_reference(env, received);
    napi_delete_reference(env, resource);
    napi_async_destroy(env, context);
  }
  napi_remove_async_cleanup_hook(cleanup);
  const std::shared_ptr<JsEndpoint> last = std::move(self);
}

using Method = napi_value (JsEndpoint::*)(const Call&);

template <Method method>
napi_value callMethod(const Call& call) {
  return (static_cast<std::shared_ptr<JsEndpoint>*>(call.data)->get()->*method)(call);
}

/** A method as a function that needs no `this`. It holds on to the endpoint. */
template <Method method>
void addMethod(napi_env env, napi_value object, const char* name, const std::shared_ptr<JsEndpoint>& own) {
  auto* bound = new std::shared_ptr<JsEndpoint>(own);
  const auto unbind = [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<JsEndpoint>*>(data); };
  napi_value made;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, guarded<callMethod<method>>, bound, &made);
  napi_add_finalizer(env, made, bound, unbind, nullptr, nullptr);
  setProperty(env, object, name, made);
}

napi_value JsEndpoint::object(const std::shared_ptr<JsEndpoint>& own) {
  napi_value made, value;
  void* at = nullptr;
  const std::vector<uint8_t>& address = endpoint.address();
  napi_create_object(env, &made);
  setProperty(env, made, "provider", textOf(env, endpoint.provider()));
  setProperty(env, made, "version", textOf(env, library.versionText()));
  napi_get_boolean(env, endpoint.manualProgress(), &value);
  setProperty(env, made, "manualProgress", value);
  napi_create_arraybuffer(env, address.size(), &at, &value);
  memcpy(at, address.data(), address.size());
  napi_create_typedarray(env, napi_uint8_array, address.size(), value, 0, &value);
  setProperty(env, made, "address", value);
  addMethod<&JsEndpoint::insert>(env, made, "insert", own);
  addMethod<&JsEndpoint::remove>(env, made, "remove", own);
  addMethod<&JsEndpoint::send>(env, made, "send", own);
  addMethod<&JsEndpoint::read>(env, made, "read", own);
  addMethod<&JsEndpoint::expose>(env, made, "expose", own);
  addMethod<&JsEndpoint::setSpin>(env, made, "setSpin", own);
  addMethod<&JsEndpoint::setTicking>(env, made, "setTicking", own);
  addMethod<&JsEndpoint::close>(env, made, "close", own);
  return made;
}

napi_value JsEndpoint::open(const Call& call) {
  const EndpointOptions options{call.text(0), call.text(1), call.whole(3, 64, 16 * 1024 * 1024), call.whole(4, 1, 65'536)};
  call.require(options.messageBytesMax * options.receives <= slabBytesMax, 4, "so many that they take 1 GiB at most");
  auto made = std::make_shared<JsEndpoint>(call.env, Library::load(call.text(2)), options);
  made->start(call, made);
  return made->object(made);
}

napi_value providers(const Call& call) {
  napi_value list, offered, value;
  napi_create_array(call.env, &list);
  uint32_t at = 0;
  for (const Offer& offer : Library::load(call.text(0)).offers()) {
    napi_create_object(call.env, &offered);
    setProperty(call.env, offered, "name", textOf(call.env, offer.name));
    setProperty(call.env, offered, "version", textOf(call.env, offer.version));
    napi_get_boolean(call.env, offer.remoteReads, &value);
    setProperty(call.env, offered, "remoteReads", value);
    napi_get_boolean(call.env, offer.manualProgress, &value);
    setProperty(call.env, offered, "manualProgress", value);
    napi_set_element(call.env, list, at++, offered);
  }
  return list;
}

napi_value map(const Call& call) {
  const napi_node_version* node = nullptr;
  napi_value made = nullptr;
  napi_get_node_version(call.env, &node);
  // Larger array buffers end the process in older V8.
  const uint64_t length = call.whole(1, 1, node->major >= 22 ? uint64_t{1} << 40 : uint64_t{1} << 32);
  napi_create_external_arraybuffer(call.env, Regions::map(call.text(0), length), length, nullptr, nullptr, &made);
  return made;
}

}  // namespace

NAPI_MODULE_INIT() {
  const auto add = [&](const char* name, napi_callback call) {
    napi_value made;
    if (napi_create_function(env, name, NAPI_AUTO_LENGTH, call, nullptr, &made) == napi_ok) setProperty(env, exports, name, made);
  };
  add("open", guarded<JsEndpoint::open>);
  add("providers", guarded<providers>);
  add("map", guarded<map>);
  return exports;
}
