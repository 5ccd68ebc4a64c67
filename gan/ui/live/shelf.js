// The shelf: the pictures that a person kept, as recipes with a small thumbnail, in this browser.

import { same } from "./recipe.js";

export function createShelf(lab) {
  const { $, t, dispatch } = lab;
  const list = $("#lab-shelf");

  function sync() {
    const { shelf } = lab.state();
    const focused = [...list.children].findIndex((node) => node.contains(document.activeElement));
    const id = list.children[focused]?.dataset.id;
    list.replaceChildren(...shelf.map(slot));
    list.parentElement.classList.toggle("has-kept", shelf.length > 0);
    mark();
    if (focused >= 0) focus(shelf.findIndex((item) => item.id === id), focused);
  }

  /** The focus stays with its picture, or goes to the one that took its place. */
  function focus(index, before) {
    const node = list.children[index < 0 ? Math.min(before, list.children.length - 1) : index];
    (node?.firstElementChild ?? $("[data-do=keep]")).focus();
  }

  /** Shows which of the kept pictures is the one on the canvas. */
  function mark() {
    const { shelf, settled } = lab.state();
    [...list.children].forEach((node, i) => {
      const isShown = same(lab.stamped(shelf[i].recipe), lab.stamped(settled));
      node.firstElementChild.setAttribute("aria-current", isShown);
    });
  }

  function slot(item) {
    const node = Object.assign(document.createElement("div"), { className: "slot" });
    node.setAttribute("role", "listitem");
    node.dataset.id = item.id;
    const image = Object.assign(document.createElement("img"), { src: item.thumbnail });
    image.alt = t("explore.kept", { seed: item.recipe.seed });
    const open = Object.assign(document.createElement("button"), {
      type: "button",
      className: "kept",
    });
    open.append(image);
    open.addEventListener("click", (event) =>
      lab.open(item.recipe, event),
    );
    const remove = Object.assign(document.createElement("button"), {
      type: "button",
      className: "forget",
    });
    remove.title = t("explore.forget");
    remove.setAttribute("aria-label", `${remove.title}: ${image.alt}`);
    remove.innerHTML = '<svg class="icon"><use href="#i-close"/></svg>';
    remove.addEventListener("click", () => forget(item.id));
    node.append(open, remove);
    return node;
  }

  function forget(id) {
    dispatch({ type: "forget", id });
    const undo = { action: () => dispatch({ type: "restore" }), label: t("explore.undo_forget") };
    lab.toast(t("explore.forgotten"), undo);
  }

  return { sync, mark };
}
