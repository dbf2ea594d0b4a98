#include "Arguments.h"

namespace arguments {

napi_value text(napi_env env, const std::string& value) {
  napi_value made = nullptr;
  napi_create_string_utf8(env, value.data(), value.size(), &made);
  return made;
}

napi_value error(napi_env env, const Failure& why) {
  napi_value made = nullptr;
  napi_create_error(env, text(env, why.code), text(env, why.message), &made);
  return made;
}

void raise(napi_env env, const Failure& why) { napi_throw_error(env, why.code.c_str(), why.message.c_str()); }

bool wrongType(napi_env env, const char* what, const char* wanted) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", (std::string(what) + " must be " + wanted + ".").c_str());
  return false;
}

namespace {

bool outOfRange(napi_env env, const char* what, const std::string& wanted) {
  napi_throw_range_error(env, "ERR_OUT_OF_RANGE", (std::string(what) + " must be " + wanted + ".").c_str());
  return false;
}

}  // namespace

bool whole(napi_env env, napi_value value, const char* what, double from, double to, uint64_t& into) {
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok) return wrongType(env, what, "a number");
  // Written so that NaN fails.
  if (!(number >= from && number <= to) || number != static_cast<double>(static_cast<uint64_t>(number))) {
    return outOfRange(env, what, "a whole number from " + std::to_string(static_cast<uint64_t>(from)) + " to " +
                                     std::to_string(static_cast<uint64_t>(to)));
  }
  into = static_cast<uint64_t>(number);
  return true;
}

bool positive(napi_env env, napi_value value, const char* what, double to, double& into) {
  if (napi_get_value_double(env, value, &into) != napi_ok) return wrongType(env, what, "a number");
  if (!(into > 0 && into <= to)) return outOfRange(env, what, "above 0 and at most " + std::to_string(static_cast<uint64_t>(to)));
  return true;
}

bool string(napi_env env, napi_value value, const char* what, std::string& into) {
  char buffer[4096];
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) return wrongType(env, what, "a string");
  if (length >= sizeof(buffer)) return outOfRange(env, what, "shorter than 4 096 bytes");
  napi_get_value_string_utf8(env, value, buffer, sizeof(buffer), &length);
  into.assign(buffer, length);
  if (into.find('\0') != std::string::npos) return outOfRange(env, what, "without zero bytes");
  return true;
}

bool stringOrNull(napi_env env, napi_value value, const char* what, std::string& into) {
  napi_valuetype type;
  if (napi_typeof(env, value, &type) == napi_ok && (type == napi_null || type == napi_undefined)) {
    into.clear();
    return true;
  }
  return string(env, value, what, into);
}

bool bytes(napi_env env, napi_value value, const char* what, Bytes& into) {
  bool isTyped = false;
  napi_typedarray_type type = napi_int8_array;
  void* at = nullptr;
  napi_is_typedarray(env, value, &isTyped);
  if (!isTyped || napi_get_typedarray_info(env, value, &type, &into.length, &at, nullptr, nullptr) != napi_ok || type != napi_uint8_array) {
    return wrongType(env, what, "a Uint8Array");
  }
  into.at = static_cast<const uint8_t*>(at);
  return true;
}

bool u64(napi_env env, napi_value value, const char* what, uint64_t& into) {
  bool isLossless = false;
  if (napi_get_value_bigint_uint64(env, value, &into, &isLossless) != napi_ok) return wrongType(env, what, "a bigint");
  return isLossless || outOfRange(env, what, "from 0n to 2n ** 64n - 1n");
}

bool function(napi_env env, napi_value value, const char* what) {
  napi_valuetype type;
  return (napi_typeof(env, value, &type) == napi_ok && type == napi_function) || wrongType(env, what, "a function");
}

bool property(napi_env env, napi_value object, const char* name, napi_value& into) {
  napi_valuetype type;
  if (napi_typeof(env, object, &type) != napi_ok || type != napi_object) return wrongType(env, "What has this property", "an object");
  // A getter may throw: that is what its caller sees then.
  return napi_get_named_property(env, object, name, &into) == napi_ok;
}

}  // namespace arguments
