// The dialog in which a training is sent to a rented machine, or its job followed again. The token is
// read from its field when the button is pressed, sent once, and the field is emptied.

import { showRepoName } from "./train_publish.js";
import { requestOf } from "./train_reducer.js";

const MOST_HOURS = 72;

export function createRent(lab) {
  const { $, t, dispatch, token } = lab;
  const dialog = $("#train-rent");
  let offer = null; // {machines, login}
  let run = null; // whose job is followed again; null: a new one

  async function open(followed) {
    offer ??= await lab.call("machines", {});
    run = followed;
    $("#rent-title").textContent = t(run ? "train.rent_again_title" : "train.rent_title");
    $("#rent-go-text").textContent = t(run ? "train.rent_again" : "train.rent_go");
    for (const part of dialog.querySelectorAll(".rent-new")) part.hidden = Boolean(run);
    const options = offer.machines.map((one) => new Option(label(one), one.name));
    if (!$("#rent-machine").length) $("#rent-machine").replaceChildren(...options);
    show();
    dialog.showModal();
  }

  const label = ({ title, dollars_per_hour: price }) =>
    price === null ? title : `${title} · ${dollars(price)} / h`;

  function show() {
    const login = offer.login ? ` ${t("train.publish_login")}` : "";
    $("#rent-token-hint").textContent = t("train.rent_token_hint") + login;
    const isNamed = showRepoName($("#rent-repo"), $("#rent-repo-hint"), t);
    const hours = $("#rent-hours").valueAsNumber;
    const isBounded = hours >= 0.1 && hours <= MOST_HOURS;
    $("#rent-cost").textContent = isBounded ? cost(hours) : "";
    const isWhole = run || (isNamed && isBounded && requestOf(lab.state()));
    const hasToken = offer.login || $("#rent-token").value.trim();
    $("[data-train=rent-go]").disabled = !isWhole || !hasToken;
  }

  function cost(hours) {
    const { value } = $("#rent-machine");
    const price = offer.machines.find(({ name }) => name === value)?.dollars_per_hour ?? null;
    if (price === null) return t("train.rent_cost_unknown");
    const owner = $("#rent-repo").value.trim().split("/")[0] || t("train.rent_owner");
    const most = dollars(price * hours);
    return t("train.rent_cost", { most, hours, price: dollars(price), owner });
  }

  async function go() {
    const field = $("#rent-token");
    const hub_token = field.value;
    field.value = "";
    show();
    if (run) await lab.call("follow_again", { token, run, hub_token });
    else dispatch({ type: "select", run: await begin(hub_token) });
    dialog.close();
    lab.look();
  }

  async function begin(hub_token) {
    const rental = {
      repo: $("#rent-repo").value.trim(),
      hardware: $("#rent-machine").value,
      hours: $("#rent-hours").valueAsNumber,
      private: $("#rent-private").checked,
    };
    const request = requestOf(lab.state());
    return (await lab.call("rent", { token, request, rental, hub_token })).run;
  }

  $("#rent-form").addEventListener("input", show);
  $("#rent-form").addEventListener("submit", (event) => {
    event.preventDefault();
    lab.attempt(go);
  });
  dialog.addEventListener("close", () => ($("#rent-token").value = ""));

  const deeds = {
    rent: () => open(null),
    "follow-again": () => open(lab.state().run),
    "rent-close": () => dialog.close(),
  };
  return { deeds };
}

/** 0.4 → "$0.40". */
function dollars(value) {
  return `$${value.toFixed(2)}`;
}
