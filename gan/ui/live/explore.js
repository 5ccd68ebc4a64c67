// The Explore page: owns the state, and puts everything else around it. The only one that reduces.
// Entry: startExplore({element, server, props}), called by the component when it is on the page.

import { createAsides } from "./asides.js";
import { createBeside } from "./beside.js";
import { createControls } from "./controls.js";
import { createDeeds } from "./deeds.js";
import { besideFrom, opensIn, placeOf, sendToParent, shareLink, withRecipe } from "./links.js";
import { Refused, createMessages } from "./messages.js";
import { NOT_HERE, createModels } from "./models.js";
import { NEW_MODEL, createMoments } from "./moments.js";
import { fromQuery, hasRecipe, same, toJson, toQuery } from "./recipe.js";
import {
  besideOf,
  initialState,
  modelOf,
  reduce,
  shelfFromText,
  shelfToText,
  stamped,
} from "./reducer.js";
import { createRows } from "./rows.js";
import { createShelf } from "./shelf.js";
import { portable, portableName } from "./sources.js";
import { createStage } from "./stage.js";
import { createTransport, socketAddress } from "./transport.js";

const SHELF_KEY = "latent-lab.shelf.v1";
const LIVE = ["change", "edit"]; // actions that more of the same may follow, until the hand lets go
const ADDRESS_DELAY = 250; // milliseconds: browsers allow few changes of the address a second

