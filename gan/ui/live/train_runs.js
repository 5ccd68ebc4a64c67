// The list of this browser's runs, and of those of who is signed in with Hugging Face.

import { alarmKey } from "./train_figures.js";
import { LIVE } from "./train_reducer.js";

export function createRunList(lab) {
  const { $, t, dispatch } = lab;
  const list = $("#train-runs");
  const rows = new Map(); // run id → its button
  const hasSide = lab.facts.sign_in; // also where there is nothing yet
  let shownDeleted = "";

  $("[data-train=new]").addEventListener("click", () => dispatch({ type: "select", run: null }));

  function sync(before) {
    const { runs, run, view, deleted } = lab.state();
    const isSame = before && runs === before.runs && run === before.run && view === before.view;
    if (isSame) return;
    showAccount(lab.state());
    showDeleted(deleted);
    const shown = runs ?? [];
    for (const id of [...rows.keys()])
      if (!shown.some((one) => one.run_id === id)) drop(id);
    shown.forEach((one, i) => place(one, i));
    $("#train").classList.toggle("has-runs", hasSide || shown.length + deleted.length > 0);
    $("[data-train=new]").setAttribute("aria-current", view === "new");
  }

  /** Where people can sign in, their trainings are found from any browser. */
  function showAccount({ user, runs: known }) {
    const told = user ? t("train.signed_in", { name: user }) : t("train.runs_hint");
    set($("#train-runs-hint"), told);
    const account = $("#train-account");
    account.hidden = !lab.facts.sign_in || known === null;
    const link = account.firstElementChild;
    set(link, t(user ? "train.sign_out" : "train.sign_in"));
    link.title = user ? "" : t("train.sign_in_hint");
    link.href = `${lab.page(user ? "/logout" : "/login/huggingface")}?_target_url=%2F%23train`;
  }

  // Within a Space's page, the Hub's own pages are longer than the frame.
  $("#train-account a").addEventListener("click", () => {
    window.parent?.postMessage({ type: "SET_SCROLLING", enabled: true }, "*");
  });

  /** What was deleted can be brought back for a day. */
  function showDeleted(deleted) {
    $("#train-deleted").hidden = !deleted.length;
    const made = JSON.stringify([deleted.map((one) => [one.run_id, one.name]), t("train.restore")]);
    if (made === shownDeleted) return;
    shownDeleted = made;
    $("#train-deleted-runs").replaceChildren(...deleted.map(deletedRow));
  }

  function deletedRow({ run_id: run, name }) {
    const row = document.createElement("p");
    row.innerHTML = '<span></span><button type="button" class="text-button"></button>';
    const [label, button] = row.children;
    label.textContent = name;
    button.textContent = t("train.restore");
    button.setAttribute("aria-label", `${t("train.restore")}: ${name}`);
    button.addEventListener("click", () => lab.attempt(() => lab.restore(run)));
    return row;
  }

  function drop(id) {
    rows.get(id).remove();
    rows.delete(id);
  }

  function place(one, index) {
    const { run, view } = lab.state();
    const row = rows.get(one.run_id) ?? make(one);
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
    const button = row.firstElementChild;
    button.setAttribute("aria-current", view === "run" && run === one.run_id);
    button.dataset.state = one.state;
    set(button.querySelector("b"), one.name);
    set(button.querySelector(".run-state"), describe(one));
    const share = one.images ? Math.min(1, one.images_seen / one.images) : 0;
    button.querySelector(".run-bar").style.setProperty("--done", share);
    const source = one.newest_sample === null ? "" : sample(one);
    const image = button.querySelector("img");
    if (image.dataset.source === source) return;
    image.dataset.source = source;
    if (source) image.src = source;
    image.hidden = !source;
  }

  const sample = (one) => lab.file(`${String(one.newest_sample).padStart(9, "0")}.png`, one.run_id);

  function make({ run_id: id }) {
    const row = document.createElement("div");
    row.setAttribute("role", "listitem");
    row.innerHTML = `<button type="button" class="run"><img alt="" hidden><span class="run-text">
      <b></b><span class="run-state"></span></span><span class="run-bar"></span></button>`;
    row.firstElementChild.addEventListener("click", () => dispatch({ type: "select", run: id }));
    rows.set(id, row);
    return row;
  }

  function describe({ state, place: turn, images, images_seen: seen, alarms }) {
    const parts = [t(`train.state_${state}`)];
    if (state === "queued" && turn) parts.push(t("train.turn", { place: turn }));
    if (LIVE.includes(state) && images && seen)
      parts.push(`${Math.round((100 * seen) / images)} %`);
    if (LIVE.includes(state) && alarms.length) parts.push(t(alarmKey(alarms)));
    return parts.join(" · ");
  }

  return { sync };
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
