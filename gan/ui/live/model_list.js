// The lists in the dialog of models: what is open, this browser's trainings, what it opened lately,
// and the catalogue. What a press does is the dialog's (models.js).

import { betweenPresses, keepingFocus, make } from "./dom.js";
import { TOKEN_KEY } from "./moments.js";
import { keyOf } from "./reducer.js";
import { familyName, recentFromText, withRecent, withRecentAt, withoutRecent } from "./sources.js";

const RECENT_KEY = "latent-lab.models.v1";

/** `deeds`: {pick(model, event), openRun(run), again(item), lookUp(name)}. */
export function createModelList(lab, dialog, deeds) {
  const { $, t } = lab;
  const { memory } = window.LatentLab;
  const betweenClicks = betweenPresses(dialog);
  let picker = null; // as it was told last
  let runs = []; // this browser's trainings that draw: {run, name}
  let forgotten = null; // {item, index}: taken off the recent ones, until the dialog closes

  /** Writes all of it anew. `told`: what the server says can be opened; null while it hasn't. */
  function show(told) {
    picker = told;
    rewrite();
  }

  /** Under a hand and a keyboard that are somewhere in it. */
  function rewrite() {
    betweenClicks(() => keepingFocus(dialog, write));
  }

  function write() {
    const isOwn = (model) => runs.some(({ run }) => run === model.run);
    fill($("#lab-models-here"), Object.values(known()).filter((one) => !isOwn(one)).map(openModel));
    fill($("#lab-models-runs"), runs.map(ownRun)); // a group of their own
    fill($("#lab-models-recent"), recent().filter(isNew).map(recentModel));
    writeForgotten();
    const groups = Map.groupBy(picker?.catalogue ?? [], (entry) => entry.group);
    $("#lab-catalogue").replaceChildren(...[...groups].map(group));
    const absent = picker && (!picker.online || !picker.allowed.hub);
    $("#lab-absent").hidden = !absent;
    if (absent) $("#lab-absent").textContent = t(absentReason());
  }

  const known = () => lab.state()?.models ?? {};
  const absentReason = () => (picker.allowed.hub ? "models.absent" : "error.hub_off");
  const isNew = (item) => !known()[keyOf({ name: item.model, revision: item.revision })];

  function fill(place, items) {
    place.replaceChildren(...items);
    place.parentElement.hidden = !items.length;
  }

  function openModel(model) {
    const entry = choice({
      title: lab.titleOf(model),
      detail: lab.shortFacts(model),
      chosen: (event) => deeds.pick(model, event),
    });
    entry.setAttribute("aria-current", model === lab.model());
    return entry;
  }

  /** The trainings of this browser, as the Train page knows them. */
  async function learnRuns() {
    const own = memory.get(TOKEN_KEY);
    if (!own) return;
    try {
      ({ runs } = await lab.call("own_runs", { token: own }));
      rewrite();
    } catch (error) {
      console.info("Latent Lab:", error);
    }
  }

  function ownRun({ run, name }) {
    const detail = t("models.run_detail");
    const entry = choice({ title: name, detail, chosen: () => deeds.openRun(run) });
    entry.setAttribute("aria-current", run === lab.model()?.run);
    return entry;
  }

  function recentModel(item) {
    const { title, detail } = item;
    const entry = make("div", "recent");
    const remove = make("button", "forget");
    remove.type = "button";
    remove.title = t("models.forget");
    remove.setAttribute("aria-label", `${remove.title}: ${title}`);
    remove.innerHTML = '<svg class="icon"><use href="#i-close"/></svg>';
    remove.addEventListener("click", () => {
      const { list: others, index } = withoutRecent(recent(), item);
      store(others);
      forgotten = { item, index };
      write();
      $("#lab-models-forgotten button").focus();
    });
    entry.append(choice({ title, detail, chosen: () => deeds.again(item) }), remove);
    return entry;
  }

  /** What was taken off the list last, with the way back. */
  function writeForgotten() {
    const place = $("#lab-models-forgotten");
    place.hidden = !forgotten;
    if (!forgotten) return void place.replaceChildren();
    place.parentElement.hidden = false;
    const undo = make("button", "text-button", t("models.undo_forget"));
    undo.type = "button";
    undo.addEventListener("click", () => {
      store(withRecentAt(recent(), forgotten.item, forgotten.index));
      forgotten = null;
      write();
      $("#lab-models-recent .model")?.focus();
    });
    place.replaceChildren(t("models.forgotten", { title: forgotten.item.title }), undo);
  }

  function group([name, entries]) {
    const section = make("section", "models-group");
    const grid = make("div", "model-list");
    grid.append(...entries.map(entryOf));
    section.append(make("h3", "", t(`models.group_${name}`)), grid);
    return section;
  }

  function entryOf(entry) {
    const { language } = document.documentElement.dataset;
    const parts = [familyName(entry.family)];
    if (entry.resolution) parts.push(`${entry.resolution} px`);
    if (entry.megabytes) parts.push(`${entry.megabytes} MB`);
    const button = choice({
      title: entry.draws[language] ?? entry.draws.en,
      detail: parts.join(" · "),
      note: entry.repo,
      licence: entry.licence || t("models.licence_look"),
      chosen: () => deeds.lookUp(entry.name),
    });
    button.disabled = Boolean(entry.reason);
    if (entry.reason) button.title = t(entry.reason);
    return button;
  }

  function choice({ title, detail, note, licence, chosen }) {
    const button = make("button", "model");
    button.type = "button";
    button.append(make("span", "model-title", title), make("span", "model-detail", detail));
    if (note) button.append(make("span", "model-note", note));
    if (licence) button.append(make("span", "model-detail", licence));
    button.addEventListener("click", chosen);
    return button;
  }

  function recent() {
    return recentFromText(memory.get(RECENT_KEY));
  }

  function store(items) {
    memory.set(RECENT_KEY, JSON.stringify(items));
  }

  return {
    show,
    learnRuns,
    recent,
    /** {kind, name, title, model, revision, detail} becomes the newest of the recent ones. */
    remember: (item) => store(withRecent(recent(), item)),
    /** What was taken off can't be brought back any more. */
    settle: () => (forgotten = null),
  };
}
