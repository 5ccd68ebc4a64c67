// What the buttons and keys do beyond moving the recipe: keep, copy, download, open.

import { randomSeed } from "./controls.js";
import { listenDrop } from "./dropping.js";
import { listenKeys } from "./keys.js";
import { createLooking } from "./looking.js";
import { fromJson } from "./recipe.js";
import { LONGEST_SHELF } from "./reducer.js";
import { isPicture } from "./sources.js";
import { base64 } from "./transport.js";

export function createDeeds(lab) {
  const { $, element, t, dispatch, settle, toast, stage } = lab;
  const looking = createLooking(lab);

  const DEEDS = {
    undo: (event) => dispatch({ type: "undo" }, event),
    redo: (event) => dispatch({ type: "redo" }, event),
    reset: (event) => dispatch({ type: "reset" }, event),
    surprise,
    keep,
    pixels: () => stage.setView({ crisp: !stage.setView({}).crisp }),
    meter: () => stage.setView({ meter: !stage.setView({}).meter }),
    full: looking.toggleFull,
    "full-leave": looking.toggleFull,
    beside: () => lab.beside.toggle(),
    "beside-close": () => lab.beside.toggle(),
    link,
    python,
    "download-menu": () => showMenu($(".menu-list").hidden),
    download,
    open: () => $("#lab-file").click(),
    "sheet-close": () => $("#lab-sheet").close(),
  };

  const KEYS = {
    undo: DEEDS.undo,
    redo: DEEDS.redo,
    z: DEEDS.undo,
    r: (event) => dispatchSeed(randomSeed(), event),
    s: surprise,
    k: () => attempt(keep),
    p: DEEDS.pixels,
    f: looking.toggleFull,
    c: DEEDS.beside,
    arrowleft: (event) => dispatchSeed(lab.state().recipe.seed - 1, event),
    arrowright: (event) => dispatchSeed(lab.state().recipe.seed + 1, event),
    arrowup: (event) => nudgePsi(0.05, event),
    arrowdown: (event) => nudgePsi(-0.05, event),
    escape() {
      showMenu(false);
      looking.leaveFull();
    },
  };

  function surprise(event) {
    const numbers = Array.from({ length: 9 }, Math.random);
    dispatch({ type: "surprise", numbers, directions: lab.directions() }, event);
  }

  /** Onto the shelf, with a thumbnail of the very picture. */
  async function keep() {
    settle();
    const recipe = lab.state().settled;
    const thumbnail = await stage.thumbnailOf(recipe);
    const id = crypto.randomUUID?.() ?? String(Math.random());
    dispatch({ type: "keep", id, recipe, thumbnail });
    if (!lab.state().forgotten) return;
    const undo = { action: () => dispatch({ type: "restore" }), label: t("explore.undo_forget") };
    toast(t("explore.shelf_full", { count: LONGEST_SHELF }), undo);
  }

  function dispatchSeed(seed, event) {
    dispatch({ type: "change", patch: { seed } }, event);
    settleAfterKeys(event);
  }

  function nudgePsi(by, event) {
    dispatch({ type: "change", patch: { psi: lab.state().recipe.psi + by } }, event);
    settleAfterKeys(event);
  }

  /** A key that is held repeats: previews while it does, exact when it is let go. */
  function settleAfterKeys(event) {
    if (event.repeat) return;
    const done = () => settle();
    window.addEventListener("keyup", done, { once: true });
  }

  // --- out of the page -----------------------------------------------------------------------

  async function link() {
    const text = lab.link();
    const note = t(`explore.link_opens_${lab.linkOpens(text)}`);
    await copy(text, { title: "explore.link_title", copied: "explore.link_copied", note });
  }

  async function python() {
    const { code, runs } = await lab.call("snippet", { recipe: recipeJson() });
    const note = t(`explore.python_runs_${runs}`);
    await copy(code, { title: "explore.python_title", copied: "explore.python_copied", note });
  }

  /** To the clipboard, or, where the browser forbids that, into a sheet to copy from; `note` says
   * what it is good for. */
  async function copy(text, { title, copied, note }) {
    try {
      await navigator.clipboard.writeText(text);
      toast(t(copied, { note }));
    } catch {
      showSheet(text, t(title), note);
    }
  }

  function showSheet(text, title, note) {
    const area = $("#lab-sheet textarea");
    $(".sheet-title").textContent = title;
    $(".sheet-note").textContent = note;
    area.value = text;
    area.setAttribute("aria-label", title);
    $("#lab-sheet").showModal();
    area.select();
  }

  async function download(event) {
    showMenu(false);
    const scale = Number(event.currentTarget.dataset.scale);
    const { filename, data } = await lab.call("export", { recipe: recipeJson(), scale });
    const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
    const url = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
    Object.assign(document.createElement("a"), { href: url, download: filename }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  function recipeJson() {
    settle();
    return lab.settledJson();
  }

  function showMenu(isOpen) {
    const list = $(".menu-list");
    if (!isOpen && list.contains(document.activeElement)) $("[data-do=download-menu]").focus();
    list.hidden = !isOpen;
    $("[data-do=download-menu]").setAttribute("aria-expanded", isOpen);
    for (const item of list.children) {
      const { scale } = item.dataset;
      const side = (lab.model()?.resolution ?? 0) * Number(scale);
      item.textContent = t("explore.download_scale", { scale, side });
      item.disabled = scale !== "1" && side > lab.mostPixels;
      item.title = item.disabled ? t("explore.download_too_large", { most: lab.mostPixels }) : "";
    }
    if (isOpen) list.firstElementChild.focus();
  }

  // --- into the page -------------------------------------------------------------------------

  async function readFile(file) {
    if (!file) return;
    if (!isPicture(file)) return void (await lab.models.openFile(file));
    const head = file.slice(0, lab.recipeWithin); // a picture may be large; its recipe comes first
    const data = base64(new Uint8Array(await head.arrayBuffer()));
    const { recipe } = await lab.call("read", { data });
    await lab.open(fromJson(recipe));
    toast(t("explore.opened", { name: file.name }));
  }

  /** Runs something that may be refused; the person reads why. */
  async function attempt(deed) {
    try {
      await deed();
    } catch (error) {
      lab.complain(error);
    }
  }

  function listen() {
    for (const button of element.querySelectorAll("[data-do]")) {
      const deed = DEEDS[button.dataset.do];
      if (deed) button.addEventListener("click", (event) => attempt(() => deed(event)));
    }
    listenKeys($("#lab-picture"), () => lab.isShown() && lab.state() !== null, KEYS);
    document.addEventListener("pointerdown", (event) => {
      if (!event.target.closest?.(".menu")) showMenu(false);
    });
    looking.listen();
    const take = (file) => attempt(() => readFile(file));
    listenDrop({ cover: $("#lab-drop"), isShown: lab.isShown, take });
    $("#lab-file").addEventListener("change", (event) => {
      take(event.target.files[0]).then(() => (event.target.value = ""));
    });
  }

  return { listen };
}
