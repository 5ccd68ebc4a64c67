// What the buttons of the Train page do.

import { NEW_MODEL } from "./moments.js";
import { LIVE, changesOf, placesOf, requestOf } from "./train_reducer.js";

const ORDERS = ["pause", "resume", "save", "stop"];

/** `more`: deeds of other parts, by the name on their buttons. */
export function createTrainDeeds(lab, more) {
  const { $, element, t, dispatch, toast, token } = lab;
  const watched = () => lab.state().watch;

  const DEEDS = {
    start,
    ...Object.fromEntries(ORDERS.map((name) => [name, () => order(name)])),
    explore: () => explore(null),
    "explore-moment": () => explore(moment()),
    fork,
    clone,
    change,
    "go-on": goOn,
    link: async () => copied(await copy(lab.link(), "train.link"), "train.link_copied"),
    "copy-command": () => copyText($("#train-command")),
    "copy-run-command": () => copyText($("#train-run-command")),
    "download-model": () => download("model.safetensors"),
    "download-run": () => download("run.zip"),
    delete: remove,
    menu: () => showMenu($(".train-menu").hidden),
    project: () => project(true),
    leave: () => project(false),
    play: () => dispatch({ type: "play", on: !lab.state().isPlaying }),
    newest: () => dispatch({ type: "frame", to: Infinity }),
    "sheet-close": () => $("#train-sheet").close(),
    ...more,
  };

  // --- starting ------------------------------------------------------------------------------

  async function start() {
    const state = lab.state();
    const request = requestOf(state);
    if (!request || state.isStarting) return;
    const { fork: from } = state;
    dispatch({ type: "starting", on: true });
    try {
      const { run } = from
        ? await lab.call("fork", { token, run: from.run, images_seen: from.images_seen, request })
        : await lab.call("start", { token, request });
      dispatch({ type: "select", run });
    } finally {
      dispatch({ type: "starting", on: false });
    }
    lab.look();
  }

  async function clone() {
    const { request } = await lab.call("clone", { token, run: watched().id });
    dispatch({ type: "fill", request });
  }

  /** The form with this run's settings, to go on from the place nearest to the picture shown. */
  async function fork() {
    const { id: run, name, images } = watched();
    const places = placesOf(watched());
    const seen = lab.state().frame ?? Infinity;
    const { seen: images_seen } = places.findLast((one) => one.seen <= seen) ?? places[0];
    const { request } = await lab.call("clone", { token, run });
    dispatch({ type: "fill", request, fork: { run, name, images, places, images_seen } });
    $("#train-more").open = true;
    $("#train-fork").scrollIntoView({ block: "center" }); // the button was far down
  }

  // --- steering ------------------------------------------------------------------------------

  async function order(action) {
    dispatch({ type: "asked", action });
    await lab.call("act", { token, run: watched().id, action });
    lab.look();
  }

  async function change() {
    const images = $("#train-budget-images").valueAsNumber;
    const target_quality = $("#train-budget-target").valueAsNumber;
    const { id: run, state } = watched();
    const changes = changesOf(watched(), { images, target_quality });
    if (!changes) return;
    await lab.call("act", { token, run, action: "change", ...changes });
    toast(t(LIVE.includes(state) ? "train.changed" : "train.changed_later"));
    lab.look();
  }

  /** What is over trains for some minutes more. */
  async function goOn() {
    const input = $("#train-more-minutes");
    const minutes = input.valueAsNumber;
    if (!(minutes > 0)) return void input.focus();
    dispatch({ type: "asked", action: "go_on" });
    await lab.call("act", { token, run: watched().id, action: "go_on", minutes });
    lab.look();
  }

  async function rename(name) {
    if (!name.trim() || name === watched()?.name) return;
    await lab.call("act", { token, run: watched().id, action: "rename", name });
    lab.look();
  }

  async function remove() {
    const { id: run, name } = watched();
    await lab.call("act", { token, run, action: "delete" });
    dispatch({ type: "select", run: null });
    const undo = () => lab.attempt(() => lab.restore(run));
    toast(t("train.deleted", { name }), { action: undo, label: t("train.undelete") });
    lab.look();
  }

  // --- out of the page -----------------------------------------------------------------------

  /** The kept moment nearest to the picture that is shown. */
  function moment() {
    const { watch, frame } = lab.state();
    const seen = frame ?? Infinity;
    const { moments } = watch;
    return moments.findLast((one) => one <= seen) ?? moments[0];
  }

  /** Hands the generator to the Explore page, and goes there. */
  async function explore(seen) {
    const { id: run, mine } = watched();
    const asked = { run, images_seen: seen, ...(mine && { token }) }; // the owner's is saved first
    const detail = await lab.call("explore", asked);
    window.dispatchEvent(new CustomEvent(NEW_MODEL, { detail }));
    window.location.hash = "#explore";
  }

  /** A form that is sent, because a link can't carry the token without showing it. */
  function download(what) {
    const form = document.createElement("form");
    Object.assign(form, { method: "post", action: lab.file(what), hidden: true });
    form.append(Object.assign(document.createElement("input"), { name: "token", value: token }));
    document.body.append(form);
    form.submit();
    form.remove();
  }

  async function copyText(node) {
    copied(await copy(node.textContent, "train.command"), "train.copied");
  }

  /** To the clipboard, or, where the browser forbids that, into a sheet to copy from. */
  async function copy(text, title) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = $("#train-sheet textarea");
      $("#train-sheet .sheet-title").textContent = t(title);
      area.value = text;
      area.setAttribute("aria-label", t(title));
      $("#train-sheet").showModal();
      area.select();
      return false;
    }
  }

  function copied(isDone, key) {
    if (isDone) toast(t(key));
  }

  // --- the page itself -----------------------------------------------------------------------

  function showMenu(isOpen) {
    $(".train-menu").hidden = !isOpen;
    $("[data-train=menu]").setAttribute("aria-expanded", isOpen);
    if (isOpen) $(".train-menu").querySelector("button:not([hidden])")?.focus();
  }

  function project(on) {
    dispatch({ type: "project", on });
    if (on) document.documentElement.requestFullscreen?.().catch(() => {});
    else if (document.fullscreenElement) document.exitFullscreen();
  }

  function listen() {
    for (const button of element.querySelectorAll("[data-train]")) {
      const deed = DEEDS[button.dataset.train];
      if (!deed) continue;
      button.addEventListener("click", () => {
        if (button.closest(".train-menu")) showMenu(false);
        lab.attempt(deed);
      });
    }
    const name = $("#train-name");
    name.addEventListener("change", () => lab.attempt(() => rename(name.value)));
    name.addEventListener("keydown", ({ key }) => key === "Enter" && name.blur());
    document.addEventListener("pointerdown", (event) => {
      if (!event.target.closest?.(".watch-tools .menu")) showMenu(false);
    });
    document.addEventListener("keydown", ({ key }) => {
      if (key !== "Escape") return;
      showMenu(false);
      if (lab.state().isProjected) project(false);
    });
    document.addEventListener("fullscreenchange", () => {
      if (!document.fullscreenElement && lab.state().isProjected) project(false);
    });
  }

  return { listen };
}
