// gan/ui/live/transport.js: a WebSocket where there is one, the server function where there isn't.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  base64,
  createTransport,
  parseAnswer,
  socketAddress,
} from "../../gan/ui/live/transport.js";

const encode = (answer, bytes = []) => {
  const head = new TextEncoder().encode(`${JSON.stringify(answer)}\n`);
  return Uint8Array.from([...head, ...bytes]).buffer;
};

function setUp() {
  const sockets = [];
  const clock = { time: 0 };
  const timers = new Set();
  const transport = createTransport({
    now: () => clock.time,
    ask: async (json) => ({ id: json.id, by: "server" }),
    later(deed, milliseconds) {
      const timer = { deed, at: clock.time + milliseconds };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    connect() {
      const socket = { sent: [], send: (text) => socket.sent.push(JSON.parse(text)) };
      sockets.push(socket);
      return socket;
    },
  });
  const reply = (socket) =>
    socket.onmessage({ data: encode({ id: socket.sent.at(-1).id, by: "socket" }) });
  const pass = (milliseconds) => {
    clock.time += milliseconds;
    for (const timer of [...timers]) if (timer.at <= clock.time) timer.deed();
  };
  return { transport, sockets, clock, reply, pass, timers };
}

test("until the socket is open the server function draws", async () => {
  const { transport, sockets, reply } = setUp();
  transport.open();
  assert.deepEqual(await transport.draw({ id: 1 }), { id: 1, by: "server" });
  sockets[0].onopen();
  const drawing = transport.draw({ id: 2 });
  reply(sockets[0]);
  assert.deepEqual(await drawing, { id: 2, by: "socket" });
  assert.equal(sockets.length, 1);
});

test("a second question in flight goes the other way, so that answers never cross", async () => {
  const { transport, sockets, reply } = setUp();
  transport.open();
  sockets[0].onopen();
  const first = transport.draw({ id: 1 });
  assert.deepEqual(await transport.draw({ id: 2 }), { id: 2, by: "server" });
  reply(sockets[0]);
  assert.deepEqual(await first, { id: 1, by: "socket" });
});

test("a socket that closes fails its drawing, and the server function takes over for a while", async () => {
  const { transport, sockets, clock } = setUp();
  transport.open();
  sockets[0].onopen();
  const drawing = transport.draw({ id: 2 });
  sockets[0].onclose();
  await assert.rejects(drawing);
  assert.equal(transport.isFast(), false);
  assert.deepEqual(await transport.draw({ id: 3 }), { id: 3, by: "server" });
  assert.equal(sockets.length, 1);
  clock.time = 16_000;
  await transport.draw({ id: 4 });
  assert.equal(sockets.length, 2);
});

test("a line that is let go closes its socket, and the next drawing opens another", async () => {
  const { transport, sockets, reply } = setUp();
  transport.open();
  let isClosed = false;
  sockets[0].close = () => (isClosed = true);
  sockets[0].onopen();
  const drawing = transport.draw({ id: 1 });
  transport.close();
  await assert.rejects(drawing);
  assert.ok(isClosed);
  transport.close();
  transport.open();
  sockets[1].onopen();
  const next = transport.draw({ id: 2 });
  reply(sockets[1]);
  assert.deepEqual(await next, { id: 2, by: "socket" });
});

test("a line that takes questions and never answers is given up, and another opened later", async () => {
  const { transport, sockets, clock, pass, timers } = setUp();
  transport.open();
  let isClosed = false;
  sockets[0].close = () => (isClosed = true);
  sockets[0].onopen();
  const drawing = transport.draw({ id: 1 });
  const failed = assert.rejects(drawing, /closed|in time/);
  pass(19_000);
  assert.equal(isClosed, false);
  pass(2000);
  await failed;
  assert.ok(isClosed);
  assert.deepEqual(await transport.draw({ id: 2 }), { id: 2, by: "server" });
  assert.equal(sockets.length, 1);
  clock.time += 16_000;
  await transport.draw({ id: 3 });
  assert.equal(sockets.length, 2);
  assert.equal(timers.size, 0, "an answer ends its own time");
});

test("a slow picture has the time it should take, and more after each time that was too short", async () => {
  const { transport, sockets, pass, reply } = setUp();
  for (const socket of [0, 1]) {
    transport.open();
    sockets[socket].close = () => {};
    sockets[socket].onopen();
    const drawing = transport.draw({ id: socket }, 10);
    pass(69_000); // 20 s, and five times 10 s
    if (socket === 0) {
      const failed = assert.rejects(drawing);
      pass(16_000);
      await failed;
      pass(16_000);
    } else {
      pass(19_000); // 40 s by now
      reply(sockets[socket]);
      assert.equal((await drawing).by, "socket");
    }
  }
});

test("a server without sockets is tried twice, then left in peace", async () => {
  const { transport, sockets, clock } = setUp();
  for (let id = 1; id < 10; id++) {
    assert.equal((await transport.draw({ id })).by, "server");
    if (sockets.length) sockets.at(-1).onclose();
    clock.time += 60_000;
  }
  assert.equal(sockets.length, 2);
});

test("a message is JSON, a line feed, and the picture", () => {
  const answer = parseAnswer(encode({ id: 3, ms: 1.5, type: "image/png" }, [0, 255, 10, 65]));
  assert.deepEqual(answer, { id: 3, ms: 1.5, image: "data:image/png;base64,AP8KQQ==" });
  const refusal = { id: 3, error: { code: "bad_seed", values: { value: -1 } } };
  assert.deepEqual(parseAnswer(encode(refusal)), refusal);
});

test("large pictures are encoded whole", () => {
  const bytes = Uint8Array.from({ length: 100_001 }, (_, i) => i % 251);
  assert.equal(base64(bytes), Buffer.from(bytes).toString("base64"));
});

test("the socket is beside the page, on the host that the browser sees", () => {
  const at = (root, href) => socketAddress(root, "/live", href);
  assert.equal(
    at("http://127.0.0.1:7860", "http://127.0.0.1:7860/?m=a"),
    "ws://127.0.0.1:7860/live",
  );
  assert.equal(
    at("http://inner:7860/app/", "https://lab.example/app/"),
    "wss://lab.example/app/live",
  );
});
