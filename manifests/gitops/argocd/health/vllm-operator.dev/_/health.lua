-- Health of a VLLMServer and of an FP8Quantization. Their status speaks kstatus: `Ready` always, `Reconciling` and
-- `Stalled` only while True. A status that nobody has written yet has the observedGeneration -1.
-- Suspended is what serves nothing (`replicas: 0`) or takes no edit (`paused: true`) because somebody wants it so.
local suspended = { Suspended = true, Paused = true }
local status = obj.status
if status == nil or status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "Waiting for the operator to look at this generation" }
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end

local ready = conditions.Ready
if ready == nil then
  return { status = "Progressing", message = "Waiting for the operator to say whether it is ready" }
end

local message = ready.reason .. ": " .. ready.message
if conditions.Stalled ~= nil and conditions.Stalled.status == "True" then
  return { status = "Degraded", message = message }
end
if ready.status ~= "True" then
  return { status = "Progressing", message = message }
end
if suspended[ready.reason] then
  return { status = "Suspended", message = message }
end
return { status = "Healthy", message = message }
