// What the page says in passing: short messages at its foot, errors in words and never raw. They go
// by themselves, or by their own button; while a hand or the focus is on one, it stays.

const SHOWN = 5000; // milliseconds
const SHOWN_ERROR = 9000;
const MOST = 3;

/** The server refused: a code that the texts know, with values. */
export class Refused extends Error {
  constructor({ code, values }) {
    super(code);
    this.code = code;
    this.values = values;
  }
}

export function createMessages(list, t) {
  /** A message, with an `action` under the word `label` where there is one. */
  function toast(message, { action = null, label = "", isError = false } = {}) {
    const box = make("div", { className: isError ? "toast error" : "toast" });
    box.append(make("span", { textContent: message }));
    const before = document.activeElement;
    const add = (button, done) => {
      button.addEventListener("click", () => {
        if (before?.isConnected) before.focus({ preventScroll: true });
        box.remove();
        done?.();
      });
      box.append(button);
    };
    if (action) add(make("button", { type: "button", textContent: label }), action);
    add(closeButton());
    for (const old of [...list.children]) if (old.textContent === box.textContent) old.remove();
    list.append(box);
    while (list.children.length > MOST) list.firstElementChild.remove();
    const leave = () => {
      if (box.matches(":hover, :focus-within")) setTimeout(leave, SHOWN);
      else box.remove();
    };
    setTimeout(leave, isError ? SHOWN_ERROR : SHOWN);
  }

  function closeButton() {
    const button = make("button", { type: "button", className: "toast-close" });
    button.title = t("explore.close");
    button.setAttribute("aria-label", button.title);
    button.innerHTML = '<svg class="icon"><use href="#i-close"/></svg>';
    return button;
  }

  /** An error as a person should read it; without a code it is a line that was cut, and `isTried`
   * says that the page goes on asking. */
  function words(error, isTried = false) {
    if (!error.code) return t(isTried ? "explore.offline" : "explore.no_answer");
    const key = `error.${error.code}`;
    const known = t(key, error.values ?? {});
    return known === key ? t("explore.unknown_error", { code: error.code }) : known;
  }

  function complain(error, isTried = false) {
    if (!error.code) console.info("Latent Lab:", error);
    toast(words(error, isTried), { isError: true });
  }

  return { toast, complain, words };
}

function make(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}
