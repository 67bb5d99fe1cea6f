-- What wrk does for the bench. Its arguments say how many requests are sent at once, and of how many
-- bytes the file is that each of them uploads, if any.

function init(args)
   local depth = tonumber(args[1])
   local upload = tonumber(args[2] or "")
   if upload then
      wrk.method = "POST"
      wrk.headers["Content-Type"] = "multipart/form-data; boundary=----bench7MA4YWxkTrZu0gW"
      -- Bytes of all values, so that a search for the boundary meets what it does in a real file.
      local block = {}
      for i = 1, 4096 do block[i] = string.char(i * 7919 % 251) end
      local file = table.concat(block):rep(upload / 4096)
      wrk.body = "------bench7MA4YWxkTrZu0gW\r\n"
         .. 'Content-Disposition: form-data; name="file"; filename="a.bin"\r\n'
         .. "Content-Type: application/octet-stream\r\n\r\n" .. file
         .. "\r\n------bench7MA4YWxkTrZu0gW--\r\n"
   end
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
