#include "Pump.h"

#include <poll.h>

namespace {

/** While something waits that only a timer would notice, or no descriptor tells of anything. */
constexpr uint64_t shortMs = 1;
/** Wake-ups of a provider's descriptor can be lost (cxi documents such a race): operations under way are looked at so often. */
constexpr uint64_t safetyMs = 10;
constexpr uint64_t quietMs = 100;
/** Looks at the completion queue in one turn of the loop while spinning: a turn costs more than a look. */
constexpr int looksPerTurn = 16;
/** After so many calls in a row for nothing the descriptor is not listened to for a while. Seen: the provider net, whose descriptor
 * is always readable; tcp, which lets nobody sleep while it connects, be it for minutes. */
constexpr int fruitlessMax = 1000;
constexpr int samples = 16;
constexpr uint64_t mutedNs = 1'000'000'000;

template <typename Handle>
Pump* pumpOf(Handle* handle) {
  return static_cast<Pump*>(handle->data);
}

}  // namespace

Pump::Pump(uv_loop_t* loop, int fd, Pumped& pumped) : pumped(pumped), fd(fd), hasFd(fd >= 0) {
  uv_prepare_init(loop, &prepare);
  uv_idle_init(loop, &idle);
  uv_timer_init(loop, &timer);
  poller.data = prepare.data = idle.data = timer.data = this;
  // Runs before each sleep of the loop, and keeps the process alive until the endpoint is closed, as a socket does.
  uv_prepare_start(&prepare, [](uv_prepare_t* handle) { pumpOf(handle)->beforeSleep(); });
  setPeriod(shortMs);
  if (hasFd) {
    uv_poll_init(loop, &poller, fd);
    listen(true);
  }
}

void Pump::listen(bool shall) {
  isListening = shall;
  readableTurns = refusedTurns = 0;
  if (shall) {
    uv_poll_start(&poller, UV_READABLE, [](uv_poll_t* handle, int, int) { pumpOf(handle)->onReadable(); });
  } else {
    uv_poll_stop(&poller);
    deafSinceNs = uv_hrtime();
    setPeriod(shortMs);
  }
}

/** True when something happened. */
bool Pump::look() {
  isStirred = true;
  const bool happened = pumped.progress();
  if (isClosing) return happened;
  if (hasFd && !isListening && (happened || uv_hrtime() - deafSinceNs > mutedNs)) listen(true);
  if (!happened) return false;
  readableTurns = refusedTurns = 0;
  stir();
  if (isTicking) pumped.tick();
  return true;
}

void Pump::onReadable() {
  if (look() || isClosing || ++readableTurns < fruitlessMax) return;
  // Peers' reads are served without anything that happens here. But then it is not readable any more, more often than not.
  pollfd now = {fd, POLLIN, 0};
  if (::poll(&now, 1, 0) == 0) {
    readableTurns = 0;
  } else if (readableTurns > fruitlessMax + samples) {
    listen(false);
  }
}

void Pump::stir() {
  isStirred = true;
  if (spinNs == 0) return;
  isSpinning = true;
  lastNs = uv_hrtime();
}

void Pump::setTicking(bool shall) {
  isTicking = shall;
  if (shall && periodMs != shortMs) setPeriod(shortMs);
}

void Pump::setSpin(uint64_t nanoseconds) {
  spinNs = nanoseconds;
  isSpinning = spinNs > 0;
  lastNs = uv_hrtime();
}

/** The loop is about to sleep, until its next timer or a descriptor. */
void Pump::beforeSleep() {
  if (isClosing) return;
  if (isSpinning) {
    // What JavaScript has scheduled comes to its turn after each thing that happened.
    for (int i = 0; i < looksPerTurn && !look() && !isClosing; i++) continue;
    isSpinning = spinNs > 0 && uv_hrtime() - lastNs < spinNs;
  } else if (!isListening) {
    look();
  }
  // The descriptor tells of what comes after this was asked.
  for (int i = 0; i < 4 && !isClosing && !isSpinning && isListening && isStirred; i++) {
    if (pumped.maySleep()) {
      isStirred = false;
      refusedTurns = 0;
    } else if (!look() && !isClosing && ++refusedTurns > fruitlessMax) {
      listen(false);
    }
  }
  if (isClosing) return;
  if (!isListening && periodMs != shortMs) setPeriod(shortMs);
  // An idle handle that runs keeps the loop from sleeping.
  if (isSpinning || (isListening && isStirred)) {
    uv_idle_start(&idle, [](uv_idle_t*) {});
  } else {
    uv_idle_stop(&idle);
  }
}

void Pump::onTimer() {
  if (!look() && !isClosing && isTicking) pumped.tick();
  if (isClosing) return;
  const uint64_t next = !isListening || isTicking ? shortMs : pumped.isBusy() ? safetyMs : quietMs;
  if (next != periodMs) setPeriod(next);
}

void Pump::setPeriod(uint64_t milliseconds) {
  periodMs = milliseconds;
  uv_timer_start(&timer, [](uv_timer_t* handle) { pumpOf(handle)->onTimer(); }, milliseconds, milliseconds);
}

template <typename Handle>
void Pump::closeHandle(Handle* handle) {
  open++;
  uv_close(reinterpret_cast<uv_handle_t*>(handle), [](uv_handle_t* closing) {
    Pump* pump = pumpOf(closing);
    if (--pump->open == 0) pump->pumped.closed();
  });
}

void Pump::close() {
  isClosing = true;
  closeHandle(&prepare);
  closeHandle(&idle);
  closeHandle(&timer);
  if (hasFd) closeHandle(&poller);
}
