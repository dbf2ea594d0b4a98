/** Memory for regions: mapped once, kept until the process ends, so that nothing that a peer may still read goes away. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include <string>

#include "Library.h"

/** Maps a file (made, or grown to `length`), or memory of no file when `path` is empty. Null, and why. */
uint8_t* mapMemory(const std::string& path, size_t length, Failure& why);
/** Whether all of this was mapped by `mapMemory`. */
bool isMapped(const uint8_t* bytes, size_t length);
