/** What JavaScript calls: see `Fabric.ts`. */
#include <node_api.h>

#include <iterator>

#include "Arguments.h"
#include "Crc32c.h"
#include "JsEndpoint.h"
#include "Memory.h"

namespace {

constexpr double slabBytesMax = 1024.0 * 1024 * 1024;

const Library* libraryOf(napi_env env, napi_value path) {
  std::string text;
  if (!arguments::stringOrNull(env, path, "The library", text)) return nullptr;
  Failure why;
  const Library* library = loadLibrary(text, why);
  if (library == nullptr) arguments::raise(env, why);
  return library;
}

template <size_t Count>
bool take(napi_env env, napi_callback_info info, napi_value (&values)[Count]) {
  size_t count = Count;
  return napi_get_cb_info(env, info, &count, values, nullptr, nullptr) == napi_ok;
}

napi_value open(napi_env env, napi_callback_info info) {
  napi_value values[1], value;
  EndpointOptions options;
  uint64_t messageBytesMax, receives, sendsMax;
  using namespace arguments;
  if (!take(env, info, values) || !property(env, values[0], "provider", value) || !string(env, value, "provider", options.provider) ||
      !property(env, values[0], "host", value) || !stringOrNull(env, value, "host", options.host) ||
      !property(env, values[0], "messageBytesMax", value) || !whole(env, value, "messageBytesMax", 64, 16 * 1024 * 1024, messageBytesMax) ||
      !property(env, values[0], "receives", value) || !whole(env, value, "receives", 1, 65536, receives) ||
      !property(env, values[0], "sendsMax", value) || !whole(env, value, "sendsMax", 1, 1e6, sendsMax) ||
      !property(env, values[0], "library", value)) {
    return nullptr;
  }
  if (static_cast<double>(messageBytesMax) * static_cast<double>(receives) > slabBytesMax) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "messageBytesMax times receives must be at most 1 GiB.");
    return nullptr;
  }
  options.messageBytesMax = messageBytesMax;
  options.receives = receives;
  options.sendsMax = sendsMax;
  const Library* library = libraryOf(env, value);
  return library == nullptr ? nullptr : makeJsEndpoint(env, *library, options);
}

napi_value providers(napi_env env, napi_callback_info info) {
  napi_value values[1], list, offered, value;
  if (!take(env, info, values)) return nullptr;
  const Library* library = libraryOf(env, values[0]);
  if (library == nullptr || napi_create_array(env, &list) != napi_ok) return nullptr;
  uint32_t at = 0;
  for (const Offer& offer : offersOf(*library)) {
    napi_create_object(env, &offered);
    napi_set_named_property(env, offered, "name", arguments::text(env, offer.name));
    napi_set_named_property(env, offered, "version", arguments::text(env, offer.version));
    napi_get_boolean(env, offer.remoteReads, &value);
    napi_set_named_property(env, offered, "remoteReads", value);
    napi_get_boolean(env, offer.manualProgress, &value);
    napi_set_named_property(env, offered, "manualProgress", value);
    napi_set_element(env, list, at++, offered);
  }
  return list;
}

napi_value map(napi_env env, napi_callback_info info) {
  napi_value values[2], made = nullptr;
  const napi_node_version* node = nullptr;
  std::string path;
  uint64_t length;
  if (!take(env, info, values) || napi_get_node_version(env, &node) != napi_ok) return nullptr;
  // Larger array buffers end the process in older V8.
  const double most = node->major >= 22 ? 1e12 : 4e9;
  if (!arguments::stringOrNull(env, values[0], "The path", path) || !arguments::whole(env, values[1], "The size in bytes", 1, most, length)) return nullptr;
  Failure why;
  uint8_t* at = mapMemory(path, length, why);
  if (at == nullptr) {
    arguments::raise(env, why);
    return nullptr;
  }
  napi_create_external_arraybuffer(env, at, length, nullptr, nullptr, &made);
  return made;
}

template <uint32_t (*sum)(const uint8_t*, size_t)>
napi_value checksum(napi_env env, napi_callback_info info) {
  napi_value values[1], made = nullptr;
  Bytes bytes;
  if (take(env, info, values) && arguments::bytes(env, values[0], "The data", bytes)) napi_create_uint32(env, sum(bytes.at, bytes.length), &made);
  return made;
}

}  // namespace

NAPI_MODULE_INIT() {
  const struct {
    const char* name;
    napi_callback call;
  } functions[] = {{"open", open}, {"providers", providers}, {"map", map}, {"crc32c", checksum<crc32c>}, {"crc32cPortable", checksum<crc32cPortable>}};
  for (const auto& function : functions) {
    napi_value made;
    if (napi_create_function(env, function.name, NAPI_AUTO_LENGTH, function.call, nullptr, &made) == napi_ok) {
      napi_set_named_property(env, exports, function.name, made);
    }
  }
  return exports;
}
