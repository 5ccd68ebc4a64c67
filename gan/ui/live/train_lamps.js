// The alarm lamps: each says what it watches for, and when it is lit, what lit it and what helps.

import { short } from "./charts.js";

export const LAMPS = ["collapse", "discriminator_won", "nan", "memorising", "plateau"];

/** Which lamps can say anything yet: a lamp that has measured nothing isn't green. */
export function known(watch, { columns, qualities }) {
  const { points = [], qualities: rows = [] } = watch ?? {};
  const has = (name) => points.some((row) => Number.isFinite(row[columns.indexOf(name)]));
  const copies = qualities.indexOf("copies");
  const isMeasured = rows.length > 0;
  return {
    collapse: isMeasured,
    discriminator_won: has("pairs") && has("grad_g"),
    nan: has("loss_g"),
    memorising: rows.some((row) => Number.isFinite(row[copies])),
    plateau: isMeasured,
  };
}

export function createLamps(lab) {
  const { $, t } = lab;
  const list = $("#train-lamps");

  function sync(watch) {
    if (list.children.length !== LAMPS.length) list.replaceChildren(...LAMPS.map(make));
    const lit = new Map((watch?.alarms ?? []).map((alarm) => [alarm.name, alarm]));
    const can = known(watch, lab.facts);
    LAMPS.forEach((name, i) => show(list.children[i], name, lit.get(name), can[name]));
  }

  function make() {
    const item = document.createElement("li");
    item.innerHTML = "<i></i><div><b></b><p></p><small></small></div>";
    return item;
  }

  function show(item, name, alarm, isKnown) {
    item.dataset.level = alarm ? alarm.level : isKnown ? "calm" : "unknown";
    set(item.querySelector("b"), t(`train.lamp_${name}`));
    const calm = isKnown ? `train.lamp_${name}_calm` : "train.lamp_unknown";
    set(item.querySelector("p"), t(alarm ? `train.lamp_${name}_advice` : calm));
    set(item.querySelector("small"), alarm ? trigger(alarm) : "");
  }

  /** "since 12,000 images: vendi_ratio 0.21, coverage 0.3". */
  function trigger({ signals, since }) {
    const told = Object.entries(signals ?? {}).map(([name, value]) => {
      const words = t(`train.signal_${name}`);
      const shown = typeof value === "number" ? short(value) : String(value);
      return `${words === `train.signal_${name}` ? name : words} ${shown}`;
    });
    const at = Number(since ?? 0).toLocaleString("en-US");
    return t("train.lit", { since: at, what: told.join(", ") });
  }

  return { sync };
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
