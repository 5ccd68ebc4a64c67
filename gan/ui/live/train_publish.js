// The dialog in which a run goes to the Hub: a form, then how far it is. The token is read from its
// field when the button is pressed, sent once, and the field is emptied: nothing here keeps it.

const NAME = /^[A-Za-z0-9][\w.-]{0,95}\/\w[\w.-]{0,95}$/;
const HUB = "huggingface.co";

/** Whether this can be a repository's name: the server decides by the same rule. */
export function isRepoName(text) {
  return NAME.test(text) && !text.includes("..") && !text.includes("--");
}

export function createPublish(lab) {
  const { $, t, dispatch, token } = lab;
  const dialog = $("#train-publish");
  const repo = $("#publish-repo");
  let offer = null; // what would be sent: {run, files, licence, dataset, login}
  let isAgain = false; // the form, though an upload has ended before

  const publication = () => lab.state().watch?.publication ?? null;

  async function open() {
    const run = lab.state().run;
    offer = { run, ...(await lab.call("publishing", { token, run })) };
    isAgain = false;
    $("#publish-private").checked = !offer.licence;
    sync(null);
    dialog.showModal();
  }

  async function start() {
    const field = $("#publish-token");
    const asked = { repo: repo.value.trim(), private: $("#publish-private").checked };
    const hub_token = field.value;
    field.value = "";
    dispatch({ type: "asked", action: "publish" });
    await lab.call("publish", { token, run: offer.run, hub_token, ...asked });
    isAgain = false;
    lab.look();
  }

  async function stop() {
    await lab.call("act", { token, run: lab.state().run, action: "stop_publishing" });
    lab.look();
  }

  function again() {
    repo.value ||= publication()?.repo ?? "";
    isAgain = true;
    sync(null);
    repo.focus();
  }

  // --- what is shown -------------------------------------------------------------------------

  function sync(before) {
    const state = lab.state();
    const same = before && state.watch === before.watch && state.pending === before.pending;
    if (same || state.view !== "run") return;
    const told = publication();
    showLine(told);
    if (offer?.run !== state.run) return;
    const isForm = isAgain || !told;
    $("#publish-form").hidden = !isForm;
    $("#publish-course").hidden = isForm;
    if (isForm) showForm(state);
    else showCourse(told);
  }

  /** One line under the run's facts: an upload is found again without the dialog. */
  function showLine(told) {
    const line = $("#train-publication");
    line.hidden = !told;
    if (told) set(line, words(told));
  }

  function showForm({ pending }) {
    const isGood = showRepoName(repo, $("#publish-repo-hint"), t);
    const isPrivate = $("#publish-private").checked;
    set($("#publish-private-hint"), t(`train.publish_${isPrivate ? "private" : "public"}_hint`));
    const login = offer.login ? ` ${t("train.publish_login")}` : "";
    set($("#publish-token-hint"), t("train.publish_token_hint") + login);
    showOffer();
    const hasToken = offer.login || $("#publish-token").value.trim();
    $("[data-train=publish-go]").disabled = !isGood || !hasToken || Boolean(pending);
  }

  function showOffer() {
    const rows = offer.files.map(({ name, bytes }) => {
      const item = document.createElement("li");
      const size = bytes === null ? t("train.publish_made") : atMost(name, bytes);
      item.append(make("span", name), make("small", size));
      return item;
    });
    $("#publish-files").replaceChildren(...rows);
    const { licence, dataset: data } = offer;
    const told = licence ? "licence" : "unlicensed";
    set($("#publish-licence"), t(`train.publish_${told}`, { data, licence }));
    $("#publish-licence").classList.toggle("warn", !licence);
  }

  const atMost = (name, bytes) =>
    name === "model.safetensors" ? t("train.publish_most", { size: size(bytes) }) : size(bytes);

  function showCourse(told) {
    const { state, alive, sent, total, url, message } = told;
    set($("#publish-state"), words(told));
    const why = message ? t(`error.${message.code}`, message.values ?? {}) : "";
    set($("#publish-why"), alive ? t("train.publish_background") : why);
    $("#publish-why").hidden = !alive && !why;
    const bar = $("#publish-bar");
    bar.hidden = !alive && state !== "done";
    bar.classList.toggle("is-endless", alive && state !== "uploading");
    bar.style.setProperty("--share", state === "uploading" ? sent / Math.max(1, total) : 1);
    const link = $("#publish-link");
    link.hidden = state !== "done";
    link.href = state === "done" ? url : "";
    $("[data-train=publish-stop]").hidden = !alive;
    $("[data-train=publish-again]").hidden = alive;
  }

  function words({ state, repo: name, sent, total }) {
    return t(`train.publish_state_${state}`, { repo: name, sent: size(sent), total: size(total) });
  }

  repo.addEventListener("input", () => sync(null));
  $("#publish-private").addEventListener("change", () => sync(null));
  $("#publish-token").addEventListener("input", () => sync(null));
  $("#publish-form").addEventListener("submit", (event) => {
    event.preventDefault();
    lab.attempt(start);
  });
  dialog.addEventListener("close", () => ($("#publish-token").value = ""));

  const deeds = {
    publish: open,
    "publish-stop": stop,
    "publish-again": again,
    "publish-close": () => dialog.close(),
  };
  return { sync, deeds };
}

/** Says whether the field holds a repository's name, and what will be there. → is it one? */
export function showRepoName(field, hint, t) {
  const name = field.value.trim();
  const isGood = isRepoName(name);
  field.placeholder = t("train.publish_repo_example");
  field.setAttribute("aria-invalid", Boolean(name) && !isGood);
  hint.dataset.level = !name ? "" : isGood ? "good" : "bad";
  const key = !name ? "repo_hint" : isGood ? "repo_good" : "repo_bad";
  set(hint, t(`train.publish_${key}`, { address: `${HUB}/${name}` }));
  return isGood;
}

/** 1536000 → "1.5 MB". */
function size(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function make(tag, textContent) {
  return Object.assign(document.createElement(tag), { textContent });
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
