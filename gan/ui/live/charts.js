// Small charts as SVG: lines over images seen, and a pair of histograms. The elements are made
// once; new figures only change their attributes, so that nothing flickers.

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { left: 42, right: 12, top: 10, bottom: 22 };

/** Round values, at most `count` + 2, that cover low … high: [0, 0.25, 0.5, …]. */
export function ticks(low, high, count = 3) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= raw * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++)
    found.push(Number((i * step).toPrecision(12)));
  return found;
}

/** [low, high] that holds all finite `values`, with a little air; `include` is always inside. */
export function extent(values, include = []) {
  const known = [...values, ...include].filter(Number.isFinite);
  if (!known.length) return [0, 1];
  let [low, high] = [Math.min(...known), Math.max(...known)];
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const air = (high - low) * 0.06;
  return [include.includes(low) ? low : low - air, include.includes(high) ? high : high + air];
}

/** 1234567 → "1.2M", 12345 → "12.3k", 0.01234 → "0.012". */
export function short(value, digits = 2) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(digits))}M`;
  if (size >= 1000) return `${Number((value / 1000).toPrecision(digits + 1))}k`;
  return String(Number(value.toPrecision(size >= 100 ? digits + 1 : digits)));
}

/** The numbers beside an axis: as short as they can be told apart, [0.561, 0.562]. */
export function tickTexts(values) {
  const texts = [2, 3, 4, 5, 6].map((digits) => values.map((value) => short(value, digits)));
  return texts.find((each) => new Set(each).size === values.length) ?? texts.at(-1);
}

/** Points [[x, y], …] as an SVG path; a y that isn't finite leaves a gap. */
export function path(points, x, y) {
  let text = "";
  let pen = "M";
  for (const [u, v] of points) {
    if (!Number.isFinite(v)) {
      pen = "M";
      continue;
    }
    text += `${pen}${x(u).toFixed(1)} ${y(v).toFixed(1)}`;
    pen = "L";
  }
  return text;
}

/** The band between two lines, [[x, low, high], …], as closed paths; what isn't finite parts it. */
export function bandPath(points, x, y) {
  let text = "";
  let part = [];
  for (const point of [...points, [NaN, NaN, NaN]]) {
    if (Number.isFinite(point[1]) && Number.isFinite(point[2])) {
      part.push(point);
      continue;
    }
    const upper = part.map(([u, , high]) => [u, high]);
    const lower = part.map(([u, low]) => [u, low]).reverse();
    if (part.length > 1) text += `${path([...upper, ...lower], x, y)}Z`;
    part = [];
  }
  return text;
}

/** Means over a window that widens with the number of points: what the eye reads as the trend. */
export function smoothed(points) {
  const reach = Math.floor(points.length / 40);
  if (!reach) return points;
  return points.map(([x], i) => {
    const near = points.slice(Math.max(0, i - reach), i + reach + 1);
    const known = near.map(([, y]) => y).filter(Number.isFinite);
    return [x, known.length ? known.reduce((a, b) => a + b) / known.length : NaN];
  });
}

/** Scales of a chart of `width` × `height` pixels over [x0, x1] × [y0, y1]. */
export function geometry(width, height, [x0, x1], [y0, y1]) {
  const inner = Math.max(1, width - MARGIN.left - MARGIN.right);
  const tall = Math.max(1, height - MARGIN.top - MARGIN.bottom);
  return {
    x: (value) => MARGIN.left + ((value - x0) / (x1 - x0 || 1)) * inner,
    y: (value) => MARGIN.top + (1 - (value - y0) / (y1 - y0 || 1)) * tall,
    unx: (pixel) => x0 + ((pixel - MARGIN.left) / inner) * (x1 - x0),
  };
}

/** Dots at points, as zero-long strokes of a path with round ends. */
export function dotsPath(points, x, y) {
  const known = points.filter(([, v]) => Number.isFinite(v));
  return known.map(([u, v]) => `M${x(u).toFixed(1)} ${y(v).toFixed(1)}h0`).join("");
}

/** A line chart in `node`. `update(data)`: {lines: [{name, kind, points, faint?, dots?}], band?,
 * levels?: [{value, kind}], include?: [y]}; kinds are class names. */
export function createLines(node, { label, readout = () => "" }) {
  const svg = element("svg", { role: "img", "aria-label": label });
  const layers = {};
  for (const name of ["grid", "band", "levels", "lines", "dots", "cursor"]) {
    layers[name] = element("g", { class: name });
    svg.append(layers[name]);
  }
  const output = Object.assign(document.createElement("output"), { className: "readout" });
  node.replaceChildren(svg, output);
  let data = { lines: [] };
  let scales = null;
  let drawn = "";

  function draw() {
    const { width, height } = svg.getBoundingClientRect();
    const all = data.lines.flatMap((line) => line.points);
    node.classList.toggle("is-empty", !all.length);
    if (!width || !height || !all.length) return;
    const x1 = Math.max(1, ...all.map(([x]) => x), ...(data.band ?? []).map(([x]) => x));
    const levels = (data.levels ?? []).filter(({ value }) => Number.isFinite(value));
    const shown = data.lines.filter((line) => !line.faint).flatMap((line) => line.points);
    const include = [...(data.include ?? []), ...levels.map(({ value }) => value)];
    const range = extent(
      shown.map(([, y]) => y),
      include,
    );
    scales = { ...geometry(width, height, [0, x1], range), width, height, x1 };
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawGrid(range);
    const { x, y } = scales;
    pool(
      layers.band,
      data.band ? [{ d: bandPath(data.band, x, (v) => clip(y(v))) }] : [],
      "path",
    );
    pool(
      layers.levels,
      levels.map(({ value, kind }) => ({
        class: kind,
        d: `M${MARGIN.left} ${y(value).toFixed(1)}H${width - MARGIN.right}`,
      })),
      "path",
    );
    pool(
      layers.lines,
      data.lines.map(({ kind, points, faint }) => ({
        class: `${kind}${faint ? " faint" : ""}`,
        d: path(points, x, (v) => clip(y(v))),
      })),
      "path",
    );
    pool(
      layers.dots,
      data.lines
        .filter(({ dots, points }) => dots || points.length === 1)
        .map(({ kind, points }) => ({ class: kind, d: dotsPath(points, x, (v) => clip(y(v))) })),
      "path",
    );
  }

  const clip = (pixel) =>
    Math.min(scales.height - MARGIN.bottom, Math.max(MARGIN.top - 4, pixel));

  function drawGrid(range) {
    const { x, y, width, height, x1 } = scales;
    const rows = ticks(...range, height > 180 ? 4 : 3);
    const rowTexts = tickTexts(rows);
    const columns = ticks(0, x1, width > 420 ? 5 : 3).slice(1);
    const lines = rows.map((value) => ({
      d: `M${MARGIN.left} ${y(value).toFixed(1)}H${width - MARGIN.right}`,
    }));
    const down = { y: height - 6, "text-anchor": "middle" };
    const texts = [
      ...rows.map((value, i) => ({
        x: MARGIN.left - 7,
        y: y(value) + 4,
        "text-anchor": "end",
        text: rowTexts[i],
      })),
      ...columns
        .filter((value) => x(value) < width - MARGIN.right + 1)
        .map((value) => ({
          ...down,
          x: Math.min(x(value), width - MARGIN.right - 12),
          text: short(value),
        })),
    ];
    pool(layers.grid, lines, "path");
    pool(layers.grid, texts, "text");
  }

  svg.addEventListener("pointermove", (event) => {
    if (!scales || !data.lines.length) return;
    const { left } = svg.getBoundingClientRect();
    const seen = scales.unx(event.clientX - left);
    const shown = data.lines.filter((line) => !line.faint);
    const alike = shown.filter(({ name }) => name === shown[0].name); // one line may be in parts
    const at = nearest(
      alike.flatMap(({ points }) => points),
      seen,
    );
    if (!at) return;
    const x = scales.x(at[0]).toFixed(1);
    pool(layers.cursor, [{ d: `M${x} ${MARGIN.top}V${scales.height - MARGIN.bottom}` }], "path");
    output.textContent = readout(at[0], data);
  });
  svg.addEventListener("pointerleave", () => {
    pool(layers.cursor, [], "path");
    output.textContent = "";
  });
  new ResizeObserver(draw).observe(node);

  return {
    update(next) {
      const signature = JSON.stringify(next);
      if (signature === drawn) return;
      drawn = signature;
      data = next;
      draw();
    },
    relabel: (text) => svg.setAttribute("aria-label", text),
  };
}

/** Two histograms over the same bins in `node`. `update({edges, real, fake})`. */
export function createHistogram(node, { label }) {
  const svg = element("svg", { role: "img", "aria-label": label, preserveAspectRatio: "none" });
  const groups = ["real", "fake"].map((name) => element("g", { class: name }));
  const axis = element("g", { class: "grid" });
  svg.append(axis, ...groups);
  node.replaceChildren(svg);
  let data = null;

  function draw() {
    const { width, height } = svg.getBoundingClientRect();
    if (!width || !data) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const { edges } = data;
    const most = Math.max(1e-9, ...share(data.real), ...share(data.fake));
    const { x, y } = geometry(width, height, [edges[0], edges.at(-1)], [0, most * 1.05]);
    const base = y(0);
    groups.forEach((group, which) => {
      const heights = share([data.real, data.fake][which]);
      const steps = heights.map((h, i) => `V${y(h).toFixed(1)}H${x(edges[i + 1]).toFixed(1)}`);
      const d = `M${x(edges[0]).toFixed(1)} ${base}${steps.join("")}V${base}Z`;
      pool(group, [{ d }], "path");
    });
    const marks = ticks(edges[0], edges.at(-1), 4);
    pool(axis, [{ d: `M${MARGIN.left} ${base}H${width - MARGIN.right}` }], "path");
    pool(
      axis,
      marks.map((value) => ({
        x: x(value),
        y: height - 6,
        "text-anchor": "middle",
        text: short(value),
      })),
      "text",
    );
  }

  new ResizeObserver(draw).observe(node);
  return {
    update(next) {
      if (next === data) return;
      data = next;
      draw();
    },
    relabel: (text) => svg.setAttribute("aria-label", text),
  };
}

/** The point of `points` whose x is nearest. */
export function nearest(points, x) {
  let best = null;
  for (const point of points)
    if (!best || Math.abs(point[0] - x) < Math.abs(best[0] - x)) best = point;
  return best;
}

function share(counts) {
  const total = counts.reduce((a, b) => a + b, 0);
  return counts.map((count) => (total ? count / total : 0));
}

/** Makes the children of `group` with this tag be these, reusing those that are there. */
function pool(group, wanted, tag) {
  const there = [...group.children].filter((one) => one.tagName === tag);
  wanted.forEach(({ text, ...attributes }, i) => {
    const one = there[i] ?? group.appendChild(element(tag, {}));
    for (const [name, value] of Object.entries(attributes)) {
      if (one.getAttribute(name) !== String(value)) one.setAttribute(name, value);
    }
    if (text !== undefined && one.textContent !== text) one.textContent = text;
  });
  for (const one of there.slice(wanted.length)) one.remove();
}

function element(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
