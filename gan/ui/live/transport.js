// How a drawing is asked for: over a WebSocket where there is one, else as a Gradio server function.
// One function, `draw(json) → Promise<answer>`; nothing else on the page knows the difference.
//
// A line that is half open takes questions and never answers. So a drawing has a time; when it is
// over the line is given up, and the next drawing goes the other way. Each such end doubles the time,
// so that a picture that is merely slow comes in the end.
//
// Measured with an empty model, 64 px, two busy cores: a server function takes 8.8 ms, and 9.3 ms of
// processor time in all processes together; the WebSocket 1.4 ms and 2.2 ms.

const REST_AFTER_FAILURE = 15_000; // milliseconds with server functions before the next try
const PATIENCE = 20_000; // milliseconds for a drawing, beyond what it should take
const MOST_PATIENCE = 600_000;
const SLOWER = 5; // times as long as expected, because others draw too
const MOST_FAILURES = 2; // in a row, without one success: this server, or its proxy, has no sockets

/**
 * `ask(json)` calls the server function; `connect()` opens a WebSocket (binary type "arraybuffer");
 * `now()` is in milliseconds; `later(deed, milliseconds)` returns what takes that back.
 */
export function createTransport({ ask, connect, now = () => performance.now(), later = timer }) {
  let socket = null; // open and usable
  let opening = null;
  let pending = null; // {resolve, reject} of the drawing in flight
  let failures = 0;
  let retryAt = 0;
  let patience = PATIENCE;

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

  /** The promise, or an error when it takes too long; then the line, too, is given up. */
  function inTime(promise, seconds) {
    let forget;
    const end = new Promise((_, reject) => {
      forget = later(() => {
        patience = Math.min(MOST_PATIENCE, 2 * patience);
        retryAt = now() + REST_AFTER_FAILURE;
        close();
        reject(new Error("no answer in time"));
      }, patience + SLOWER * 1000 * seconds);
    });
    const answered = promise.then((answer) => {
      patience = PATIENCE;
      return answer;
    });
    return Promise.race([answered, end]).finally(() => forget());
  }

  /** Lets the socket go; the next drawing opens another. */
  function close() {
    const own = socket ?? opening;
    socket = opening = null;
    if (own) own.onopen = own.onmessage = own.onclose = null;
    own?.close();
    settle((waiting) => waiting.reject(new Error("the connection was closed")));
  }

  function settle(how) {
    const waiting = pending;
    pending = null;
    if (waiting) how(waiting);
  }

  return {
    /** Opens the socket, so that it is there when the first slider moves. */
    open,
    /** One at a time: the loop has one in flight. `seconds` is what it should take. */
    draw(json, seconds = 0) {
      open();
      if (!socket || pending) return inTime(ask(json), seconds);
      const drawing = new Promise((resolve, reject) => {
        pending = { resolve, reject };
        socket.send(JSON.stringify(json));
      });
      return inTime(drawing, seconds);
    },
    isFast: () => socket !== null,
    close,
  };
}

function timer(deed, milliseconds) {
  const id = setTimeout(deed, milliseconds);
  return () => clearTimeout(id);
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

/** A place ("/live") of the app that Gradio serves at `root`, as a path of the site at `href`. */
export function pathOn(root, place, href) {
  return new URL(root.replace(/\/$/, "") + place, href).pathname;
}

/** The socket's address beside the page that Gradio serves at `root`, seen from `href`. */
export function socketAddress(root, path, href) {
  const { host, protocol } = new URL(href);
  return `${protocol === "https:" ? "wss:" : "ws:"}//${host}${pathOn(root, path, href)}`;
}
