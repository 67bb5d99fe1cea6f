// Speaks with the socklets by the library `ws`.

const assert = require('node:assert');
const { once } = require('node:events');
const WebSocket = require('ws');

const uri = 'ws://' + process.argv[2];

async function open(path, options) {
  const socket = new WebSocket(uri + path, options);
  socket.inbox = [];
  socket.on('message', (data, isBinary) => {
    const message = isBinary ? data : data.toString();
    if (socket.waiting) {
      socket.waiting(message);
      socket.waiting = null;
    } else {
      socket.inbox.push(message);
    }
  });
  socket.next = () =>
    socket.inbox.length ? socket.inbox.shift() : new Promise((resolve) => (socket.waiting = resolve));
  await once(socket, 'open');
  return socket;
}

async function echoes(socket) {
  const text = 'κόσμε '.repeat(2000);
  for (const message of ['', 'Hello', text, Buffer.alloc(0), Buffer.alloc(70000, 7), 'y'.repeat(900000)]) {
    socket.send(message);
    assert.deepStrictEqual(await socket.next(), message);
  }
  for (const [piece, fin] of [['one ', false], ['two ', false], ['three', true]]) {
    socket.send(piece, { fin });
  }
  assert.strictEqual(await socket.next(), 'one two three');
  socket.ping('hello');
  assert.strictEqual((await once(socket, 'pong'))[0].toString(), 'hello');
}

async function main() {
  const plain = await open('/echo');
  assert.strictEqual(plain.extensions, '');
  await echoes(plain);
  plain.close(4000, 'enough');
  const [code, reason] = await once(plain, 'close');
  assert.deepStrictEqual([code, reason.toString()], [4000, 'enough']);

  for (const perMessageDeflate of [true, { serverNoContextTakeover: true, clientNoContextTakeover: true }]) {
    const deflate = await open('/deflate', { perMessageDeflate: { threshold: 0, ...perMessageDeflate } });
    assert.match(deflate.extensions, /^permessage-deflate/);
    await echoes(deflate);
    await echoes(deflate);
    deflate.close();
    await once(deflate, 'close');
  }

  const small = await open('/small');
  small.send('x'.repeat(1025));
  assert.strictEqual((await once(small, 'close'))[0], 1009);
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
