/** A tokenizer.json small enough to read: the 256 bytes, then `ab` (256) and `abc` (257). */

const standIns = (): Array<string> => {
  let spare = 256
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode((byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174 ? byte : spare++)
  )
}

export const tinyTokenizer = () => ({
  version: "1.0",
  added_tokens: [] as ReadonlyArray<Record<string, unknown>>,
  normalizer: null,
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: true, trim_offsets: false },
  post_processor: null,
  decoder: { type: "ByteLevel" },
  model: {
    type: "BPE",
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    vocab: Object.fromEntries([...standIns(), "ab", "abc"].map((text, id) => [text, id])),
    merges: ["a b", "ab c"]
  }
})
