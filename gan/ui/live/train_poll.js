// When the Train page asks how things are: every second or two while somebody looks and something
// may change, and not at all otherwise. No DOM, no clock of its own.

/** `ask()` asks once (a promise); `isWanted()`: is anybody looking at something that may change;
 * `pace()`: milliseconds until the next time. `wake()`: ask now, then go on as wanted. */
export function createPoll({ ask, isWanted, pace, wait = pause }) {
  let isRunning = false;
  let isAskedFor = false;
  let hurry = () => {};

  async function run() {
    isRunning = true;
    while (isAskedFor || isWanted()) {
      isAskedFor = false;
      await ask();
      if (isAskedFor || !isWanted()) continue;
      await Promise.race([wait(pace()), new Promise((resolve) => (hurry = resolve))]);
    }
    isRunning = false;
  }

  return {
    wake() {
      isAskedFor = true;
      hurry();
      if (!isRunning) run();
    },
    isRunning: () => isRunning,
  };
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
