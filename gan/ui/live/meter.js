// How the page answers the hand: milliseconds from an input event to the drawn picture. Pure; the
// caller brings the clock (performance.now()).

const REMEMBERED = 120;
const RATE_WINDOW = 1500; // milliseconds

export function createMeter() {
  let pending = []; // times of input events whose picture isn't drawn yet
  const latencies = [];
  const drawings = [];
  let model = 0;

  return {
    /** An input event at `time` wants picture number `id` (rising). */
    moved(id, time) {
      pending.push({ id, time });
    },
    /** Picture `id` is on the canvas at `time`: it answers every input up to its own number. */
    drawn(id, time, modelMilliseconds) {
      const answered = pending.filter((one) => one.id <= id);
      pending = pending.filter((one) => one.id > id);
      for (const one of answered) latencies.push(time - one.time);
      latencies.splice(0, latencies.length - REMEMBERED);
      if (answered.length) drawings.push(time);
      drawings.splice(0, drawings.length - REMEMBERED);
      model = modelMilliseconds;
    },
    /** {p50, rate, model} in milliseconds and pictures a second; null before the first drag. */
    read() {
      if (!latencies.length) return null;
      const sorted = latencies.toSorted((a, b) => a - b);
      return { p50: sorted[Math.floor(sorted.length / 2)], rate: rate(drawings), model };
    },
  };
}

/** Pictures a second over the last stretch of uninterrupted movement; null if too short. */
function rate(times) {
  const last = times.at(-1);
  const recent = times.filter((time) => last - time <= RATE_WINDOW);
  if (recent.length < 5) return null;
  return ((recent.length - 1) * 1000) / (last - recent[0]);
}
