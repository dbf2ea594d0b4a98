/** What an engine leaves unsaid of blocks that it stores in its own memory, without adapter, salt or second group. */
export const unsaid = {
  loraId: null,
  tier: "device",
  loraName: null,
  extraKeys: null,
  groupIdx: null,
  specKind: null,
  slidingWindow: null,
  locality: null,
  ownership: null,
  sessionId: null,
  salt: null
} as const
