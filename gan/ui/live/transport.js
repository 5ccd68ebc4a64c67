// How a drawing is asked for: over a WebSocket where there is one, else as a Gradio server function.
// One function, `draw(json) → Promise<answer>`; nothing else on the page knows the difference.
//
// Measured with an empty model, 64 px, two busy cores: a server function takes 8.8 ms, and 9.3 ms of
// processor time in all processes together; the WebSocket 1.4 ms and 2.2 ms.

const REST_AFTER_FAILURE = 15_000; // milliseconds with server functions before the next try
const MOST_FAILURES = 2; // in a row, without one success: this server, or its proxy, has no sockets

/**
 * `ask(json)` calls the server function; `connect()` opens a WebSocket (binary type "arraybuffer");
 * `now()` is in milliseconds.
 */
export function createTransport({ ask, connect, now = () => performance.now() }) {
  let socket = null; // open and usable
  let opening = null;
  let pending = null; // {resolve, reject} of the drawing in flight
  let failures = 0;
  let retryAt = 0;

  function open() {
    if (socket || opening || failures >= MOST_FAILURES || now() < retryAt) return;
    opening = connect();
    const own = opening;
    own.onopen = () => {
      socket = own;
      opening = null;
      failures = 0;
    };
    own.onmessage = (event) => settle((waiting) => waiting.resolve(parseAnswer(event.data)));
    own.onclose = () => {
      if (opening === own) failures += 1;
      socket = opening = null;
      retryAt = now() + REST_AFTER_FAILURE;
      settle((waiting) => waiting.reject(new Error("the connection was closed")));
    };
  }

  function settle(how) {
    const waiting = pending;
    pending = null;
    if (waiting) how(waiting);
  }

  return {
    /** Opens the socket, so that it is there when the first slider moves. */
    open,
    /** One at a time: the loop has one in flight. */
    draw(json) {
      open();
      if (!socket || pending) return ask(json);
      return new Promise((resolve, reject) => {
        pending = { resolve, reject };
        socket.send(JSON.stringify(json));
      });
    },
    isFast: () => socket !== null,
    /** Lets the socket go; the next drawing opens another. */
    close() {
      const own = socket ?? opening;
      socket = opening = null;
      if (own) own.onopen = own.onmessage = own.onclose = null;
      own?.close();
      settle((waiting) => waiting.reject(new Error("the connection was closed")));
    },
  };
}

/** One message, "JSON ⏎ bytes of the picture" → the answer that the server function would give. */
export function parseAnswer(buffer) {
  const bytes = new Uint8Array(buffer);
  const end = bytes.indexOf(10);
  const { type, ...answer } = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
  if (type) answer.image = `data:${type};base64,${base64(bytes.subarray(end + 1))}`;
  return answer;
}

/** Bytes as base64 text. */
export function base64(bytes) {
  const chunk = 32_768; // as many arguments as every browser takes
  let text = "";
  for (let i = 0; i < bytes.length; i += chunk) {
    text += String.fromCharCode(...bytes.subarray(i, i + chunk));
  }
  return btoa(text);
}

/** The socket's address beside the page that Gradio serves at `root`, seen from `href`. */
export function socketAddress(root, path, href) {
  const { pathname } = new URL(root.replace(/\/$/, "") + path, href);
  const { host, protocol } = new URL(href);
  return `${protocol === "https:" ? "wss:" : "ws:"}//${host}${pathname}`;
}
