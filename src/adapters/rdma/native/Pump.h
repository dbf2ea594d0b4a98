/**
 * When an endpoint is driven: by libuv, on the thread of its loop. While it spins, at each turn of the loop, which then does not
 * sleep. Else by the provider's file descriptor, where it has one, and by a timer, which is slow while nothing is under way.
 */
#pragma once
#include <stdint.h>
#include <uv.h>

#include <functional>

class Pump {
 public:
  struct Hooks {
    /** Does what there is to do; true when something happened. */
    std::function<bool()> progress;
    /** Whether one may sleep on the descriptor. */
    std::function<bool()> maySleep;
    /** Something only a timer would notice. */
    std::function<bool()> isWaiting;
    std::function<bool()> isBusy;
  };
  Pump(uv_loop_t* loop, int fd, Hooks hooks);
  void setSpin(uint64_t nanoseconds);
  /** Something was given to the provider. */
  void stir();
  /** The pump does not call any more; `done` is called when it may be destroyed. */
  void close(std::function<void()> done);

 private:
  void run();
  void beforeSleep();
  void rest();
  void setPeriod(uint64_t milliseconds);
  template <typename Handle>
  void closeHandle(Handle* handle);

  uv_loop_t* loop;
  const Hooks hooks;
  const bool hasFd;
  bool isClosing = false, isSpinning = false, isIdle = false;
  /** Something happened since the descriptor was last known to tell of all there is. */
  bool isStirred = true;
  uint64_t spinNs = 0, lastNs = 0, periodMs = 0;
  int open = 0;
  std::function<void()> closed;
  uv_poll_t poll;
  uv_prepare_t prepare;
  uv_idle_t idle;
  uv_timer_t timer;
};
