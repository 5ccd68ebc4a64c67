// Models: the dialog in which one is found and opened, and the offer to open the one that a recipe
// needs. What is open belongs to the reducer's state; what is on its way, to this file.

import { make } from "./dom.js";
import { Refused } from "./messages.js";
import { createModelList } from "./model_list.js";
import { NEW_MODEL, TOKEN_KEY, factsOf } from "./moments.js";
import { keyOf, modelOf } from "./reducer.js";
import { sendFile } from "./sending.js";
import { hubSource, isModelOf, ownOf, portableName, recentPath, sizeText } from "./sources.js";

const ASK_AGAIN = 400; // milliseconds between two looks at an opening
const LEARN_AGAIN = 2000;
const QUICK_SIDE = 128; // pixels: what is so small is drawn in milliseconds
const MEGABYTE = 2 ** 20;
const HUB = "https://huggingface.co";
// Refusals that a person's own token may answer.
const LENDABLE = ["hub_no_repo", "hub_gated", "hub_bad_token", "hub_token_refused", "hub_token_form"];

// Refusals of a recipe whose model could be opened.
export const NOT_HERE = ["model_not_open", "unknown_model"];

export function createModels(lab) {
  const { $, t, dispatch } = lab;
  const { memory } = window.LatentLab;
  const known = () => lab.state()?.models ?? {};
  const dialog = $("#lab-models");
  const card = $("#lab-found");
  let picker = null; // the server's answer
  let found = null; // what the card shows: {kind, name, title, …}
  let wanted = null; // the recipe that waits for its model
  let opening = null; // {id, source, sending?: stops the upload}
  let shown = null; // {opening, stage, bar, state}: the nodes that say how far it is
  let isLeaving = false; // for a training's generator
  let asked = null; // {name, revision} of the newest question
  let token = ""; // the person's own for the Hub: for what the card shows, never stored
  let learning = ""; // the key of the model whose cost is being asked for
  let lastAsked = 0; // of several questions the newest counts

  const list = createModelList(lab, dialog, {
    pick(model, event) {
      dispatch({ type: "model", model: model.name, revision: revisionOf(model) }, event);
      close();
    },
    openRun,
    again,
    lookUp(name) {
      wanted = null;
      lookUp(name);
    },
  });

  // --- the dialog ----------------------------------------------------------------------------

  async function show() {
    if (!dialog.open) dialog.showModal();
    const hasKeys = window.matchMedia("(hover: hover)").matches; // else a keyboard would rise
    (hasKeys ? $("#lab-find-name") : dialog.querySelector("h2")).focus();
    translate();
    list.learnRuns();
    try {
      picker = await lab.call("picker", {});
      dispatch({ type: "models", models: picker.models });
    } catch (error) {
      complain(error);
    }
    translate();
  }

  /** Everything but the card, from what is known. */
  function translate() {
    const name = $("#lab-find-name");
    name.placeholder = t(picker?.allowed.paths ? "models.name_or_path" : "models.name_hint");
    name.setAttribute("aria-label", name.placeholder);
    const megabytes = picker?.allowed.upload_megabytes;
    $(".models-file").hidden = megabytes === 0;
    $(".models-file-text").textContent = megabytes ? t("models.file_hint", { megabytes }) : "";
    list.show(picker);
  }

  function close() {
    dialog.close();
    if (!opening) forget();
  }

  function forget() {
    [found, wanted, token] = [null, null, ""];
    list.settle();
    card.hidden = true;
    card.replaceChildren();
  }

  /** Shows the newest generator of a training, as the Train page does. */
  async function openRun(run) {
    if (opening || isLeaving) return;
    isLeaving = true;
    try {
      const detail = await lab.call("explore", { run, token: memory.get(TOKEN_KEY) });
      window.dispatchEvent(new CustomEvent(NEW_MODEL, { detail }));
      close();
    } catch (error) {
      complain(error);
    } finally {
      isLeaving = false;
    }
  }

  // --- the card: what was found, how far it is -----------------------------------------------

  /** Asks what a name means, and shows it; nothing large is fetched. `lent` is the person's token,
   * for this name only. → was it found? */
  async function lookUp(name, revision = "", lent = "") {
    const number = ++lastAsked;
    [found, token, asked] = [null, lent, { name, revision }];
    say([make("p", "found-state", t("models.looking"))]);
    try {
      const answer = await lab.call("look", { ...asked, token });
      if (number !== lastAsked) return false;
      found = answer.found;
      showFound();
      return true;
    } catch (error) {
      if (number === lastAsked) refused(error);
      return false;
    }
  }

  function showFound(failure = null) {
    const rows = [make("p", "found-title", found.title)];
    const isFor = wanted && [portableName(wanted.model), wantedPath()].includes(asked.name);
    if (isFor) rows.unshift(make("p", "hint", t("models.wanted")));
    if (found.kind === "hub") rows.push(hubFacts());
    if (failure) rows.push(make("p", "found-error", words(failure)));
    if (found.too_large) {
      rows.push(make("p", "found-error", t("models.too_large", { most: found.most_megabytes })));
    } else {
      rows.push(openButton(failure));
    }
    if (failure) rows.push(...tokenForm(failure));
    say(rows);
  }

  /** Where a token may help: the question, or the download, again with the person's own. */
  function tokenForm({ code }) {
    if (!LENDABLE.includes(code) || !picker?.allowed.tokens) return [];
    const form = make("form", "find token");
    const input = make("input");
    Object.assign(input, { type: "password", autocomplete: "off", maxLength: 4000 });
    input.setAttribute("aria-label", t("models.token"));
    input.placeholder = t("models.token");
    const button = make("button", "keep", t("models.token_use"));
    form.append(input, button);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const lent = input.value.trim();
      if (!lent || opening) return;
      if (!found) return void lookUp(asked.name, asked.revision, lent);
      token = lent;
      open(found);
    });
    return [form, make("p", "hint", t("models.token_text"))];
  }

  function hubFacts() {
    const facts = make("dl", "found-facts");
    const add = (key, value) => facts.append(make("dt", "", t(key)), asNode("dd", value));
    add("models.file", found.others.length ? fileSelect() : found.file);
    add("models.size", found.size === null ? t("models.unknown") : sizeText(found.size));
    add("models.licence", found.licence || t("models.licence_look"));
    add("models.page", pageLink(found.title));
    add("models.revision", found.commit.slice(0, 12));
    if (found.cached) add("models.cache", t("models.cached"));
    if (found.private) add("models.access", t(token ? "models.token_used" : "models.private"));
    return facts;
  }

  function pageLink(repo) {
    const link = make("a", "", `huggingface.co/${repo}`);
    return Object.assign(link, { href: `${HUB}/${repo}`, target: "_blank", rel: "noopener" });
  }

  function fileSelect() {
    const box = make("span", "select");
    const select = make("select");
    select.setAttribute("aria-label", t("models.file"));
    select.append(...[found.file, ...found.others].map((file) => new Option(file, file)));
    const { title, commit } = found;
    select.addEventListener("change", () => {
      lookUp(`${title}@${commit}:${select.value}`, "", token);
    });
    box.append(select);
    box.insertAdjacentHTML("beforeend", '<svg class="icon"><use href="#i-down"/></svg>');
    return box;
  }

  function openButton(failure) {
    const isLarge = found.kind === "hub" && !found.cached && found.size !== null;
    const size = isLarge ? sizeText(found.size) : "";
    const key = failure ? "models.retry" : isLarge ? "models.open_size" : "models.open";
    const button = make("button", "keep", t(key, { size }));
    button.type = "button";
    button.addEventListener("click", () => open(found));
    return button;
  }

  /** Begins to open a source, follows it to its end, then shows its picture. */
  async function open(source) {
    if (opening) return;
    const mine = { id: null, source };
    opening = mine;
    try {
      progress({ stage: "waiting", here: 0, size: null });
      const { kind, name, label } = source;
      const recipe = lab.pictureJson(wanted);
      const lent = kind === "hub" ? { token } : {};
      mine.id = (await lab.call("open_model", { kind, name, label, recipe, ...lent })).id;
      if (opening === mine) await follow(mine);
      else giveBack(mine);
    } catch (error) {
      if (opening === mine) refused(error);
    } finally {
      if (opening === mine) opening = null;
    }
  }

  /** Asks how far it is until it has ended, or this person has stopped it. */
  async function follow(mine) {
    for (;;) {
      const told = await lab.call("opening", { id: mine.id });
      if (opening !== mine) return;
      if (told.stage === "done") return arrived(told.model, mine.source);
      if (told.stage === "failed") throw new Refused(told.failure);
      if (told.stage === "stopped") return stopped();
      progress(told);
      await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN));
      if (opening !== mine) return;
    }
  }

  /** Says how far it is. The nodes of a stage stay: a button that is replaced can't be pressed. */
  function progress({ stage, here, size, seconds, model }) {
    const share = ["downloading", "uploading"].includes(stage) && size ? here / size : null;
    const values = { here: sizeText(here), size: size ? sizeText(size) : "?", seconds };
    if (seconds !== undefined) values.seconds = Math.round(seconds);
    const isLaid = shown?.opening === opening && shown.stage === stage && shown.bar.isConnected;
    if (!isLaid) layProgress(stage, model);
    const words = t(`models.stage_${stage}`, values);
    shown.state.textContent = words;
    shown.bar.setAttribute("aria-label", words);
    shown.bar.classList.toggle("is-endless", share === null);
    if (share === null) return;
    shown.bar.setAttribute("aria-valuenow", Math.round(100 * share));
    shown.bar.style.setProperty("--share", share);
  }

  function layProgress(stage, model) {
    const bar = make("div", "bar");
    bar.setAttribute("role", "progressbar");
    const rows = [make("p", "found-title", opening.source.title ?? opening.source.label), bar];
    if (model) rows.push(make("p", "hint", lab.longFacts(model)));
    const foot = make("p", "found-foot");
    const state = make("span", "found-state");
    foot.append(state);
    if (stage !== "measuring") foot.append(stopButton());
    shown = { opening, stage, bar, state };
    say([...rows, foot]);
  }

  function stopButton() {
    const stop = make("button", "text-button", t("models.stop"));
    stop.type = "button";
    stop.addEventListener("click", () => {
      if (!opening) return;
      const mine = opening;
      opening = null; // others may still wait for it: this page no longer does
      mine.sending?.abort();
      if (mine.id) giveBack(mine);
      stopped();
    });
    return stop;
  }

  function giveBack({ id }) {
    lab.call("stop_opening", { id }).catch(complain);
  }

  function stopped() {
    if (found) showFound();
    else if (wanted) askFor(wanted);
    else forget();
  }

  function arrived(model, source) {
    remember(model, source);
    dispatch({ type: "known", model });
    const recipe = wanted;
    forget();
    if (recipe && isModelOf(recipe, model)) {
      const { name, revision } = model;
      dispatch({ type: "open", recipe: { ...recipe, model: name, revision } });
    } else {
      if (recipe) lab.toast(t("models.another"), { isError: true });
      dispatch({ type: "model", model: model.name, revision: model.revision });
    }
    if (dialog.open) dialog.close();
    lab.toast(t("models.opened", { title: lab.titleOf(model), facts: lab.longFacts(model) }));
  }

  // --- files ---------------------------------------------------------------------------------

  /** Opens a model file that was dropped or chosen. */
  async function openFile(file) {
    if (opening) return;
    if (!dialog.open || !picker) await show();
    if (!picker) return; // which has been complained of
    found = null; // what was looked at before has nothing to do with this file
    const most = picker.allowed.upload_megabytes;
    if (file.size > most * MEGABYTE) {
      return void refused(new Refused({ code: "upload_too_large", values: { most } }));
    }
    const source = { kind: "file", label: file.name, title: file.name };
    const sending = new AbortController();
    const mine = { id: null, source, sending };
    opening = mine;
    const told = (here) => {
      if (opening === mine) progress({ stage: "uploading", here, size: file.size });
    };
    told(0);
    try {
      source.name = await sendFile(file, picker.allowed.uploads, {
        progress: told,
        signal: sending.signal,
      });
    } catch (error) {
      if (opening !== mine) return; // stopped
      opening = null;
      console.info("Latent Lab:", error);
      say([make("p", "found-error", t("models.upload_failed", { name: file.name }))]);
      return;
    }
    if (opening !== mine) return;
    opening = null;
    await open(source);
  }

  // --- recipes whose model isn't here ----------------------------------------------------------

  /** Opens a recipe; where its model isn't known here, asks for it, and else offers to open it. */
  async function openRecipe(recipe, event) {
    const here = modelOf(known(), recipe);
    const own = ownOf(known(), recipe);
    const isSure = here && (!recipe.model.includes("/") || here.revision === recipe.revision);
    if (own) return void dispatch({ type: "open", recipe: { ...recipe, model: own.name } }, event);
    if (isSure) return void dispatch({ type: "open", recipe }, event);
    try {
      dispatch({ type: "known", model: await factsOf(lab, recipe) });
      dispatch({ type: "open", recipe }, event);
    } catch (error) {
      if (NOT_HERE.includes(error.code)) await offer(recipe);
      else lab.complain(error);
    }
  }

  /** Offers to open the model that a recipe names; what is in the cache is opened at once. One
   * that came from a path is found again where this person opened it, or else asked for. */
  async function offer(recipe) {
    if (opening || (wanted && dialog.open)) return;
    await show();
    wanted = recipe;
    if (!recipe.model.includes("/")) {
      const path = picker?.allowed.paths && wantedPath();
      if (path && (await lookUp(path))) return;
      return askFor(recipe);
    }
    if (!(await lookUp(portableName(recipe.model), recipe.revision ?? ""))) return;
    if (found.kind === "hub" && isNear(found) && wanted === recipe) await open(found);
  }

  /** Says which model a recipe waits for: its file, or its path, is this person's to give. */
  function askFor({ model: name, revision }) {
    const values = { name: portableName(name), revision: revision || "?" };
    say([make("p", "found-error", t("models.name_it", values))]);
  }

  /** Is it on the server's disk? Else its size and licence are read before it is downloaded. */
  const isNear = ({ kind, cached }) => kind !== "hub" || cached;

  /** The path at which this person opened the model that the recipe waits for. */
  function wantedPath() {
    return wanted && recentPath(list.recent(), wanted)?.name;
  }

  async function again(item) {
    wanted = null;
    const key = keyOf({ name: item.model, revision: item.revision });
    if (!known()[key]) {
      try {
        const asked = { model: item.model, revision: item.revision };
        dispatch({ type: "known", model: (await lab.call("facts", asked)).model });
      } catch {
        if (item.kind === "file") return void lookUp(item.model, item.revision);
        if ((await lookUp(item.name)) && isNear(found)) await open(found);
        return;
      }
    }
    dispatch({ type: "model", model: item.model, revision: item.revision });
    close();
  }

  function remember(model, { kind, name }) {
    const item = { kind, name: kind === "file" ? "" : name, title: lab.titleOf(model) };
    Object.assign(item, { model: model.name, revision: model.revision });
    list.remember({ ...item, detail: lab.shortFacts(model) });
  }

  /** Asks what a large model's pictures cost, until that has been measured. */
  async function learn(model) {
    if (!model || model.cost || model.resolution <= QUICK_SIDE) return;
    const key = keyOf(model);
    if (learning === key) return;
    learning = key;
    try {
      while (lab.model() && keyOf(lab.model()) === key) {
        const asked = { model: model.name, revision: model.revision };
        const { model: told } = await lab.call("facts", asked);
        if (told.cost) return void dispatch({ type: "known", model: told });
        await new Promise((resolve) => setTimeout(resolve, LEARN_AGAIN));
      }
    } catch (error) {
      console.info("Latent Lab:", error);
    } finally {
      learning = "";
    }
  }

  // --- words -----------------------------------------------------------------------------------

  function refused(error) {
    if (!error.code) lab.complain(error);
    if (found && error.code) showFound(error);
    else say([make("p", "found-error", words(error)), ...tokenForm(error)]);
  }

  function words(error) {
    const key = `error.${error.code}`;
    const text = t(key, error.values ?? {});
    return error.code && text !== key ? text : t("explore.offline");
  }

  function complain(error) {
    lab.complain(error);
  }

  function say(nodes) {
    const hadFocus = card.contains(document.activeElement);
    card.hidden = false;
    card.replaceChildren(...nodes);
    if (hadFocus) card.querySelector("button, select")?.focus();
  }

  function listen() {
    $("[data-do=models]").addEventListener("click", show);
    $("[data-models=first]").addEventListener("click", show);
    $("[data-models=close]").addEventListener("click", close);
    dialog.addEventListener("close", () => {
      if (!opening) forget();
    });
    $("#lab-find").addEventListener("submit", (event) => {
      event.preventDefault();
      const name = $("#lab-find-name").value.trim();
      if (wanted?.model.includes("/")) wanted = null; // else its path was asked for
      if (name && !opening) lookUp(name);
    });
    $("[data-models=file]").addEventListener("click", () => $("#lab-model-file").click());
    $("#lab-model-file").addEventListener("change", (event) => {
      const [file] = event.target.files;
      event.target.value = "";
      if (file) openFile(file);
    });
  }

  return { listen, show, openFile, openRecipe, offer, learn, translate };
}

/** A model that everybody finds by its name needs no revision in its recipes; others do. */
function revisionOf(model) {
  return model.is_named ? "" : model.revision;
}

function asNode(tag, value) {
  const node = make(tag);
  node.append(value);
  return node;
}
