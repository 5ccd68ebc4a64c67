// A data set from the Hugging Face Hub in the form of a new training: named, looked at, chosen.

import { keepingFocus } from "./dom.js";

const PARTS = ["config", "split", "column", "classes"];

export function createHubPicker(lab, change) {
  const { $, t, facts } = lab;
  const host = facts.hub_data;
  let isLooking = false;

  /** `hub`: what the form knows of it, {source, look?}; null where nothing was looked at. */
  function show(hub, isChosen) {
    $("#train-hub").hidden = !isChosen;
    if (!isChosen) return;
    $("#train-hub-install").hidden = host.installed;
    $("#train-hub-line").textContent = host.line;
    $("#train-hub-name").disabled = !host.installed;
    const button = $("#train-hub-look");
    button.disabled = isLooking || !host.installed;
    button.textContent = t(isLooking ? "train.hub_looking" : "train.hub_look");
    const field = $("#train-hub-name");
    if (hub && document.activeElement !== field && !field.value) field.value = hub.source;
    const look = hub?.look;
    $("#train-hub-found").hidden = !look;
    if (look) describe(look);
  }

  function describe(look) {
    const link = $("#train-hub-page");
    link.textContent = look.repo;
    link.href = look.page;
    const licence = look.licence || t("train.hub_no_licence");
    $("#train-hub-licence").textContent = t("train.licence", { licence });
    $("#train-hub-licence").classList.toggle("warn", !look.licence);
    $("#train-hub-facts").textContent = told(look).join(" · ");
    const picture = $("#train-hub-pictures");
    picture.hidden = !look.image;
    if (look.image) picture.src = look.image;
    picture.alt = t("train.hub_pictures", { repo: look.repo });
    const parts = $("#train-hub-parts");
    const made = PARTS.filter((name) => look.parts[name]).map(part);
    keepingFocus(parts, () => parts.replaceChildren(...made));
    $("#train-hub-missing").hidden = !look.missing;

    function part(name) {
      const { chosen, choices } = look.parts[name];
      const label = document.createElement("label");
      label.innerHTML = `<span></span><span class="select"><select></select><svg class="icon"><use href="#i-down"/></svg></span>`;
      label.firstElementChild.textContent = t(`train.hub_part.${name}`);
      const select = label.querySelector("select");
      select.name = `hub-${name}`;
      if (!chosen) select.append(new Option(t("train.hub_choose"), ""));
      for (const choice of choices) select.append(new Option(shown(name, choice), choice));
      select.value = chosen ?? "";
      select.disabled = choices.length < 2;
      select.addEventListener("change", () => choose(look, name, select.value));
      return label;
    }
  }

  const shown = (name, choice) =>
    name === "classes" && choice === "none" ? t("train.hub_no_classes") : choice;

  function told(look) {
    const { rows, most, resolution, skipped, looked_at: seen } = look;
    return [
      rows && t("train.hub_rows", { rows: number(rows) }),
      (!rows || rows > most) && t("train.hub_most", { most: number(most) }),
      resolution && t("train.hub_resolution", { resolution }),
      t("train.hub_bytes", { megabytes: number(Math.round(look.repository_bytes / 1e5) / 10) }),
      skipped && t("train.hub_skipped", { skipped, seen }),
      look.is_private && t("train.hub_private"),
    ].filter(Boolean);
  }

  /** Another choice of one part; what was chosen after it is open again. */
  function choose(look, name, value) {
    const before = PARTS.slice(0, PARTS.indexOf(name));
    const parts = before.map((one) => [one, look.parts[one].chosen]);
    const said = [...parts, [name, value], ["most", look.most]]
      .map(([one, chosen]) => `,${one}=${encodeURIComponent(chosen)}`)
      .join("");
    ask(look.source.split(",")[0] + said);
  }

  async function ask(data) {
    if (isLooking || !data.trim()) return;
    isLooking = true;
    show(lab.state().form.hub, true);
    try {
      const look = await lab.attempt(() => lab.call("look_at_hub", { data, token: lab.token }));
      if (look) change({ data: "hub", hub: { source: look.source, name: look.repo, look } });
    } finally {
      isLooking = false;
      const { form } = lab.state();
      show(form.hub, form.data === "hub");
    }
  }

  $("#train-hub-look").addEventListener("click", () => ask($("#train-hub-name").value));
  $("#train-hub-name").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    ask(event.target.value);
  });

  return { show };
}

const number = (value) => Number(value).toLocaleString("en-US");
