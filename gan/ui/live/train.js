// The Train page: owns its state, asks the server how runs are, and puts the parts around it.
// Entry: startTrain({element, server, props, upload}), called when the component is on the page.

import { HUB, isInSpacePage, placeOf } from "./links.js";
import { Refused, createMessages } from "./messages.js";
import { TOKEN_KEY } from "./moments.js";
import { createTrainDeeds } from "./train_deeds.js";
import { createForm } from "./train_form.js";
import { createPoll } from "./train_poll.js";
import { createPublish } from "./train_publish.js";
import { createRent } from "./train_rent.js";
import { initialState, reduce, urgencyOf } from "./train_reducer.js";
import { createRunList } from "./train_runs.js";
import { createWatch } from "./train_watch.js";
import { pathOn } from "./transport.js";

const PACE = { soon: 1500, later: 4000, seldom: 15_000 }; // milliseconds between two looks
const LIST_EVERY = 4; // looks at a run that trains
const FRAME_PAUSE = 110; // milliseconds of one picture while the timeline plays

export function startTrain({ element, server, props, upload }) {
  const { t, translate, memory, onLanguage } = window.LatentLab;
  const $ = (selector) => element.querySelector(selector);
  const facts = props.start;
  const token = ownToken();
  let state = initialState(facts);
  let looks = 0;
  let isFresh = false; // the form knows the models that are here since it was last shown
  let failures = 0;
  let playTimer = 0;

  translate(element);
  const { toast, complain } = createMessages($("#train-toasts"), t);

  /** What the parts of the page know of each other. */
  const lab = {
    ...{ element, $, t, facts, token, toast, complain, attempt, dispatch, call, upload, restore },
    state: () => state,
    look: () => poll.wake(),
    file: (name, run = state.run) => fileAddress(`${run}/${name}`),
    page: pageAddress,
    link: (run = state.run) => runLink(run),
  };
  const poll = createPoll({ ask, isWanted, pace });
  const publish = createPublish(lab);
  const rent = createRent(lab);
  const parts = [createForm(lab), createRunList(lab), createWatch(lab), publish];
  createTrainDeeds(lab, { ...publish.deeds, ...rent.deeds }).listen();
  start();

  function start() {
    $("#train-off").hidden = facts.enabled;
    $("#train-form").hidden = !facts.enabled;
    const linked = new URLSearchParams(window.location.search).get("run");
    if (linked) {
      if (!window.location.hash) window.location.hash = "#train";
      dispatch({ type: "select", run: linked });
    }
    onLanguage(() => sync(null));
    document.addEventListener("visibilitychange", shown);
    const page = { attributeFilter: ["data-page"] }; // set by the shell
    new MutationObserver(shown).observe(document.documentElement, page);
    shown();
  }

  /** The page has come into view, or gone. */
  function shown() {
    writeAddress();
    isFresh &&= isSeen();
    if (!isSeen()) return;
    sync(null);
    poll.wake();
  }

  function isSeen() {
    const { page } = document.documentElement.dataset;
    return page === "train" && document.visibilityState === "visible";
  }

  function dispatch(action) {
    const before = state;
    state = reduce(state, action);
    if (state === before) return;
    sync(before);
    if (state.run !== before.run || state.view !== before.view) {
      toTop();
      writeAddress();
      poll.wake();
    }
    if (state.isPlaying && !before.isPlaying) play();
  }

  /** Another form or run is read from its head, however far down the one before was. */
  function toTop() {
    for (const one of [$(".train-main"), element.closest(".lab-page")]) one?.scrollTo(0, 0);
  }

  /** Shows the state; `before` is the one that is shown, null for none. What nobody sees waits: the
   * form asks what a training would cost, which a process measures. */
  function sync(before) {
    if (!isSeen()) return;
    element.querySelector("#train").dataset.view = state.view;
    $("#train-watch").hidden = state.view !== "run";
    $("#train-form").hidden = state.view === "run" || !facts.enabled;
    $("#train-off").hidden = state.view === "run" || facts.enabled;
    $("#train").classList.toggle("is-projected", state.isProjected);
    for (const part of parts) part.sync(before);
  }

  function play() {
    clearTimeout(playTimer);
    playTimer = setTimeout(() => {
      dispatch({ type: "tick" });
      if (state.isPlaying) play();
    }, FRAME_PAUSE);
  }

  // --- asking --------------------------------------------------------------------------------

  function isWanted() {
    return isSeen() && (failures > 0 || urgencyOf(state) !== null);
  }

  function pace() {
    if (failures) return Math.min(15_000, 1000 * 2 ** failures);
    return PACE[urgencyOf(state) ?? "later"];
  }

  async function ask() {
    if (!isSeen()) return;
    const { run, watch, view } = state;
    const isWatching = view === "run" && run !== null;
    const isDue = urgencyOf(state) !== "soon" || looks % LIST_EVERY === 0;
    const starts = view === "new" && !isFresh;
    const asked = { token, runs: !isWatching || state.runs === null || isDue, starts };
    if (isWatching) Object.assign(asked, { run, since: watch?.seen ?? null });
    looks += 1;
    try {
      const answer = await call("look", asked);
      failures = 0;
      if (answer.runs) dispatch({ ...answer, type: "runs" });
      if (answer.starts) dispatch({ type: "starts", starts: answer.starts });
      isFresh = view === "new" && isSeen();
      if (answer.snapshot) dispatch({ type: "snapshot", snapshot: answer.snapshot });
    } catch (error) {
      if (error.code === "no_such_run" && isWatching) return void gone(run);
      if (!failures) complain(error, true); // it does try again
      if (!error.code) failures += 1;
    }
  }

  /** The watched run isn't there any more, or never was; whoever watches another one by now stays
   * there. */
  function gone(run) {
    if (state.view !== "run" || state.run !== run) return;
    toast(t("train.no_such_run"), { isError: true });
    dispatch({ type: "select", run: null });
  }

  /** A server function's answer; a refusal is thrown. */
  async function call(name, json) {
    const answer = await server[name](json);
    if (answer?.error) throw new Refused(answer.error);
    return answer;
  }

  /** Runs something that may be refused; the person reads why. */
  async function attempt(deed) {
    try {
      return await deed();
    } catch (error) {
      dispatch({ type: "refused" });
      complain(error);
      return null;
    }
  }

  /** Brings a deleted run back. */
  async function restore(run) {
    await call("act", { token, run, action: "undelete" });
    dispatch({ type: "select", run });
    poll.wake();
  }

  // --- outside the page ----------------------------------------------------------------------

  /** The secret by which this browser's runs are its own. */
  function ownToken() {
    const kept = memory.get(TOKEN_KEY);
    if (/^[0-9a-f]{32}$/.test(kept ?? "")) return kept;
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    const made = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    memory.set(TOKEN_KEY, made);
    return made;
  }

  function fileAddress(name) {
    return `${pageAddress(facts.files)}/${name}`;
  }

  /** A place of this app, wherever it is mounted: "/logout". */
  function pageAddress(place) {
    return pathOn(window.gradio_config.root, place, window.location.href);
  }

  /** What a class opens: it can watch, and open the generators in Explore, because to try out what was
   * learned is the lesson. It changes nothing, and takes home neither model nor run. */
  function runLink(run) {
    const place = placeOf(window, facts.space);
    if (isInSpacePage(place)) return `${HUB}/spaces/${facts.space}?run=${run}`;
    const here = new URL(place.href);
    return `${here.origin}${here.pathname}?run=${run}`;
  }

  /** The run is in the address while it is watched: a reload comes back to it. */
  function writeAddress() {
    const { pathname, search, hash } = window.location;
    const query = new URLSearchParams(search);
    const isHere = document.documentElement.dataset.page === "train" && state.view === "run";
    const run = isHere ? state.run : null;
    if (query.get("run") === run) return; // the rest of the address is spelled as others like it
    if (run) query.set("run", run);
    else query.delete("run");
    const text = query.toString();
    const address = pathname + (text && `?${text}`) + hash;
    window.history.replaceState(window.history.state, "", address);
  }
}