export function startExplore({ element, server, props }) {
  const { t, translate, memory, onLanguage } = window.LatentLab;
  const { models: known, space, socket } = props.start;
  const $ = (selector) => element.querySelector(selector);
  let state = null; // until there is a model
  let initial = props.start.recipe;
  let addressTimer = 0;

  translate(element);
  const { toast, complain, words } = createMessages($("#lab-toasts"), t);
  const transport = createTransport({ ask: (json) => server.draw(json), connect });

  /** What the parts of the page know of each other. */
  const lab = {
    ...{ mostPixels: props.start.most_pixels, recipeWithin: props.start.recipe_within },
    element,
    $,
    t,
    translate,
    toast,
    complain,
    words,
    dispatch,
    settle,
    call,
    state: () => state,
    isShown: () => document.documentElement.dataset.page === "explore",
    model: () => state && modelOf(state.models, state.recipe),
    stamped: (recipe) => stamped(state.models, recipe),
    costOf: (recipe) => modelOf(state.models, recipe)?.cost,
    open: (recipe, event) => models.openRecipe(recipe, event),
    pictureJson: (recipe) => (recipe || state ? toJson(recipe ?? state.settled) : null),
    titleOf: (model) => controls.modelTitle(model, model.name),
    shortFacts: (model) => controls.shortFacts(model),
    longFacts: (model) => controls.longFacts(model),
    settledJson: () => toJson(state.settled),
    link: () => shareLink(placeOf(window, space), portable(lab.stamped(state.settled)), besideForAll()),
    linkOpens: (link) => opensIn(link, [lab.model(), besideOf(state)]),
    describe: (recipe, model) => controls.description(recipe, model),
    directions: () => rows.names(),
  };
  const stage = createStage(lab, transport, refused);
  lab.stage = stage;
  lab.beside = createBeside(lab, createTransport({ ask: (json) => server.draw(json), connect }));
  lab.aside = createAsides({
    isBusy: () => stage.isBusy() || lab.beside.isBusy(),
    fail: (error) => error instanceof Refused && complain(error),
  });
  const controls = createControls(lab);
  const rows = createRows(lab);
  const shelf = createShelf(lab);
  const models = createModels(lab);
  lab.models = models;
  const showModel = (detail) => window.dispatchEvent(new CustomEvent(NEW_MODEL, { detail }));
  const moments = createMoments(lab, {
    box: $("#lab-moments"),
    model: lab.model,
    chosen: showModel,
  });
  const deeds = createDeeds(lab);
  start();

  function start() {
    const link = linked();
    const isHere = link && known.length && modelOf(initialState(initial, known).models, link);
    const isSure = isHere && (!link.model.includes("/") || isHere.revision === link.revision);
    if (known.length) begin(known, isSure ? link : initial);
    else showEmpty(true);
    deeds.listen();
    models.listen();
    const beside = linkedBeside();
    const opening = link && !isSure ? models.openRecipe(link) : Promise.resolve();
    if (beside) opening.then(() => state && lab.beside.open(beside));
    onLanguage(() => {
      models.translate();
      if (!state) return;
      controls.translate();
      rows.translate();
      shelf.sync();
      lab.beside.translate();
      $("#lab-canvas").setAttribute("aria-label", controls.description(state.recipe));
    });
    window.addEventListener(NEW_MODEL, receive);
    window.addEventListener("storage", (event) => {
      if (event.key !== SHELF_KEY) return;
      dispatch({ type: "shelf", shelf: shelfFromText(event.newValue) });
    });
  }

  /** The first picture: that of the page, of a link, or of the first model that came. */
  function begin(models, recipe) {
    initial ??= recipe;
    state = initialState(recipe, models, shelfFromText(memory.get(SHELF_KEY)));
    stage.setView({});
    update(null);
    if (props.first && same(state.recipe, initialState(initial, models).recipe)) {
      stage.showFirst(props.first);
    } else {
      $(".first").hidden = true;
      stage.ask("exact");
    }
    transport.open();
    rows.load();
  }

  /** Without a model there is nothing to steer; the dialog can open one. */
  function showEmpty(isEmpty) {
    $("#lab").dataset.state = isEmpty ? "empty" : "waiting";
    $(".empty").hidden = !isEmpty;
    for (const part of [$(".panel"), $(".plate")]) part.inert = isEmpty;
  }

  /** Nothing is here yet: the first model that comes is what the page begins with. */
  function beginWith({ type, model, models: all }) {
    const first = type === "known" ? model : type === "models" ? all[0] : null;
    if (!first) return;
    showEmpty(false);
    begin([first], { model: first.name, revision: first.is_named ? "" : first.revision });
  }

  /** The Train page hands over a generator: another one, or a newer one of the same training. Seed,
   * truncation and edits stay then, so that moments of a training can be compared. */
  function receive({ detail: { model, recipe } }) {
    const isSameRun = lab.model()?.run === model.run;
    const kept = isSameRun ? toJson(state.recipe) : recipe;
    dispatch({ type: "known", model });
    dispatch({ type: "open", recipe: { ...kept, model: model.name, revision: model.revision } });
  }

  /** An action; `event` is the input event behind it. */
  function dispatch(action, event) {
    if (!state) return void beginWith(action);
    const before = state;
    state = reduce(state, action);
    if (state === before) return;
    if (!same(state.recipe, before.recipe)) {
      stage.ask(LIVE.includes(action.type) ? "preview" : "exact", event);
    }
    update(before);
    if (state.shelf !== before.shelf && action.type !== "shelf") storeShelf();
  }

  /** The hand let go: one step of undo, and the exact picture. */
  function settle(event) {
    const before = state;
    state = reduce(state, { type: "settle" });
    if (!stage.isExact()) stage.ask("exact", event);
    if (state !== before) update(before);
  }

  /** Shows the state; `before` is the one that is shown, null for none. */
  function update(before) {
    controls.sync();
    rows.sync();
    moments.sync();
    lab.beside.sync();
    if (state.shelf !== before?.shelf) shelf.sync();
    if (state.settled === before?.settled && state.beside === before?.beside) return;
    shelf.mark();
    $("#lab").dataset.recipe = toQuery(state.settled);
    clearTimeout(addressTimer);
    addressTimer = setTimeout(writeAddress, ADDRESS_DELAY);
  }

  /** What can't be drawn gives way to what can; the person has been told why. */
  function refused(error, { recipe }) {
    if (NOT_HERE.includes(error.code)) models.offer(recipe);
    if (error.code === "other_revision") {
      dispatch({ type: "open", recipe: { ...toJson(recipe), revision: "" } });
    } else if (!stage.hasDrawn()) {
      dispatch({ type: "open", recipe: initial });
    }
  }

  /** A server function's answer; a refusal is thrown. */
  async function call(name, json) {
    const answer = await server[name](json);
    if (answer?.error) throw new Refused(answer.error);
    return answer;
  }

  function connect() {
    const { href } = window.location;
    const opened = new WebSocket(socketAddress(window.gradio_config.root, socket, href));
    opened.binaryType = "arraybuffer";
    return opened;
  }

  // --- outside the page: the address, the parent's address, the browser's storage -------------

  function linked() {
    const { search } = window.location;
    try {
      return hasRecipe(search) ? fromQuery(search) : null;
    } catch (error) {
      complain(error);
      return null;
    }
  }

  /** The model beside, by the name that it has for everybody. */
  function besideForAll() {
    return state.beside && { ...state.beside, name: portableName(state.beside.name) };
  }

  function linkedBeside() {
    try {
      return besideFrom(window.location.search);
    } catch (error) {
      complain(error);
      return null;
    }
  }

  function writeAddress() {
    const recipe = lab.stamped(state.settled);
    const { pathname, search, hash } = window.location;
    const address = pathname + withRecipe(search, recipe, state.beside) + hash;
    window.history.replaceState(window.history.state, "", address);
    sendToParent(window, placeOf(window, space), recipe, state.beside);
  }

  function storeShelf() {
    if (!memory.set(SHELF_KEY, shelfToText(state.shelf))) toast(t("explore.not_stored"));
  }
}
