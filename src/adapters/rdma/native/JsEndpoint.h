/** An endpoint as JavaScript has it: the object, its callbacks and promises, and the pump that drives it. */
#pragma once
#include <node_api.h>

#include "Library.h"
#include "Endpoint.h"

/** The object, or null with an exception thrown. */
napi_value makeJsEndpoint(napi_env env, const Library& library, const EndpointOptions& options);
