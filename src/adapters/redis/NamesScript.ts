/**
 * NamesScript: names entered, settled and left, and the life of a store begun, in Lua, each as a whole.
 *
 * A name's value is u32 words: when it last entered, in seconds since 1970, and its tenures, the newest last. The version in
 * meta changes whenever a name does, so that readers need not ask for all of them each time.
 */

/** Of all that is stored: another number, and older routers keep away. */
const layoutVersion = 1

/** Errors that the script answers with; after the first word, what is stored. */
export const otherLife = "WPLIFE"
export const otherLayout = "WPLAYOUT"
const noTenures = "WPTENURES"

export const names = `
local LAYOUT, TENURE_MAX, TENURES_MAX = '${layoutVersion}', 536870911, 64

local function life(meta)
  local found = redis.call('HMGET', meta, 'generation', 'layout')
  if found[1] and found[2] ~= LAYOUT then return nil, redis.error_reply('${otherLayout} ' .. tostring(found[2])) end
  return found[1]
end

-- A wrong generation is an error, which tells the one that is.
local function check(meta, generation)
  local found, wrong = life(meta)
  if wrong then return wrong end
  if found ~= generation then return redis.error_reply('${otherLife} ' .. tostring(found)) end
end

local function change(keys, name, value)
  if value then redis.call('HSET', keys[2], name, value) else redis.call('HDEL', keys[2], name) end
  redis.call('HINCRBY', keys[1], 'version', 1)
end

-- keys: meta, names. args: a generation and a tenure to begin with, the server's run or nothing, tenures to leave out.
local function begin(keys, args)
  local found, wrong = life(keys[1])
  if wrong then return wrong end
  if not found then
    redis.call('DEL', keys[1], keys[2])
    redis.call('HSET', keys[1], 'generation', args[1], 'layout', LAYOUT, 'tenure', args[2], 'version', args[2], 'run', args[3])
    return args[1]
  end
  -- Another process has the data: of what was written last, some may be lost, and numbers that were given out with it.
  if args[3] ~= '' and redis.call('HGET', keys[1], 'run') ~= args[3] then
    redis.call('HSET', keys[1], 'generation', args[1], 'run', args[3])
    redis.call('HINCRBY', keys[1], 'tenure', args[4])
    return args[1]
  end
  return found
end

-- Names that have not entered for so long hold nothing that is kept.
local function sweep(keys, now, ttl)
  local swept = tonumber(redis.call('HGET', keys[1], 'swept') or '0')
  if now - swept < ttl / 8 and now >= swept then return end
  redis.call('HSET', keys[1], 'swept', now)
  local all = redis.call('HGETALL', keys[2])
  for i = 1, #all, 2 do
    if struct.unpack('<I4', all[i + 1]) + ttl < now then change(keys, all[i], nil) end
  end
end

-- keys: meta, names. args: generation, name, seconds since 1970, seconds that pieces are kept.
local function enter(keys, args)
  local wrong = check(keys[1], args[1])
  if wrong then return wrong end
  sweep(keys, tonumber(args[3]), tonumber(args[4]))
  local tenure = redis.call('HINCRBY', keys[1], 'tenure', 1)
  if tenure > TENURE_MAX then return redis.error_reply('${noTenures} all have been given out') end
  local had = string.sub(redis.call('HGET', keys[2], args[2]) or '', 5)
  if #had >= 4 * TENURES_MAX then had = string.sub(had, 5) end
  change(keys, args[2], struct.pack('<I4', args[3]) .. had .. struct.pack('<I4', tenure))
  return tenure
end

-- keys: meta, names. args: generation, name, tenure. Whether it is the name's newest.
local function isNewest(keys, args)
  local had = redis.call('HGET', keys[2], args[2])
  return had and struct.unpack('<I4', had, #had - 3) == tonumber(args[3]), had
end

local function settle(keys, args)
  local wrong = check(keys[1], args[1])
  if wrong then return wrong end
  local newest, had = isNewest(keys, args)
  if not newest then return 0 end
  if #had > 8 then change(keys, args[2], string.sub(had, 1, 4) .. string.sub(had, -4)) end
  return 1
end

local function leave(keys, args)
  local wrong = check(keys[1], args[1])
  if wrong then return wrong end
  if isNewest(keys, args) then change(keys, args[2], nil) end
  return 1
end
`
