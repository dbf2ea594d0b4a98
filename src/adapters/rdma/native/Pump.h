/**
 * When an endpoint is driven: by libuv, on the thread of its loop. While it spins, at each turn of the loop, which then does not
 * sleep. Else by the provider's file descriptor, where it has one, and by a timer, which is slow while nothing is under way.
 */
#pragma once
#include <stdint.h>
#include <uv.h>

#include <functional>

class Pumped {
 public:
  virtual ~Pumped() = default;
  /** Does what there is to do; true when something happened. */
  virtual bool progress() = 0;
  /** Whether one may sleep on the descriptor. */
  virtual bool maySleep() = 0;
  /** Operations are under way. */
  virtual bool isBusy() = 0;
  /** Each millisecond while `setTicking`, and after something happened. */
  virtual void tick() = 0;
  /** The pump may be destroyed. */
  virtual void closed() = 0;
};

class Pump {
 public:
  Pump(uv_loop_t* loop, int fd, Pumped& pumped);
  void setSpin(uint64_t nanoseconds);
  void setTicking(bool shall);
  /** Something was given to the provider. */
  void stir();
  /** Nothing is called any more but, once, `closed`. */
  void close();

 private:
  bool look();
  void onReadable();
  void beforeSleep();
  void onTimer();
  void listen(bool shall);
  void setPeriod(uint64_t milliseconds);
  template <typename Handle>
  void closeHandle(Handle* handle);

  Pumped& pumped;
  const int fd;
  const bool hasFd;
  bool isClosing = false, isSpinning = false, isTicking = false, isListening = false;
  /** Something happened since the descriptor was last known to tell of all there is. */
  bool isStirred = true;
  int readableTurns = 0, refusedTurns = 0, open = 0;
  uint64_t spinNs = 0, lastNs = 0, deafSinceNs = 0, periodMs = 0;
  uv_poll_t poller;
  uv_prepare_t prepare;
  uv_idle_t idle;
  uv_timer_t timer;
};
