// What can wait: small pictures beside the controls (strips, icons, ends of a blend). One at a time,
// only while the hand and the live loop are at rest. Pure but for the timer.

const WHILE_BUSY = 120; // milliseconds before looking again
const BETWEEN = 15;

/** `isBusy()` tells whether there is something better to do; `fail(error)` hears what went wrong. */
export function createAsides({ isBusy, fail, wait = pause }) {
  const tasks = new Map();
  let isRunning = false;

  async function run() {
    isRunning = true;
    while (tasks.size) {
      await wait(isBusy() ? WHILE_BUSY : BETWEEN);
      if (isBusy()) continue;
      const [key, task] = tasks.entries().next().value;
      tasks.delete(key);
      await task().catch(fail);
    }
    isRunning = false;
  }

  /** Runs the async function `task` in its turn; a newer one with the same key replaces it. */
  return function aside(key, task) {
    tasks.delete(key);
    tasks.set(key, task);
    if (!isRunning) run();
  };
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
