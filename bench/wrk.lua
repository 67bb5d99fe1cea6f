-- What wrk does for the bench. Its argument says how many requests are sent at once.

function init(args)
   local depth = tonumber(args[1])
   local request = wrk.format()
   -- wrk asks for one request and then repeats it: make that one a whole batch.
   wrk.format = function() return request:rep(depth) end
end

-- One line that is easy to read for a program.
function done(summary, latency, requests)
   local e = summary.errors
   io.write(string.format("requests=%d errors=%d microseconds=%d p50=%d p99=%d\n",
      summary.requests, e.connect + e.read + e.write + e.status + e.timeout, summary.duration,
      latency:percentile(50), latency:percentile(99)))
end
