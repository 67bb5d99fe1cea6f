import hashlib, json

def application(env, start):
    digest, left = hashlib.md5(), int(env.get("CONTENT_LENGTH") or 0)
    while left:
        piece = env["wsgi.input"].read(min(left, 65536))
        if not piece:
            break
        digest.update(piece)
        left -= len(piece)
    if env["PATH_INFO"] == "/long":
        start("200 OK", [("Content-Type", "application/octet-stream")])
        return (b"x" * 65536 for _ in range(64))
    if env["PATH_INFO"] == "/none":
        start("404 Not Found", [("Content-Type", "text/plain"), ("X-Accel-Expires", "1")])
        return [b"nothing here"]
    told = {name: value for name, value in env.items() if isinstance(value, str)}
    start("200 OK", [("Content-Type", "application/json"), ("X-MD5", digest.hexdigest())])
    return [json.dumps(told).encode()]
