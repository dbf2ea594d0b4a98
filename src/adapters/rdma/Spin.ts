/**
 * Microseconds to poll after the last message before sleeping, where nobody has said: none over TCP, where the kernel wakes us
 * and a core that spins is one that others lack; elsewhere some, for shared memory has nothing to sleep on but a timer of a
 * millisecond, and the fabrics that this is for answer sooner than a process wakes.
 */
export const spinUs = (provider: string, given: number | null): number =>
  given ?? (/^(tcp|net|sockets|udp)\b/.test(provider) ? 0 : 200)
