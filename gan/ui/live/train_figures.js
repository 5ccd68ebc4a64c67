// The charts and numbers of the watched run. `series` is pure: rows of a snapshot → points.

import { createHistogram, createLines, short, smoothed } from "./charts.js";
import { putCommand } from "./dom.js";
import { budgetOf } from "./train_reducer.js";

/** The column `name` of `rows` as points [[images seen, value], …]; missing values are left out. */
export function series(rows, columns, name) {
  const at = columns.indexOf(name);
  return rows.filter((row) => Number.isFinite(row[at])).map((row) => [row[0], row[at]]);
}

/** Why there is no quality yet, or what the newest one rests on. */
export function newestQuality(qualities, columns) {
  const last = qualities.findLast((row) => Number.isFinite(row[columns.indexOf("q")]));
  return last ? Object.fromEntries(columns.map((name, i) => [name, last[i]])) : null;
}

/** Rows of evaluations, parted where the resolution changes: q at 16 px is another measure than q at
 * 32 px, and no line leads from one to the other. */
export function byResolution(rows, columns) {
  const at = columns.indexOf("resolution");
  const parts = [];
  for (const row of rows) {
    if (parts.at(-1)?.at(-1)[at] === row[at]) parts.at(-1).push(row);
    else parts.push([row]);
  }
  return parts;
}

