// Chance that repeats: every property below is tried on the same recipes and actions each time.

export const MODELS = [
  { name: "avatars", num_ws: 10, classes: null, revision: "0123456789ab" },
  { name: "digits", num_ws: 8, classes: ["0", "1", "2"], revision: "ba9876543210" },
];

/** Numbers in [0, 1) from a seed (mulberry32). */
export function chance(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const WILD = [-1e9, -10.5, -1, -0.00001, 0, 0.33333, 1, 1.5, 2, 9.99999, 64, 4294967296, 1e300];
const pick = (random, list) => list[Math.floor(random() * list.length)];
const maybe = (random, value) => (random() < 0.5 ? value() : undefined);

/** Any action that a hand on the page could cause, values far out of range included. */
export function anyAction(random) {
  const direction = `${pick(random, ["pca", "sefa"])}${Math.floor(random() * 10)}`;
  const wild = () => pick(random, WILD);
  const near = () => random() * 6 - 3;
  const value = () => (random() < 0.5 ? wild() : near());
  return pick(random, [
    () => ({ type: "change", patch: { seed: wild() } }),
    () => ({ type: "change", patch: { psi: value() } }),
    () => ({ type: "change", patch: { seed2: pick(random, [null, wild()]), blend: value() } }),
    () => ({ type: "change", patch: { blend_space: pick(random, ["w", "z"]) } }),
    () => ({ type: "change", patch: { noise: pick(random, ["const", "none", wild()]) } }),
    () => ({ type: "change", patch: { cutoff: pick(random, [null, wild()]) } }),
    () => ({ type: "change", patch: { label: pick(random, [null, wild()]) } }),
    () => ({ type: "edit", direction, strength: value() }),
    () => ({ type: "edit", direction, start: maybe(random, wild), end: maybe(random, wild) }),
    () => ({ type: "settle" }),
    () => ({ type: "reset" }),
    () => ({ type: "model", model: pick(random, MODELS).name }),
    () => ({ type: "lock", direction }),
    () => ({ type: "method", method: pick(random, ["pca", "sefa"]) }),
    () => ({
      type: "surprise",
      numbers: Array.from({ length: 9 }, random),
      directions: ["pca0", "pca1", "pca2", direction],
    }),
    () => ({ type: "keep", id: String(random()), thumbnail: "data:image/jpeg;base64,AA" }),
  ])();
}
