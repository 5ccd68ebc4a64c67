// The watched run, in the order in which people want to see it: pictures, quality, alarms, and then
// the figures behind them. It shows what the state says, and asks for nothing but pictures.

import { createFigures } from "./train_figures.js";
import { createLamps } from "./train_lamps.js";
import { LIVE, controlsOf, frameIndex, isResting } from "./train_reducer.js";
import { createSheet } from "./train_sheet.js";

const MOST_SILENCE = 30; // seconds

export function createWatch(lab) {
  const { $, element, t, dispatch } = lab;
  const sheet = createSheet($("#train-canvas"));
  const figures = createFigures(lab);
  const lamps = createLamps(lab);
  let beside = "reals";
  let shownFrame = null;

  // --- what is shown -------------------------------------------------------------------------

  function sync(before) {
    const state = lab.state();
    if (state.view !== "run") return;
    if (!before || state.watch !== before.watch || state.pending !== before.pending) {
      showHead(state);
      showNotice(state.watch);
      showBeside(state.watch);
      figures.sync(state.watch);
      lamps.sync(state.watch);
    }
    showFrame(state);
  }

  function showHead({ watch, pending }) {
    const pill = $("#train-state");
    element.querySelector(".watch").classList.toggle("is-waiting", !watch);
    if (!watch) return;
    const { state, mine, stopping } = watch;
    const asked = pending?.action === "publish" ? null : pending?.action;
    const wish = asked ?? (stopping ? "stop" : null);
    set(pill, wish ? t(`train.asked_${wish}`) : t(`train.state_${state}`));
    pill.dataset.state = state;
    const name = $("#train-name");
    if (document.activeElement !== name && name.value !== watch.name) name.value = watch.name;
    name.style.setProperty("--length", Math.max(6, [...watch.name].length + 1));
    name.readOnly = !mine;
    const offered = controlsOf(watch);
    for (const [action, isOffered] of Object.entries(offered)) {
      const button = $(`[data-train=${action}]`);
      button.hidden = !isOffered;
      button.disabled = isResting(action, { pending, watch });
    }
    $("#train-go-on").hidden = !offered["go-on"] || !lab.facts.enabled;
    $("#train-budget").hidden = !offered.change;
    const hasModel = watch.exports.length > 0 || watch.moments.length > 0;
    $("[data-train=explore]").disabled = !hasModel;
    $("[data-train=download-model]").hidden = !mine || !watch.exports.length;
    for (const what of ["download-run", "clone", "delete"])
      $(`[data-train=${what}]`).hidden = !mine;
    const canPublish = mine && watch.exports.length && state !== "training" && lab.facts.enabled;
    $(".train-menu [data-train=publish]").hidden = !canPublish;
    const share = watch.images ? Math.min(1, (watch.images_seen ?? 0) / watch.images) : 0;
    $("#train-bar").style.setProperty("--share", share);
    $("#train-bar").setAttribute("aria-valuenow", Math.round(100 * share));
    set($("#train-facts"), facts(watch));
    showJob(watch);
    showOrigin(watch);
  }

  /** What a fork goes back to, with a link where that run is the person's own. */
  function showOrigin({ forked_from: origin }) {
    const place = $("#train-origin");
    place.hidden = !origin;
    if (!origin) return;
    const { run, kind } = origin;
    const name = origin.name ?? t("train.fork_unknown");
    const values = { name: "\n", seen: number(origin.images_seen) };
    const told = t(`train.forked_from_${kind ?? "run"}`, values);
    const shown = JSON.stringify([told, name, run]);
    if (place.dataset.shown === shown) return;
    place.dataset.shown = shown;
    const [before, after] = told.split("\n");
    place.replaceChildren(before, run ? link(run, name) : name, after);
  }

  function link(run, name) {
    const made = Object.assign(document.createElement("a"), { textContent: name });
    made.href = lab.link(run);
    made.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      dispatch({ type: "select", run });
    });
    return made;
  }

  function showJob({ job, state }) {
    $("#train-job").hidden = !job;
    if (!job) return;
    const key = LIVE.includes(state) ? "line" : "over";
    set($("#train-job"), t(`train.rent_${key}`, { hardware: job.hardware, repo: job.repo }));
  }

  function facts(watch) {
    const { images_seen: seen, images, images_per_second: rate, seconds_left: left } = watch;
    const parts = [];
    if (images && seen)
      parts.push(t("train.seen_of", { seen: number(seen), images: number(images) }));
    if (watch.state === "training" && !seen) parts.push(t("train.preparing"));
    if (watch.place) parts.push(t("train.turn", { place: watch.place }));
    if (watch.state === "training" && left !== null)
      parts.push(t("train.left", { time: clock(left) }));
    if (watch.state === "training" && rate)
      parts.push(t("train.rate", { rate: Number(rate.toPrecision(3)) }));
    if (watch.silent > MOST_SILENCE) parts.push(t("train.silent", { seconds: watch.silent }));
    if (watch.resolution) parts.push(`${watch.resolution} px`);
    if (watch.finished) parts.push(t(`train.finished_${watch.finished}`));
    if (!watch.mine) parts.push(t("train.watching_only"));
    return parts.join(" · ");
  }

  function showNotice(watch) {
    const isBad = watch && ["dead", "failed"].includes(watch.state);
    const message = watch?.message;
    const job = watch?.job;
    const damaged = watch?.damaged ?? [];
    $("#train-notice").hidden = !isBad && !message && !damaged.length && !(job && watch.log);
    if ($("#train-notice").hidden) return;
    const dead = isBad ? t(job ? "train.rent_dead" : "train.dead_text") : "";
    const told = [message ? t(`error.${message.code}`, message.values ?? {}) : dead];
    if (damaged.length) told.push(t("train.damaged", { names: damaged.join(", ") }));
    const way = watch.checkpoints.length ? "train.resume_advice" : "train.resume_anew";
    if (isBad && watch.mine && !job) told.push(t(way));
    set($("#train-notice-text"), told.filter(Boolean).join(" "));
    $("#train-log-box").hidden = !watch.log;
    set($("#train-log"), watch.log ?? "");
  }

  function showFrame(state) {
    const { watch, frame, isPlaying } = state;
    const samples = watch?.samples ?? [];
    const at = frameIndex(state);
    const scrub = $("#train-scrub");
    scrub.max = Math.max(0, samples.length - 1);
    if (Number(scrub.value) !== at) scrub.value = Math.max(0, at);
    scrub.disabled = samples.length < 2;
    scrub.style.setProperty("--start", "0%");
    scrub.style.setProperty("--to", samples.length > 1 ? at / (samples.length - 1) : 0);
    scrub.setAttribute("aria-valuetext", samples.length ? at_text(samples[at]) : "");
    const play = $("[data-train=play]");
    play.disabled = samples.length < 2;
    play.setAttribute("aria-pressed", isPlaying);
    play.querySelector("use").setAttribute("href", isPlaying ? "#i-pause" : "#i-play");
    $("[data-train=newest]").disabled = frame === null;
    set($("#train-at"), samples.length ? at_text(samples[at]) : "");
    $("#train-waiting").hidden = samples.length > 0;
    const isOver = watch && !["queued", "training", "paused"].includes(watch.state);
    const { fetched: done, to_fetch: total } = watch ?? {};
    const waits = done ? t("train.hub_fetching", { done: number(done), total: number(total) }) : null;
    set($("#train-waiting"), isOver ? t("train.no_samples") : (waits ?? t("train.waiting")));
    const hasMoments = (watch?.moments.length ?? 0) > 0;
    $("[data-train=explore-moment]").hidden = !hasMoments;
    const canFork = hasMoments || watch?.checkpoints.length > 0;
    $("[data-train=fork]").hidden = !canFork || !watch.mine || !lab.facts.enabled;
    if (!samples.length) {
      if (shownFrame) sheet.clear();
      shownFrame = null;
      return;
    }
    const source = lab.file(`${digits(samples[at])}.png`);
    if (source !== shownFrame) {
      shownFrame = source;
      sheet.show(source).then(() => ($("#train-canvas").dataset.seen = samples[at]));
      $("#train-canvas").setAttribute(
        "aria-label",
        t("train.sheet_alt", { seen: number(samples[at]) }),
      );
    }
    if (isPlaying && at + 1 < samples.length)
      sheet.preload(lab.file(`${digits(samples[at + 1])}.png`));
  }

  const at_text = (seen) => t("train.at", { seen: number(seen) });

  /** The reals, the raw samples, the neighbours or the ways between samples, beside the timeline. */
  function showBeside(watch) {
    const pictures = watch?.pictures ?? [];
    const name = pictures.find((one) => one === beside || one.startsWith(`${beside}-`));
    const image = $("#train-beside");
    const measured = watch?.qualities.at(-1)?.[0] ?? 0; // the nearest change with evaluations only
    const version = beside === "neighbours" ? measured : "";
    const source = name ? `${lab.file(`${name}.png`)}${version && `?${version}`}` : "";
    if (image.dataset.source !== source) {
      image.dataset.source = source;
      if (source) replace(image, source);
      image.hidden = !source;
      image.alt = t(`train.${beside}`);
    }
    $("#train-beside-none").hidden = Boolean(source);
    set($("#train-beside-none"), t("train.nothing_yet"));
    set($("#train-beside-hint"), t(`train.${beside}_hint`));
  }

  async function replace(image, source) {
    const next = new Image();
    next.src = source;
    await next.decode().catch(() => {});
    if (image.dataset.source !== source) return;
    image.src = source;
    image.classList.toggle("crisp", next.naturalWidth <= 128);
  }

  // --- what is asked -------------------------------------------------------------------------

  $("#train-scrub").addEventListener("input", ({ target }) => {
    const samples = lab.state().watch?.samples ?? [];
    const to = samples[target.valueAsNumber]; // every dispatch sets the slider to the state's frame
    dispatch({ type: "play", on: false });
    dispatch({ type: "frame", to });
  });
  element.addEventListener("change", ({ target }) => {
    if (target.name !== "train-beside") return;
    beside = target.value;
    showBeside(lab.state().watch);
  });

  return { sync };
}

const digits = (seen) => String(seen).padStart(9, "0");
const number = (value) => Number(value).toLocaleString("en-US");

/** 3725 → "1:02:05", 65 → "1:05". */
export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, i) => (i ? String(part).padStart(2, "0") : part)).join(":");
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