export function createFigures(lab) {
  const { $, t, facts } = lab;
  const { columns, qualities } = facts;
  const charts = {};
  let language = null;

  const LINES = {
    losses: [
      ["real", "loss_d"],
      ["fake", "loss_g"],
    ],
    gradients: [
      ["real", "grad_d"],
      ["fake", "grad_g"],
    ],
    penalties: [
      ["real", "r1"],
      ["fake", "r2"],
    ],
    pairs: [["fake", "pairs"]],
    speed: [["real", "speed"]],
  };

  function build() {
    for (const name of ["quality", ...Object.keys(LINES)]) {
      const node = $(`#train-chart-${name}`);
      charts[name] ??= createLines(node, { label: "", readout: (x, data) => read(name, x, data) });
      charts[name].relabel(t(`train.chart_${name}`));
      node.dataset.empty = t("train.nothing_yet");
    }
    charts.logits ??= createHistogram($("#train-chart-logits"), { label: "" });
    charts.logits.relabel(t("train.chart_logits"));
  }

  function sync(watch) {
    if (language !== document.documentElement.dataset.language) {
      language = document.documentElement.dataset.language;
      build();
    }
    const points = watch?.points ?? [];
    for (const [name, lines] of Object.entries(LINES)) {
      charts[name].update(drawn(points, lines, name));
    }
    showQuality(watch);
    set("#train-losses-hint", lossesHint(points));
    const { histogram } = watch ?? {};
    $("#train-chart-logits").hidden = !histogram;
    if (histogram) charts.logits.update(histogram);
    const pairs = series(points, columns, "pairs").at(-1)?.[1];
    set("#train-pairs", pairs === undefined ? "" : t("train.pairs", { percent: percent(pairs) }));
    showNumbers(watch, points);
  }

  /** What the losses say; before the discriminator joins there is but a difference. */
  function lossesHint(points) {
    const [seen, difference] = series(points, columns, "reconstruction").at(-1) ?? [];
    const judged = series(points, columns, "loss_d").at(-1)?.[0] ?? -1;
    if (seen === undefined || judged >= seen) return t("train.losses_hint");
    return t("train.head_start", { difference: short(difference) });
  }

  /** The raw line faintly, its trend on top; losses are read as trends or not at all. */
  function drawn(points, lines, name) {
    const include = name === "pairs" ? [0.5, 1] : ["speed", "gradients"].includes(name) ? [0] : [];
    const levels = name === "pairs" ? [{ value: 0.5, kind: "floor" }] : [];
    const made = lines.flatMap(([kind, column]) => {
      const found = series(points, columns, column);
      return [
        { name: column, kind, points: found, faint: true },
        { name: column, kind, points: smoothed(found) },
      ];
    });
    return { lines: made, include, levels };
  }

  function showQuality(watch) {
    const rows = watch?.qualities ?? [];
    const newest = newestQuality(rows, qualities);
    set("#train-q", newest ? newest.q.toFixed(2) : "–");
    const [low, high] = [newest?.q_low, newest?.q_high];
    const interval = { low: low?.toFixed(2), high: high?.toFixed(2) };
    set("#train-q-interval", Number.isFinite(low) ? t("train.interval", interval) : "");
    set("#train-measured", newest ? measuredAt(newest) : "");
    const lows = qualities.indexOf("q_low");
    const highs = qualities.indexOf("q_high");
    const parts = byResolution(rows, qualities);
    const band = parts.flatMap((part) => [
      ...part.map((row) => [row[0], row[lows], row[highs]]),
      [part.at(-1)[0], NaN, NaN],
    ]);
    const levels = [
      { value: 1, kind: "floor" },
      ...(watch?.target_quality ? [{ value: watch.target_quality, kind: "target" }] : []),
    ];
    const lines = parts.map((part) => ({
      ...{ name: "q", kind: "fake", dots: true },
      points: series(part, qualities, "q"),
    }));
    charts.quality.update({ lines, band, levels, include: [0, 1] });
    set("#train-quality-hint", newest ? basis(newest) : t("train.quality_none"));
  }

  function measuredAt({ images_seen, resolution: size }) {
    const at = t("train.at", { seen: number(images_seen) });
    return size ? `${at}, ${t("train.at_size", { size })}` : at;
  }

  function basis({ kid, floor, coverage, real_coverage: most }) {
    const values = { kid: short(kid), floor: short(floor) };
    const covered = { coverage: percent(coverage ?? NaN), most: percent(most ?? NaN) };
    return t("train.quality_basis", { ...values, ...covered });
  }

  function showNumbers(watch, points) {
    const rate = series(points, columns, "speed").at(-1)?.[1];
    set("#train-speed", rate === undefined ? "" : t("train.rate", { rate: short(rate) }));
    putCommand($("#train-run-command"), watch?.command ?? "");
    if (!watch) return;
    set("#train-settings", t("train.settings", settings(watch)));
    const { images, target_quality } = budgetOf(watch);
    fill("#train-budget-images", images);
    fill("#train-budget-target", target_quality);
  }

  /** What is trained with; before that is known, what was asked for. */
  function settings({ request, settings: real }) {
    const { loss, penalties, batch } = real ?? request;
    const asked = typeof penalties === "string" ? penalties.split(",") : penalties;
    const used = asked?.filter((one) => one !== "none").join(", ");
    const isOurs = lab.facts.datasets.some(({ name }) => name === request.data);
    const name = String(request.data).split(/[/\\]/).at(-1);
    return {
      data: isOurs ? t(`train.data_${name}`) : name,
      loss: t(`train.loss_${loss}`),
      penalties: asked ? used.toUpperCase() || t("train.none") : t("train.usual"),
      batch: batch ?? t("train.usual"),
      seed: request.seed,
    };
  }

  function fill(selector, value) {
    const input = $(selector);
    if (document.activeElement === input || input.dataset.told === String(value)) return;
    input.dataset.told = value;
    input.value = value ?? "";
  }

  function read(name, x, { lines }) {
    const values = lines
      .filter(({ faint }) => !faint)
      .map(({ name: column, points }) => {
        const value = points.find((point) => point[0] === x)?.[1];
        return Number.isFinite(value) ? `${t(`train.column_${column}`)} ${short(value)}` : "";
      });
    return [number(x), ...values.filter(Boolean)].join(" · ");
  }

  function set(selector, text) {
    if ($(selector).textContent !== text) $(selector).textContent = text;
  }

  return { sync };
}

const number = (value) => Number(value).toLocaleString("en-US");
const percent = (share) => (Number.isFinite(share) ? `${Math.round(100 * share)} %` : "–");

/** The word for a training whose lamps are lit: an alarm is more than a warning. */
export function alarmKey(alarms) {
  const isSerious = alarms.some(({ level }) => level === "alarm");
  return isSerious ? "train.has_alarm" : "train.has_warning";
}
