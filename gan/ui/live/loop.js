// The live loop: newest wins, one request in flight, the last position is always drawn. No DOM:
// `draw(job)` asks the server (a promise), `show(answer, job)` paints it (a promise or nothing).
// A picture is decoded and painted while the server draws the next one, which gave a sixth more
// pictures a second; one is shown at a time, in order.

const SHORTEST_PAUSE = 400; // milliseconds before asking again after a failure
const LONGEST_PAUSE = 8000;

/**
 * A loop. `ask(job)` replaces whatever was waiting; the answer to a job that was overtaken in
 * flight is still shown, because on a slow line it is the only movement there is.
 * `fail(error, job)` returns true if asking the same again may help (the line was cut).
 */
export function createLoop({ draw, show, fail, wait = pause }) {
  let waiting = null;
  let busy = false;
  let idle = Promise.resolve();

  async function run() {
    let failures = 0;
    let showing = Promise.resolve(); // meanwhile the next is drawn

    async function attempt(job, deed) {
      try {
        await deed();
        failures = 0;
      } catch (error) {
        if (!fail(error, job)) return;
        waiting ??= job;
        await wait(Math.min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** failures));
        failures += 1;
      }
    }

    while (waiting) {
      const job = waiting;
      waiting = null;
      await attempt(job, async () => {
        const answer = await draw(job);
        await showing;
        showing = attempt(job, () => show(answer, job));
      });
      if (!waiting) await showing;
    }
    busy = false;
  }

  return {
    ask(job) {
      waiting = job;
      if (busy) return;
      busy = true;
      idle = run();
    },
    /** Resolves when nothing is waiting and nothing is in flight. */
    settled: () => idle,
    isBusy: () => busy,
  };
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
