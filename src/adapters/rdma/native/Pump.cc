#include "Pump.h"

namespace {

/** While something waits that only a timer would notice, or no descriptor tells of anything. */
constexpr uint64_t shortMs = 1;
/** Wake-ups of a provider's descriptor can be lost (cxi documents such a race): operations under way are looked at so often. */
constexpr uint64_t safetyMs = 10;
constexpr uint64_t quietMs = 100;
/** Looks at the completion queue in one turn of the loop while spinning: a turn costs more than a look. */
constexpr int looksPerTurn = 16;

template <typename Handle>
Pump* pumpOf(Handle* handle) {
  return static_cast<Pump*>(handle->data);
}

}  // namespace

Pump::Pump(uv_loop_t* loop, int fd, Hooks hooks) : loop(loop), hooks(std::move(hooks)), hasFd(fd >= 0) {
  uv_prepare_init(loop, &prepare);
  uv_idle_init(loop, &idle);
  uv_timer_init(loop, &timer);
  open = 3;
  if (hasFd) {
    uv_poll_init(loop, &poll, fd);
    open = 4;
    poll.data = this;
    uv_poll_start(&poll, UV_READABLE, [](uv_poll_t* handle, int, int) { pumpOf(handle)->run(); });
  }
  prepare.data = idle.data = timer.data = this;
  // Runs before each sleep of the loop, and keeps the process alive until the endpoint is closed, as a socket does.
  uv_prepare_start(&prepare, [](uv_prepare_t* handle) { pumpOf(handle)->beforeSleep(); });
  setPeriod(shortMs);
}

void Pump::run() {
  if (isClosing) return;
  isStirred = true;
  if (hooks.progress() && spinNs > 0 && !isClosing) {
    lastNs = uv_hrtime();
    isSpinning = true;
  }
}

void Pump::stir() {
  isStirred = true;
  if (spinNs > 0) {
    isSpinning = true;
    lastNs = uv_hrtime();
  }
  if (periodMs != shortMs && hooks.isWaiting()) setPeriod(shortMs);
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
    for (int i = 0; i < looksPerTurn && !isClosing; i++) {
      if (!hooks.progress()) continue;
      lastNs = uv_hrtime();
      // What JavaScript has scheduled comes to its turn.
      break;
    }
    if (isClosing) return;
    isStirred = true;
    isSpinning = spinNs > 0 && uv_hrtime() - lastNs < spinNs;
  } else if (!hasFd) {
    hooks.progress();
    if (isClosing) return;
  }
  if (isSpinning) return rest();
  // The descriptor tells of what comes after this was asked.
  if (hasFd && isStirred) {
    for (int i = 0; i < 4 && isStirred && !isClosing; i++) {
      if (hooks.maySleep()) {
        isStirred = false;
      } else {
        hooks.progress();
      }
    }
  }
  if (!isClosing) rest();
}

/** An idle handle that runs keeps the loop from sleeping. */
void Pump::rest() {
  const bool shall = isSpinning || (hasFd && isStirred);
  if (shall == isIdle) return;
  isIdle = shall;
  if (shall) {
    uv_idle_start(&idle, [](uv_idle_t*) {});
  } else {
    uv_idle_stop(&idle);
    if (!hasFd || hooks.isWaiting()) setPeriod(shortMs);
  }
}

void Pump::setPeriod(uint64_t milliseconds) {
  periodMs = milliseconds;
  uv_timer_start(
      &timer,
      [](uv_timer_t* handle) {
        Pump* pump = pumpOf(handle);
        pump->run();
        if (pump->isClosing) return;
        const bool isShort = !pump->hasFd || pump->hooks.isWaiting();
        const uint64_t next = isShort ? shortMs : pump->hooks.isBusy() ? safetyMs : quietMs;
        if (next != pump->periodMs) pump->setPeriod(next);
      },
      milliseconds, milliseconds);
}

template <typename Handle>
void Pump::closeHandle(Handle* handle) {
  uv_close(reinterpret_cast<uv_handle_t*>(handle), [](uv_handle_t* closing) {
    Pump* pump = pumpOf(closing);
    if (--pump->open == 0) pump->closed();
  });
}

void Pump::close(std::function<void()> done) {
  isClosing = true;
  closed = std::move(done);
  closeHandle(&prepare);
  closeHandle(&idle);
  closeHandle(&timer);
  if (hasFd) closeHandle(&poll);
}
