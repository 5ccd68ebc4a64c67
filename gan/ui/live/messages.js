// What the page says in passing: short messages at its foot, errors in words and never raw.

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
    if (action) {
      const button = make("button", { type: "button", textContent: label });
      button.addEventListener("click", () => {
        box.remove();
        action();
      });
      box.append(button);
    }
    for (const old of [...list.children]) if (old.textContent === box.textContent) old.remove();
    list.append(box);
    while (list.children.length > MOST) list.firstElementChild.remove();
    setTimeout(() => box.remove(), isError ? SHOWN_ERROR : SHOWN);
  }

  /** An error as a person should read it; without a code it is a line that was cut. */
  function words(error) {
    if (!error.code) return t("explore.offline");
    const key = `error.${error.code}`;
    const known = t(key, error.values ?? {});
    return known === key ? t("explore.unknown_error", { code: error.code }) : known;
  }

  function complain(error) {
    if (!error.code) console.info("Latent Lab:", error);
    toast(words(error), { isError: true });
  }

  return { toast, complain, words };
}

function make(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}
