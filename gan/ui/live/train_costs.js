// What trainings cost on this machine, as far as it was measured in this visit. No DOM.

/** Equal for requests whose pictures cost the same: the budget, the seed and the name don't matter. */
export function keyOf(request) {
  const free = { images: null, minutes: null, target_quality: null, seed: 0, name: "" };
  return JSON.stringify({ ...request, ...free });
}

/** An estimate for another budget of the same training. */
export function scaled(estimate, { images, minutes }) {
  const { images_per_minute: rate } = estimate;
  if (images) return { ...estimate, images, minutes: images / rate };
  return { ...estimate, minutes, images: Math.round(minutes * rate) };
}

/** `measure(request)` asks the server (a promise); `isBusy()`: does anything train that we know of?
 * What was measured beside another training holds as long as something trains. */
export function createCosts({ measure, isBusy }) {
  const known = new Map(); // key → promise of an estimate: who types while it is made waits for it

  return async function costsOf(request) {
    const key = keyOf(request);
    const earlier = known.get(key);
    if (earlier) {
      const found = await earlier;
      if (!found.busy || isBusy()) return scaled(found, request);
    }
    const asked = measure(request);
    known.set(key, asked);
    try {
      return scaled(await asked, request);
    } catch (error) {
      known.delete(key);
      throw error;
    }
  };
}
