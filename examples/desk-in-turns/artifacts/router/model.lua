-- Finds the name of the model that a request asks for, as the engine itself reads it: in JSON the key "model" of the
-- outermost object, wherever it stands, however deep the rest nests and whatever its strings hold; of several the last
-- counts. In a form it is the field "model", which stands before a file that is larger than the buffer. HAProxy's own
-- json_query gives up at the twentieth level.
-- As an action this may be interrupted between two steps, so that a hostile body holds up nobody else.
local find, byte, sub, match = string.find, string.byte, string.sub, string.match
local QUOTE, BACKSLASH, COLON, COMMA, DASH = 34, 92, 58, 44, 45
local OPENING = { [91] = true, [123] = true }
local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }
-- Neither a name of a model nor a spelling of "model" is longer.
local LONGEST_BYTES = 4096

-- Returns the place of the first character from ``at`` on that is no white space.
local function skip(text, at)
  return find(text, "[^ \t\r\n]", at) or #text + 1
end

-- Returns the place of the quote that ends the string whose first quote is at ``at``, nil where there is none.
local function string_end(text, at)
  local quote = at
  while true do
    quote = find(text, '"', quote + 1, true)
    if not quote then return nil end
    local before = quote - 1
    while byte(text, before) == BACKSLASH do before = before - 1 end
    if (quote - before) % 2 == 1 then return quote end
  end
end

-- Returns the place of the last character of the value that begins at ``at``, nil where it has no end.
local function value_end(text, at)
  local first = byte(text, at)
  if first == QUOTE then return string_end(text, at) end
  if not OPENING[first] then return (find(text, "[,}%] \t\r\n]", at) or 0) - 1 end
  local depth = 0
  while true do
    at = find(text, '["%[%]{}]', at)
    if not at then return nil end
    local char = byte(text, at)
    if char == QUOTE then
      at = string_end(text, at)
      if not at then return nil end
    elseif OPENING[char] then
      depth = depth + 1
    else
      depth = depth - 1
      if depth == 0 then return at end
    end
    at = at + 1
  end
end

-- Returns what the string between two quotes says, nil where it is too long or says nothing.
local function said(text, from, to)
  if to - from > LONGEST_BYTES then return nil end
  local raw, parts, at = sub(text, from + 1, to - 1), {}, 1
  while true do
    local slash = find(raw, "\\", at, true)
    parts[#parts + 1] = sub(raw, at, (slash or 0) - 1)
    if not slash then return table.concat(parts) end
    local kind = sub(raw, slash + 1, slash + 1)
    at = slash + 2
    if kind == "u" then
      local code = tonumber(match(raw, "^%x%x%x%x", at) or "none", 16)
      if not code then return nil end
      at = at + 4
      local low = tonumber(match(raw, "^\\u([dD][c-fC-F]%x%x)", at) or "none", 16)
      if low and code >= 0xD800 and code < 0xDC00 then
        code, at = 0x10000 + (code - 0xD800) * 0x400 + (low - 0xDC00), at + 6
      end
      parts[#parts + 1] = utf8.char(code)
    else
      if not ESCAPES[kind] then return nil end
      parts[#parts + 1] = ESCAPES[kind]
    end
  end
end

local function of_json(text)
  local at = skip(text, sub(text, 1, 3) == "\xEF\xBB\xBF" and 4 or 1)
  if byte(text, at) ~= 123 then return nil end
  local found
  at = skip(text, at + 1)
  while byte(text, at) == QUOTE do
    local key_end = string_end(text, at)
    if not key_end then return nil end
    local key = said(text, at, key_end)
    at = skip(text, key_end + 1)
    if byte(text, at) ~= COLON then return nil end
    at = skip(text, at + 1)
    local last = value_end(text, at)
    if not last or last < at then return nil end
    if key == "model" then found = byte(text, at) == QUOTE and said(text, at, last) or nil end
    at = skip(text, last + 1)
    if byte(text, at) ~= COMMA then return byte(text, at) == 125 and found or nil end
    at = skip(text, at + 1)
  end
  return nil
end

local function of_form(text)
  local boundary = match(text, "^(%-%-[^\r\n]+)\r\n")
  local at = boundary and #boundary + 3
  while at do
    local head_end = find(text, "\r\n\r\n", at, true)
    local part_end, next_part = find(text, "\r\n" .. boundary, head_end or at, true)
    if not head_end or not part_end then return nil end
    if match(sub(text, at, head_end), '[; ]name="model"') then return sub(text, head_end + 4, part_end - 1) end
    at = next_part + 3
  end
  return nil
end

core.register_action("model", { "http-req" }, function(txn)
  local text = txn.sf:req_body()
  local model = byte(text, 1) == DASH and of_form(text) or of_json(text)
  if model then txn:set_var("txn.model", model) end
end)
