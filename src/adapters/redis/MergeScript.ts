/**
 * MergeScript: a piece's nodes merged with what is told of it, in Lua: what `hot/PieceMerge` does, byte for byte.
 *
 * A node while it is worked on is a table; masks are unsigned. A share is 28 bytes and keys: u32 tag, told, held, piece,
 * u8 stride, 3 of nothing, lo and hi of the parent.
 */
export const merge = `
local HEAD, HOLDERS = '<I4I4BBBBI2I2', 4096
-- Taken at the first call: while a library is loaded, Redis has none of them.
local band, bor, bnot, pack, words, sub, find, floor, min, frexp
local function ready()
  band, bor, bnot, pack, words = bit.band, bit.bor, bit.bnot, struct.pack, struct.unpack
  sub, find, floor, min, frexp = string.sub, string.find, math.floor, math.min, math.frexp
end

-- As fields are named: the number that a key is, in hex.
local function hex(name)
  local lo, hi = words('<I4I4', name)
  return string.format('%08x%08x', hi, lo)
end

local function u32(word) return word % 4294967296 end
local function before(place) return 2 ^ place - 1 end
local function highest(mask) local _, exponent = frexp(mask) return exponent end

local function parsed(bytes)
  if #bytes < 24 then return nil end
  local touched, piece, base, n, stride, format, children, h = words(HEAD, bytes)
  if format ~= 1 or n == 0 or stride > 32 or base + n > stride then return nil end
  if h > HOLDERS or #bytes ~= 24 + 8 * (n + h) then return nil end
  return { touched = touched, piece = piece, base = base, n = n, stride = stride, children = children, h = h,
    parent = sub(bytes, 17, 24), keys = sub(bytes, 25, 24 + 8 * n), entries = sub(bytes, 25 + 8 * n) }
end

local function packed(node)
  return pack(HEAD, node.touched, node.piece, node.base, node.n, node.stride, 1, node.children, node.h)
    .. node.parent .. node.keys .. node.entries
end

-- How many keys are alike from the first on, which is.
local function matching(keys, path)
  local most = min(#keys, #path)
  if sub(keys, 1, most) == sub(path, 1, most) then return most / 8 end
  local low, high = 1, most / 8
  while high - low > 1 do
    local middle = floor((low + high) / 2)
    if sub(keys, 1, 8 * middle) == sub(path, 1, 8 * middle) then low = middle else high = middle end
  end
  return low
end

-- Where the entry of a tag begins; nil when there is none.
local function entry(entries, tag)
  local at = find(entries, tag, 1, true)
  while at and at % 8 ~= 1 do at = find(entries, tag, at + 1, true) end
  return at
end

local function without(node, at)
  node.entries = sub(node.entries, 1, at - 1) .. sub(node.entries, at + 8)
  node.h = node.h - 1
end

-- False when it is full and all the others are as new.
local function room(node, tag, floorTag)
  local oldest, than = nil, tag - tag % 8
  if floorTag > 0 then
    local kept = {}
    for at = 1, #node.entries, 8 do
      if words('<I4', node.entries, at) >= floorTag then kept[#kept + 1] = sub(node.entries, at, at + 7) end
    end
    if #kept < node.h then
      node.entries = table.concat(kept)
      node.h = #kept
    end
  end
  if node.h < HOLDERS then return true end
  for at = 1, #node.entries, 8 do
    local other = words('<I4', node.entries, at)
    other = other - other % 8
    if other < than then oldest, than = at, other end
  end
  if oldest then without(node, oldest) end
  return oldest ~= nil
end

local function mark(node, share, told, held, floorTag)
  local at = entry(node.entries, share.tagBytes)
  if at then
    local mask = words('<I4', node.entries, at + 4)
    local left = u32(bor(band(mask, bnot(told)), held))
    if left == 0 then return without(node, at) end
    node.entries = sub(node.entries, 1, at + 3) .. pack('<I4', left) .. sub(node.entries, at + 8)
  elseif held ~= 0 and room(node, share.tag, floorTag) then
    node.entries = node.entries .. share.tagBytes .. pack('<I4', held)
    node.h = node.h + 1
  end
end

local function isSame(node, share, told, held)
  local at = entry(node.entries, share.tagBytes)
  if not at then return held == 0 end
  return u32(band(words('<I4', node.entries, at + 4), told)) == held
end

-- The nodes along the path, changed but not put yet; nil when one of them is not what it should be.
local function walk(get, share, now, floorTag)
  local steps, at, path = {}, 0, share.keys
  while at < share.n do
    local name = sub(path, 8 * at + 1, 8 * at + 8)
    local node = get(name)
    if node == nil then return nil end
    if not node then
      local held = u32(band(share.held, bnot(before(at))))
      if held ~= 0 then
        local last = highest(held)
        local from = steps[#steps]
        node = { touched = now, piece = share.piece, base = at, n = last - at, stride = share.stride, children = 0, h = 1,
          parent = at == 0 and share.parent or sub(path, 8 * at - 7, 8 * at),
          keys = sub(path, 8 * at + 1, 8 * last), entries = share.tagBytes .. pack('<I4', held) }
        if from then
          if from.node.children < 65535 then from.node.children = from.node.children + 1 end
          from.changed = true
        end
        steps[#steps + 1] = { name = name, node = node, changed = true }
      end
      break
    end
    if node.stride ~= share.stride or node.base ~= at or sub(node.keys, 1, 8) ~= name then return nil end
    local to = at + matching(node.keys, sub(path, 8 * at + 1))
    local atEnd = to == at + node.n
    local more = atEnd and u32(band(share.held, bnot(before(to)))) or 0
    local has = more == 0 and to or highest(more)
    if more ~= 0 then
      node.keys = node.keys .. sub(path, 8 * to + 1, 8 * has)
      node.n = has - at
    end
    local places = before(has) - before(at)
    local told, held = u32(band(share.told, places)), u32(band(share.held, places))
    local changed = more ~= 0 or node.touched ~= now or not isSame(node, share, told, held)
    if changed then
      mark(node, share, told, held, floorTag)
      node.touched = now
    end
    steps[#steps + 1] = { name = name, node = node, changed = changed }
    if atEnd then break end
    at = to
  end
  return steps
end

-- What a user may not do fails here, at the start, and leaves nothing.
local function try(key)
  for _, command in ipairs({ { 'HSET', key, 0, 0 }, { 'HGET', key, 0 }, { 'HMGET', key, 0 }, { 'HGETALL', key },
    { 'HINCRBY', key, 0, 1 }, { 'PEXPIRE', key, 1000 }, { 'HDEL', key, 0 }, { 'DEL', key } }) do
    local done = redis.pcall(unpack(command))
    if type(done) == 'table' and done.err then
      redis.call('DEL', key)
      return redis.error_reply(done.err .. ' [' .. command[1] .. ']')
    end
  end
  return 1
end

-- keys: a piece. args: seconds since 1970, milliseconds it is kept, first tenure that may count, shares; none to try.
local function write(keys, args)
  if not band then ready() end
  if #args == 0 then return try(keys[1]) end
  local key, now, floorTag = keys[1], tonumber(args[1]), 8 * tonumber(args[3])
  local nodes, dirty, stores = {}, {}, false
  local function get(name)
    local node = nodes[name]
    if node ~= nil then return node end
    local bytes = redis.call('HGET', key, hex(name))
    node = false
    if bytes then node = parsed(bytes) end
    nodes[name] = node
    return node
  end
  for i = 4, #args do
    local bytes = args[i]
    local tag, told, held, piece, stride = words('<I4I4I4I4B', bytes)
    local share = { tag = tag, tagBytes = sub(bytes, 1, 4), told = told, held = u32(band(told, held)), piece = piece,
      stride = stride, parent = sub(bytes, 21, 28), keys = sub(bytes, 29), n = (#bytes - 28) / 8 }
    stores = stores or share.held ~= 0
    local steps = walk(get, share, now, floorTag)
    if not steps then
      redis.call('DEL', key)
      nodes, dirty = setmetatable({}, { __index = function() return false end }), {}
      steps = walk(get, share, now, floorTag)
    end
    for j = #steps, 1, -1 do
      local step = steps[j]
      if step.node.children == 0 and step.node.h == 0 then
        nodes[step.name], dirty[step.name] = false, true
        local from = steps[j - 1]
        if from then
          if from.node.children < 65535 then from.node.children = math.max(0, from.node.children - 1) end
          from.changed = true
        end
      elseif step.changed then
        nodes[step.name], dirty[step.name] = step.node, true
      end
    end
  end
  for name in pairs(dirty) do
    if nodes[name] then redis.call('HSET', key, hex(name), packed(nodes[name])) else redis.call('HDEL', key, hex(name)) end
  end
  if stores then redis.call('PEXPIRE', key, args[2]) end
  return 1
end
`
