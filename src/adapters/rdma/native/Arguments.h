/** From JavaScript values to ours, checked: a wrong one throws there and answers false here. */
#pragma once
#include <node_api.h>
#include <stddef.h>
#include <stdint.h>

#include <string>

#include "Library.h"

struct Bytes {
  const uint8_t* at = nullptr;
  size_t length = 0;
};

namespace arguments {

napi_value text(napi_env env, const std::string& value);
/** An Error with a code, not thrown. */
napi_value error(napi_env env, const Failure& why);
void raise(napi_env env, const Failure& why);
bool wrongType(napi_env env, const char* what, const char* wanted);

/** A whole number, `from` to `to`. */
bool whole(napi_env env, napi_value value, const char* what, double from, double to, uint64_t& into);
/** Above 0 and up to `to`, in fractions too. */
bool positive(napi_env env, napi_value value, const char* what, double to, double& into);
/** Up to 4 095 bytes, none of them zero. */
bool string(napi_env env, napi_value value, const char* what, std::string& into);
/** The same; null and undefined are the empty string. */
bool stringOrNull(napi_env env, napi_value value, const char* what, std::string& into);
bool bytes(napi_env env, napi_value value, const char* what, Bytes& into);
bool u64(napi_env env, napi_value value, const char* what, uint64_t& into);
bool function(napi_env env, napi_value value, const char* what);
/** A property of an object; undefined where it has none. */
bool property(napi_env env, napi_value object, const char* name, napi_value& into);

}  // namespace arguments
