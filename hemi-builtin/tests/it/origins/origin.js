// An origin by Node.js. It prints its port, and serves until its input ends.
'use strict';

const crypto = require('crypto');
const http = require('http');
const { WebSocketServer } = require('ws');

const page = `<!DOCTYPE html><title>A page</title>
<link rel="stylesheet" href="/style.css"><img id="image" src="/image.svg"><p id="said">nothing</p>
<script src="/script.js"></script>`;
const script = `
const content = 'x'.repeat(1000000);
const answer = fetch('/echo', { method: 'POST', body: content }).then((answer) => answer.text());
const socket = new WebSocket(location.origin.replace('http', 'ws') + '/socket');
const said = new Promise((done) => { socket.onmessage = (event) => done(event.data); });
socket.onopen = () => socket.send('hello');
Promise.all([answer, said]).then(([answer, said]) => {
	const style = getComputedStyle(document.getElementById('said')).color;
	const image = document.getElementById('image').naturalWidth;
	const all = [answer === content, said, style, image].join(' ');
	document.getElementById('said').textContent = all;
});`;
const files = {
	'/page': ['text/html', page],
	'/style.css': ['text/css', 'p { color: rgb(1, 2, 3) }'],
	'/script.js': ['text/javascript', script],
	'/image.svg': ['image/svg+xml', '<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7"/>'],
};

// Lets the next event go out.
let next = () => {};

const answers = {
	'/hello': (request, response) => {
		const { httpVersion, url, headers } = request;
		response.end(`HTTP/${httpVersion} ${headers.host} ${url} for ${headers['x-forwarded-for']}`);
	},
	'/sum': (request, response) => {
		const hash = crypto.createHash('sha256');
		let length = 0;
		request.on('data', (piece) => { hash.update(piece); length += piece.length; });
		request.on('end', () => {
			response.setHeader('x-said', request.headers['content-length'] ?? '-1');
			response.end(`${length} ${hash.digest('hex')}`);
		});
	},
	'/echo': (request, response) => {
		let length = 0;
		response.setHeader('trailer', 'x-length');
		request.on('data', (piece) => { length += piece.length; });
		request.on('end', () => response.addTrailers({ 'x-length': `${length}` }));
		request.pipe(response);
	},
	'/chunks': (request, response) => {
		for (let n = 0; n < 100; n++) response.write(`piece ${n}\n`);
		response.end();
	},
	'/events': (request, response) => {
		let n = 0;
		response.setHeader('content-type', 'text/event-stream');
		next = () => (n < 5 ? response.write(`data: ${n++}\n\n`) : response.end());
		next();
	},
	'/next': (request, response) => {
		next();
		response.end();
	},
};

const server = http.createServer((request, response) => {
	const { pathname } = new URL(request.url, 'http://x');
	const [type, content] = files[pathname] ?? [];
	if (content) {
		response.setHeader('content-type', type);
		response.end(content);
	} else if (answers[pathname]) {
		answers[pathname](request, response);
	} else {
		response.statusCode = 404;
		response.end();
	}
});
const sockets = new WebSocketServer({ server, path: '/socket' });
sockets.on('connection', (socket) => {
	socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
